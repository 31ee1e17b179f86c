import pytest

from tellstream.auth.bearer import bearer_token, challenge
from tellstream.core.errors import ChatError, RequestError, ServerError
from tellstream.core.principals import InsufficientScopeError

URL = "https://chat.example/.well-known/oauth-protected-resource"


def authorization(*values: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"chat.example"), *((b"authorization", value) for value in values)]


def refusal(headers: list[tuple[bytes, bytes]], query: bytes = b"") -> str:
    with pytest.raises(RequestError) as caught:
        bearer_token(headers, query)
    assert "SECRET" not in f"{caught.value} {caught.value.reason}"
    return caught.value.code


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER", b"bEaReR"])
def test_r1_scheme_is_case_insensitive(scheme: bytes) -> None:
    assert bearer_token(authorization(scheme + b" a.b.c"), b"") == "a.b.c"


def test_r1_spaces_around_the_token_do_not_belong_to_it() -> None:
    assert bearer_token(authorization(b"Bearer   a.b.c "), b"after=3") == "a.b.c"


@pytest.mark.parametrize(
    "value",
    [
        b"", b"Bearer", b"Bearer ", b"Basic SECRET", b"DPoP SECRET", b"SECRET", b"BearerSECRET",
        b"Bearer\tSECRET",
    ],
)  # fmt: skip
def test_r1_without_a_bearer_token(value: bytes) -> None:
    assert refusal(authorization(value)) == "unauthenticated"


def test_r1_no_header_at_all() -> None:
    assert refusal([]) == "unauthenticated"


def test_r1_other_places_do_not_count() -> None:
    headers = [(b"cookie", b"access_token=SECRET"), (b"x-api-key", b"SECRET")]
    assert refusal(headers) == "unauthenticated"


def test_r1_a_token_that_is_not_ascii() -> None:
    assert refusal(authorization(b"Bearer SECRET\xff")) == "invalid_token"


def test_r1_two_headers() -> None:
    assert refusal(authorization(b"Bearer SECRET", b"Bearer SECRET")) == "invalid_request"
    assert refusal(authorization(b"Basic SECRET", b"Bearer SECRET")) == "invalid_request"


@pytest.mark.parametrize(
    "query",
    [
        b"access_token=SECRET",
        b"after=1&access_token=SECRET",
        b"access%5Ftoken=SECRET",
        b"access_token",
    ],
)
def test_r1_a_token_in_the_query(query: bytes) -> None:
    assert refusal([], query) == "invalid_request"
    assert refusal(authorization(b"Bearer a.b.c"), query) == "invalid_request"


@pytest.mark.parametrize(
    ("error", "value"),
    [
        (RequestError("unauthenticated"), f'Bearer realm="tellstream", resource_metadata="{URL}"'),
        (
            RequestError("invalid_token", reason="R9"),
            f'Bearer realm="tellstream", error="invalid_token", resource_metadata="{URL}"',
        ),
        (
            InsufficientScopeError("streams:all"),
            (
                'Bearer realm="tellstream", error="insufficient_scope", scope="streams:all", '
                f'resource_metadata="{URL}"'
            ),
        ),
        (RequestError("forbidden"), None),
        (RequestError("invalid_request"), None),
        (ServerError("server_error"), None),
    ],
)
def test_r2_challenge(error: ChatError, value: str | None) -> None:
    assert challenge(error, URL) == value
