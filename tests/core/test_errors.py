"""The table of codes is complete, and an error never shows more than its code's text."""

import logging

import pytest

from tellstream.core.errors import (
    CODES,
    ChatError,
    CodeRow,
    GrammarError,
    ProviderError,
    RequestError,
    ServerError,
)

# design.md section 3 and http-errors-and-limits.md section 1, written out by hand.
STATUSES = {
    400: {"invalid_request"},
    401: {"unauthenticated", "invalid_token"},
    403: {"forbidden", "insufficient_scope"},
    404: {"not_found"},
    405: {"method_not_allowed"},
    406: {"not_acceptable"},
    408: {"request_timeout"},
    409: {"conflict"},
    410: {"gone"},
    413: {"payload_too_large"},
    415: {"unsupported_media_type"},
    422: {
        "validation_error",
        "context_length_exceeded",
        "content_filtered",
        "provider_rejected",
    },
    429: {"rate_limit_exceeded", "quota_exceeded", "concurrency_limit_exceeded"},
    500: {"server_error"},
    502: {"provider_auth", "provider_quota", "provider_protocol", "upstream_truncated"},
    503: {"provider_rate_limited", "provider_unavailable", "service_unavailable"},
    504: {"provider_timeout"},
}
IN_STREAMS_ONLY = {"worker_lost", "server_draining", "stream_too_large"}
by_code = pytest.mark.parametrize(("code", "row"), CODES.items(), ids=CODES)


def test_every_promised_code_has_its_promised_status() -> None:
    for status, codes in STATUSES.items():
        assert {code: CODES[code].status for code in codes} == dict.fromkeys(codes, status)


def test_no_code_exists_that_nobody_promised() -> None:
    promised = set().union(*STATUSES.values()) | IN_STREAMS_ONLY | {"grammar_error"}
    assert set(CODES) == promised


@by_code
def test_a_row_is_sane(code: str, row: CodeRow) -> None:
    assert code == code.lower()
    assert code.replace("_", "").isalpha()
    assert 400 <= row.status < 600
    assert row.level.upper() in logging.getLevelNamesMapping()
    assert row.message.endswith(".")
    assert row.message.isascii()


@by_code
def test_the_callers_own_fault_is_no_warning_and_is_never_retried(code: str, row: CodeRow) -> None:
    if row.status < 500 and code != "provider_rejected":
        assert row.level == "info"
        assert not row.retryable


@by_code
def test_what_may_be_retried_is_a_temporary_server_side_status(code: str, row: CodeRow) -> None:
    if row.retryable:
        assert row.status == 503 or code == "upstream_truncated"


def test_our_provider_credentials_are_never_the_callers_401() -> None:
    assert CODES["provider_auth"].status == 502


@pytest.mark.parametrize("kind", [ChatError, RequestError, ProviderError, ServerError])
def test_an_error_looks_up_what_its_code_means(kind: type[ChatError]) -> None:
    error = kind("provider_unavailable")
    assert (error.status, error.level, error.retryable) == (503, "warning", True)
    assert error.message == CODES["provider_unavailable"].message
    assert isinstance(error, ChatError)


def test_a_reason_for_the_log_is_not_in_the_text_of_the_error() -> None:
    error = ProviderError("provider_auth", reason="key sk-123 of acme")
    assert "sk-123" not in f"{error} {error!r} {error.message}"
    assert error.reason == "key sk-123 of acme"


def test_a_message_and_details_of_its_own_replace_the_default() -> None:
    error = RequestError(
        "validation_error", "Look here.", retry_after=2.5, details=(("prompt", "is missing"),)
    )
    assert (error.message, error.retry_after) == ("Look here.", 2.5)
    assert error.details == (("prompt", "is missing"),)


def test_an_unknown_code_is_a_bug() -> None:
    with pytest.raises(KeyError):
        ChatError("no_such_code")


def test_a_grammar_error_says_what_was_illegal_to_developers_only() -> None:
    error = GrammarError("text_delta in state new")
    assert error.message == CODES["grammar_error"].message
    assert str(error) == "grammar_error: text_delta in state new"
