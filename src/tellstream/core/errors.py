"""The whole error taxonomy, and the one table that says what each code means.

    ChatError              code, message safe for the caller, status, level, retryable
    +-- RequestError       the caller's fault
    +-- ProviderError      the provider's fault (carries retry_after, raw provider status)
    +-- ServerError        ours
    +-- GrammarError       a bug: an illegal order of events
    ApiError               on the client's side: what a server answered

The same code string is the ``error`` of an HTTP error body and the ``error_type`` of an ``error``
event. Status, log level and retryability are looked up in ``CODES``, never passed. Causes are
chained (``raise ... from``) and logged, never sent.
"""

from typing import Final, Literal, NamedTuple, TypeAlias

Level: TypeAlias = Literal["debug", "info", "warning", "error"]


class CodeRow(NamedTuple):
    """What one error code means everywhere.

    Attributes:
        status: HTTP status before the response head.
        level: log level of one occurrence.
        retryable: whether the same call may be tried again before the first content event.
        message: the default text, safe to show to any caller.
    """

    status: int
    level: Level
    retryable: bool
    message: str


CODES: Final[dict[str, CodeRow]] = {
    # The caller's fault.
    "invalid_request": CodeRow(400, "info", False, "The request is malformed."),
    "unauthenticated": CodeRow(401, "info", False, "An access token is required."),
    "invalid_token": CodeRow(401, "info", False, "The access token is not valid."),
    "forbidden": CodeRow(403, "info", False, "This token may not act for this tenant."),
    "insufficient_scope": CodeRow(403, "info", False, "The access token lacks a required scope."),
    "not_found": CodeRow(404, "info", False, "There is nothing at this address."),
    "method_not_allowed": CodeRow(405, "info", False, "This method is not supported here."),
    "not_acceptable": CodeRow(406, "info", False, "None of the accepted media types is produced."),
    "request_timeout": CodeRow(408, "info", False, "The request did not arrive in time."),
    "conflict": CodeRow(409, "info", False, "The request conflicts with the current state."),
    "gone": CodeRow(410, "info", False, "The stream is no longer stored."),
    "payload_too_large": CodeRow(413, "info", False, "The request body is too large."),
    "unsupported_media_type": CodeRow(
        415, "info", False, "The body must be application/json, UTF-8, without content encoding."
    ),
    "validation_error": CodeRow(422, "info", False, "Some fields are not valid."),
    # The tenant's own limits.
    "rate_limit_exceeded": CodeRow(429, "info", False, "Too many requests."),
    "concurrency_limit_exceeded": CodeRow(429, "info", False, "Too many concurrent streams."),
    "quota_exceeded": CodeRow(429, "info", False, "The quota of this tenant is used up."),
    # The provider refused this request.
    "context_length_exceeded": CodeRow(
        422, "info", False, "The conversation is too long for this model."
    ),
    "content_filtered": CodeRow(
        422, "info", False, "The provider's content filter refused this request."
    ),
    "provider_rejected": CodeRow(422, "warning", False, "The provider rejected this request."),
    # The provider or our account there.
    "provider_auth": CodeRow(
        502, "error", False, "The server's credentials for the provider were refused."
    ),
    "provider_quota": CodeRow(
        502, "error", False, "The server's account at the provider has no quota left."
    ),
    "provider_protocol": CodeRow(
        502, "error", False, "The provider's answer could not be understood."
    ),
    "upstream_truncated": CodeRow(
        502, "warning", True, "The provider's answer broke off before its end."
    ),
    "provider_rate_limited": CodeRow(
        503, "warning", True, "The provider is limiting requests. Try again later."
    ),
    "provider_unavailable": CodeRow(
        503, "warning", True, "The provider is unavailable. Try again later."
    ),
    # Not tried again: the request may be running there, and may be billed.
    "provider_timeout": CodeRow(504, "warning", False, "The provider did not answer in time."),
    # Ours.
    "server_error": CodeRow(500, "error", False, "An internal error occurred."),
    "service_unavailable": CodeRow(503, "warning", True, "The server cannot take requests now."),
    "worker_lost": CodeRow(503, "error", True, "The worker that produced this stream was lost."),
    "server_draining": CodeRow(503, "info", True, "The server is shutting down."),
    "stream_too_large": CodeRow(502, "warning", False, "The answer exceeded the size limit."),
    "grammar_error": CodeRow(500, "error", False, "An internal error occurred."),
}


class ChatError(Exception):
    """Base of all errors with a code.

    Args:
        code: a key of ``CODES``.
        message: text safe for the caller; the code's default when omitted.
        retry_after: seconds until a new try makes sense, or None.
        details: ``(field, message)`` pairs for ``validation_error``.
        reason: more for the log, never sent (may hold provider text).

    Raises:
        KeyError: when ``code`` is not in the table (a bug).
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        retry_after: float | None = None,
        details: tuple[tuple[str, str], ...] = (),
        reason: str | None = None,
    ) -> None:
        row = CODES[code]
        self.code = code
        self.message = message or row.message
        self.retry_after = retry_after
        self.details = details
        self.reason = reason
        super().__init__(f"{code}: {self.message}")

    @property
    def status(self) -> int:
        """The HTTP status of this code."""
        return CODES[self.code].status

    @property
    def level(self) -> Level:
        """The log level of this code."""
        return CODES[self.code].level

    @property
    def retryable(self) -> bool:
        """Whether the same call may be tried again before the first content event."""
        return CODES[self.code].retryable


class RequestError(ChatError):
    """The caller's fault."""


class ProviderError(ChatError):
    """The provider's fault, or that of our account there.

    Args:
        code: see ``ChatError``, as for the other arguments.
        network: there was no response at all: the host could not be reached.
    """

    def __init__(
        self,
        code: str,
        message: str | None = None,
        *,
        retry_after: float | None = None,
        reason: str | None = None,
        network: bool = False,
    ) -> None:
        super().__init__(code, message, retry_after=retry_after, reason=reason)
        self.network = network


class ServerError(ChatError):
    """Our own fault."""


class GrammarError(ChatError):
    """A bug: an event that is illegal in the state of its stream."""

    def __init__(self, reason: str) -> None:
        super().__init__("grammar_error", reason=reason)

    def __str__(self) -> str:
        return f"grammar_error: {self.reason}"


class ApiError(Exception):
    """What a client of ours is told: the server refused a request, or is not there.

    Attributes:
        status: the HTTP status; 0 if there was no answer.
        code: the machine-readable code.
        message: the server's words.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
