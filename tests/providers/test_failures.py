"""What a provider's failure means: status, code and words in, one of our codes out."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tellstream.core.errors import CODES
from tellstream.providers.failures import http_failure, retry_after, stream_failure

NOW = datetime(2026, 11, 5, 12, 0, 0, tzinfo=UTC)


def code(status: int, payload: Any = "") -> str:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return http_failure(status, {}, body, now=NOW).code


def openai(message: str = "m", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": None, "param": None, "code": None, **more}}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (302, "provider_protocol"),
        (400, "provider_rejected"),
        (401, "provider_auth"),
        (402, "provider_quota"),
        (403, "provider_auth"),
        (404, "provider_rejected"),
        (405, "provider_rejected"),
        (407, "provider_unavailable"),
        (408, "provider_unavailable"),
        (409, "provider_unavailable"),
        (413, "provider_rejected"),
        (422, "provider_rejected"),
        (425, "provider_unavailable"),
        (429, "provider_rate_limited"),
        (498, "provider_unavailable"),
        (500, "provider_unavailable"),
        (502, "provider_unavailable"),
        (503, "provider_unavailable"),
        (504, "provider_unavailable"),
        (529, "provider_unavailable"),
    ],
)
def test_a_status_alone_has_one_meaning(status: int, expected: str) -> None:
    assert code(status) == expected


@pytest.mark.parametrize("status", [408, 409, 429, 498, 500, 502, 503, 504, 529])
def test_what_providers_ask_to_be_tried_again_is_retryable(status: int) -> None:
    assert CODES[code(status)].retryable


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
def test_what_would_fail_again_is_not_retryable(status: int) -> None:
    assert not CODES[code(status)].retryable


@pytest.mark.parametrize(
    ("status", "payload", "expected"),
    [
        # the prompt is too long
        (400, openai(code="context_length_exceeded"), "context_length_exceeded"),
        (
            400,
            openai("This model's maximum context length is 8192 tokens. Please reduce the length."),
            "context_length_exceeded",
        ),
        (
            400,
            {"error": {"message": "prompt is too long: 210000 tokens > 200000 maximum"}},
            "context_length_exceeded",
        ),
        (
            400,
            {"code": "Client specified an invalid argument", "error": "context window exceeded"},
            "context_length_exceeded",
        ),
        (413, openai("Request too large: too many tokens"), "context_length_exceeded"),
        (422, {"detail": "Input is too long for the context window"}, "context_length_exceeded"),
        # the content was refused
        (400, openai(code="content_filter"), "content_filtered"),
        (400, openai("flagged by our safety system"), "content_filtered"),
        (403, openai("Your input was flagged by moderation"), "content_filtered"),
        (422, {"error": {"code": "data_inspection_failed"}}, "content_filtered"),
        # the account has no money left
        (429, openai(type="insufficient_quota"), "provider_quota"),
        (429, openai(code="insufficient_quota"), "provider_quota"),
        (429, openai(code="credit_balance_exhausted"), "provider_quota"),
        (429, openai(code="organization_spend_limit_exceeded"), "provider_quota"),
        (429, openai(code="project_spend_limit_exceeded"), "provider_quota"),
        (429, openai(code="organization_usage_limit_exceeded"), "provider_quota"),
        (429, openai("You exceeded your current quota, please check your plan"), "provider_quota"),
        (400, openai("Your credit balance is too low to access the API"), "provider_quota"),
        (403, {"error": "Your team doesn't have any credits yet."}, "provider_quota"),
        (402, openai("Insufficient Balance"), "provider_quota"),
        # the key
        (400, {"code": "c", "error": "Incorrect API key provided: sk***."}, "provider_auth"),
        (400, openai(code="invalid_api_key"), "provider_auth"),
        # one body in an array
        (400, [openai(code="context_length_exceeded")], "context_length_exceeded"),
        # text and pages
        (400, b"maximum context length exceeded", "context_length_exceeded"),
        (502, b"<html>maximum context length</html>", "provider_unavailable"),
        (503, b"", "provider_unavailable"),
        (500, b"\xff\xfe", "provider_unavailable"),
        # words that do not belong to their status are a coincidence
        (401, openai("insufficient_quota"), "provider_auth"),
        (404, openai("context_length_exceeded"), "provider_rejected"),
        (429, openai("context_length_exceeded"), "provider_rate_limited"),
        (500, openai("rate limit"), "provider_unavailable"),
    ],
)
def test_words_decide_where_a_status_has_several_meanings(
    status: int, payload: Any, expected: str
) -> None:
    assert code(status, payload) == expected


BILLING = "Add a payment method at https://platform.openai.com/account/billing to get more."


@pytest.mark.parametrize(
    "message",
    [
        "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29500. "
        + BILLING,
        "Rate limit reached for gpt-4o on requests per min (RPM): Limit 3, Used 3. " + BILLING,
        "Rate limit reached for gpt-4o on requests per day (RPD): Limit 200, Used 200. " + BILLING,
        "Rate limit reached. Learn more at https://platform.openai.com/account/rate-limits.",
        "Need more tokens? Upgrade at https://console.groq.com/settings/billing",
        "Requests rate limit exceeded",
    ],
    ids=["tokens", "requests", "requests a day", "limits page", "groq", "mistral"],
)
def test_a_rate_limit_that_mentions_billing_is_still_a_rate_limit(message: str) -> None:
    assert code(429, openai(message, code="rate_limit_exceeded")) == "provider_rate_limited"


def test_provider_text_is_kept_for_the_log_only_and_cut() -> None:
    error = http_failure(401, {}, json.dumps(openai("key of acme " + "x" * 900)).encode())
    assert error.reason is not None
    assert error.reason.startswith("HTTP 401: key of acme")
    assert len(error.reason) == 500
    assert "acme" not in f"{error} {error.message}"


# --- errors inside a stream -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (openai(code=429), "provider_rate_limited"),
        (openai(code="429"), "provider_rate_limited"),
        (openai(status_code=401), "provider_auth"),
        ({"status": 503, "message": "m"}, "provider_unavailable"),
        ({"code": 402, "error": "m"}, "provider_quota"),
        (openai(code=400), "provider_rejected"),
        (openai(code="context_length_exceeded", status=400), "context_length_exceeded"),
        (openai(code="insufficient_quota"), "provider_quota"),
        (openai(type="authentication_error"), "provider_auth"),
        (openai(type="overloaded_error"), "provider_unavailable"),
        (openai(type="rate_limit_error"), "provider_rate_limited"),
        (openai(code="server_is_overloaded"), "provider_unavailable"),
        (openai(code="slow_down"), "provider_unavailable"),
        (openai("content management policy"), "content_filtered"),
        ("Too many requests", "provider_rate_limited"),
        ("it broke", "provider_unavailable"),
        (None, "provider_unavailable"),
        ([], "provider_unavailable"),
        (7, "provider_unavailable"),
        ({}, "provider_unavailable"),
    ],
)
def test_an_error_inside_a_stream_is_judged_by_all_it_says(payload: Any, expected: str) -> None:
    assert stream_failure(payload).code == expected


@pytest.mark.parametrize("odd", ["²", "٤٢٩", "", "4290", "429.0", 200, 600, True, -429, None, []])
def test_what_is_no_http_status_is_not_taken_for_one(odd: Any) -> None:
    assert stream_failure(openai(code=odd)).code == "provider_unavailable"


# --- how long to wait -----------------------------------------------------------------------------


def wait(**headers: str) -> float | None:
    return retry_after({name.replace("_", "-"): value for name, value in headers.items()}, NOW)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("30", 30.0),
        (" 30 ", 30.0),
        ("1.5", 1.5),
        ("Thu, 05 Nov 2026 12:01:30 GMT", 90.0),
        ("Thu, 05 Nov 2026 13:01:30 +0100", 90.0),
        ("Thu, 05 Nov 2026 12:01:30 -0000", 90.0),
        ("Thu, 05 Nov 2026 11:59:00 GMT", 0.0),
        ("Thu, 05 Nov 2030 12:00:00 GMT", 86400.0),
        ("9" * 400, 86400.0),
        ("", None),
        ("-5", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e5", None),
        ("²", None),
        ("Thu, 99 Nov 2026 12:00:00 GMT", None),
        ("Thu, 05 Nov 2026 12:00:00 +99999999999999999999", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert wait(retry_after=value) == seconds


def test_no_header_is_no_advice() -> None:
    assert wait() is None


@pytest.mark.parametrize(("value", "seconds"), [("1500", 1.5), ("0", 0.0), ("12.5", 0.0125)])
def test_milliseconds_count_first(value: str, seconds: float) -> None:
    assert wait(retry_after_ms=value, retry_after="30") == seconds


@pytest.mark.parametrize("value", ["", "soon", "-1", "nan"])
def test_milliseconds_that_are_no_number_do_not_hide_the_seconds(value: str) -> None:
    assert wait(retry_after_ms=value, retry_after="30") == 30.0


def test_the_advice_is_part_of_the_failure() -> None:
    assert http_failure(429, {"retry-after": "7"}, b"", now=NOW).retry_after == 7.0
    assert http_failure(429, {}, b"").retry_after is None


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
@example("0\x1f")
def test_no_text_of_a_header_can_do_harm(value: str) -> None:
    seconds = wait(retry_after=value, retry_after_ms=value)
    assert seconds is None or 0 <= seconds <= 86400


@settings(max_examples=200, deadline=None)
@given(st.integers(min_value=300, max_value=599), st.binary(max_size=60))
def test_any_body_with_any_status_has_a_meaning(status: int, body: bytes) -> None:
    assert http_failure(status, {}, body).code in CODES
