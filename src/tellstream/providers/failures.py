"""What a provider's failure means: status, code and text in, one of our codes out.

Providers use one status for several meanings (400 for a long prompt and for a bad parameter, 429
for a rate and for an empty account), so their own codes and words decide before the status does.
The words are matched here, once for all dialects, and never shown: provider text can name accounts.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

from tellstream.core import lenient_json
from tellstream.core.errors import ProviderError
from tellstream.providers.base import field, items

# First match wins. Sources: the error pages of the providers named, and their recorded bodies.
_WORDS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    (
        "provider_quota",  # OpenAI, Anthropic, xAI, OpenRouter, Gemini (per day)
        re.compile(
            r"insufficient_quota|credit.balance|spend_limit|usage_limit_exceeded|payment.required"
            r"|billing_(error|hard_limit|not_active)|insufficient (balance|credits|funds)"
            r"|have any credits|requests?_?per_?day|per.day.*quota|quota.*per.day"
            r"|exceeded your current quota",
            re.IGNORECASE,
        ),
    ),
    (
        "context_length_exceeded",
        re.compile(
            r"context_length_exceeded|context.?length|context.?window|maximum context|max context"
            r"|(prompt|input|messages?) (is |are )?too (long|large)|too many (input )?tokens"
            r"|token count .*exceeds|exceeds? .*(token|context) (limit|size)|reduce the length",
            re.IGNORECASE,
        ),
    ),
    (
        "content_filtered",
        re.compile(
            r"content.?filter|content.?policy|responsible_?ai|content management policy|moderation"
            r"|safety (system|filter)|prompt_?blocked|data_inspection_failed|flagged",
            re.IGNORECASE,
        ),
    ),
    (
        "provider_auth",
        re.compile(
            r"invalid_api_key|incorrect api key|invalid api key|authentication_error"
            r"|api.key.(not.valid|invalid|expired)|unauthenticated"
            r"|unauthorized|permission_denied|permission_error|access denied",
            re.IGNORECASE,
        ),
    ),
    (
        "provider_unavailable",
        re.compile(r"overloaded|slow_down|server_error|unavailable", re.IGNORECASE),
    ),
    (
        "provider_rate_limited",
        re.compile(r"rate.?limit|too many requests|resource_exhausted", re.IGNORECASE),
    ),
    (
        "provider_rejected",  # inside a stream: OpenAI Responses
        re.compile(r"invalid_(request|prompt|image|argument|parameter)", re.IGNORECASE),
    ),
)

# Which meanings words may give to a status; elsewhere they would be a coincidence.
_MEANINGS: Final[dict[int, tuple[str, ...]]] = {
    400: ("provider_quota", "context_length_exceeded", "content_filtered", "provider_auth"),
    403: ("provider_quota", "content_filtered"),
    413: ("context_length_exceeded",),
    422: ("context_length_exceeded", "content_filtered"),
    429: ("provider_quota",),
}
_ANY_MEANING: Final = tuple(code for code, _ in _WORDS)
"""An error inside a stream may come without a status: its words are all there is."""
_STATUS_CODES: Final[dict[int, str]] = {
    401: "provider_auth",
    402: "provider_quota",
    403: "provider_auth",
    407: "provider_unavailable",
    408: "provider_unavailable",
    409: "provider_unavailable",
    425: "provider_unavailable",
    429: "provider_rate_limited",
    498: "provider_unavailable",  # Groq: flex capacity exceeded
    499: "provider_unavailable",  # Google: cancelled, though not by us
}
_ERROR_STATUSES: Final = range(400, 600)
_NUMBER: Final = re.compile(r"[0-9]+(\.[0-9]*)?")
_WORDY: Final = (
    *("code", "type", "status", "error", "message", "detail", "error_code"),
    "reason",  # of Google's ErrorInfo
)
"""Members of an error that say what is wrong."""
_MAX_REASON: Final = 500
"""Characters of provider text kept for the log."""
_MAX_RETRY_AFTER: Final = 24 * 3600.0
"""Seconds; a provider cannot ask for longer than a day."""


def http_failure(
    status: int, headers: Mapping[str, str], body: bytes, *, now: datetime | None = None
) -> ProviderError:
    """Say what a failed HTTP response means.

    Args:
        status: outside 200-299.
        headers: lower-case names.
        body: the (capped) body, of any kind.
        now: for a Retry-After that is a date; the current time by default.
    """
    try:
        payload = lenient_json.loads(body)
    except ValueError:
        payload = body.decode("utf-8", "replace")
    words = _words(payload)
    seconds = retry_after(headers, now or datetime.now(UTC))
    return ProviderError(
        _quota(payload) or _code(status, words),
        retry_after=_retry_delay(payload) if seconds is None else seconds,
        reason=f"HTTP {status}: {words}"[:_MAX_REASON],
    )


def stream_failure(payload: Any) -> ProviderError:
    """Say what an error inside a stream means; ``payload`` is what the provider sent, decoded."""
    words = _words(payload)
    status = next(
        (
            value
            for holder in (field(payload, "error", dict), payload)
            for name in ("status_code", "code", "status")
            if (value := _status(field(holder, name, object))) is not None
        ),
        None,
    )
    return ProviderError(
        _quota(payload) or _code(status, words),
        retry_after=_retry_delay(payload),
        reason=words[:_MAX_REASON],
    )


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Read how long a provider asks us to wait, in seconds (RFC 9110 section 10.2.3)."""
    milliseconds = _seconds(headers.get("retry-after-ms", ""))
    value = headers.get("retry-after", "")
    seconds = _seconds(value) if milliseconds is None else milliseconds / 1000
    if seconds is None:
        try:
            date = parsedate_to_datetime(value)
            seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER)


def _seconds(value: str) -> float | None:
    """Read a decimal number without sign or exponent; None if it is anything else."""
    number = value.strip()  # which takes away more than float() does
    return float(number) if _NUMBER.fullmatch(number) else None


def _code(status: int | None, words: str) -> str:
    meanings = _ANY_MEANING if status is None else _MEANINGS.get(status, ())
    for code, pattern in _WORDS:
        if code in meanings and pattern.search(words):
            return code
    if status is None:
        return "provider_unavailable"
    if status in _STATUS_CODES:
        return _STATUS_CODES[status]
    if status < HTTPStatus.BAD_REQUEST:
        return "provider_protocol"  # a redirect is not an answer
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return "provider_rejected"
    return "provider_unavailable"


def _status(value: object) -> int | None:
    """Read an HTTP status out of a member that may hold one."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:4])
    if isinstance(value, int) and value in _ERROR_STATUSES:
        return value
    return None


def _words(payload: Any) -> str:
    """Collect the texts that say what is wrong, wherever a provider puts them."""
    if isinstance(payload, str):
        return payload
    payload = _unwrapped(payload)
    error = field(payload, "error", dict)
    found: list[str] = []
    for holder in (payload, error, field(error, "details", dict), *items(error, "details")):
        for name in _WORDY:
            text = field(holder, name, str)
            if text:
                found.append(text)
    return " | ".join(found)


def _unwrapped(payload: Any) -> Any:
    """Gemini wraps errors in an array."""
    return payload[0] if isinstance(payload, list) and payload else payload


def _details(payload: Any) -> list[Any]:
    """Google's details of an error (google.rpc.Status)."""
    return items(field(_unwrapped(payload), "error", dict), "details")


def _quota(payload: Any) -> str | None:
    """Tell by Google's ids which quota is exceeded: its message is the same for all of them."""
    ids = [
        field(violation, "quotaId", str) or ""
        for detail in _details(payload)
        for violation in items(detail, "violations")
    ]
    if any("PerDay" in quota for quota in ids):
        return "provider_quota"
    return "provider_rate_limited" if any(ids) else None


def _retry_delay(payload: Any) -> float | None:
    """Read how long Google asks us to wait: ``"12.5s"``, in the body and not in a header."""
    for detail in _details(payload):
        delay = field(detail, "retryDelay", str) or ""
        seconds = _seconds(delay.removesuffix("s")) if delay.endswith("s") else None
        if seconds is not None:
            return min(seconds, _MAX_RETRY_AFTER)
    return None
