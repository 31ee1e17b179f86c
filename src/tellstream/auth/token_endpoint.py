"""``POST /oauth/token`` and ``POST /oauth/revoke``: one strict form each (RFC 6749, RFC 7009).

Raw request in, status, headers and JSON out; the method is the router's business, body size and
rate the shell's. Grants are rows of ``token_grants.GRANTS``. Nothing from the request is echoed,
and nothing is read from it twice.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from tellstream.auth.client_authentication import authenticate
from tellstream.auth.clients import OAuthClient
from tellstream.auth.oauth_errors import OAuthError
from tellstream.auth.revocation import revoke
from tellstream.auth.token_grants import GRANTS, Form, GrantType, Members, TokenContext

__all__ = ["TokenContext", "TokenResponse", "answer_revocation_request", "answer_token_request"]

MEDIA_TYPE: Final = b"application/x-www-form-urlencoded"
MAX_BODY_BYTES: Final = 16 * 1024  # a token request has about 300
MAX_FIELDS: Final = 32
# RFC 6749 section 5.1, on errors too: both kinds of answer are about credentials.
_NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class TokenResponse(NamedTuple):
    """What to answer: HTTP status, extra headers, JSON object."""

    status: int
    headers: dict[str, str]
    body: Members


def answer_token_request(
    context: TokenContext,
    headers: Sequence[tuple[bytes, bytes]],
    query_string: bytes,
    body: bytes,
    now: float,
) -> TokenResponse:
    """Answer one POST to the token endpoint.

    Args:
        context: issuer, keys and clients.
        headers: raw ASGI headers.
        query_string: raw ASGI query string, which must be empty.
        body: the whole raw body.
        now: Unix seconds.

    Returns:
        Tokens (RFC 6749 section 5.1) or an error (section 5.2); 401 has a Basic challenge.

    Raises:
        ServerError: the store cannot be used.
    """

    def grant(form: Form) -> Members:
        granted = _grant(form)
        return granted(context, authenticate(headers, form, context.clients), form, now)

    return _answered(lambda: grant(parse_form(headers, query_string, body)))


def answer_revocation_request(
    context: TokenContext, headers: Sequence[tuple[bytes, bytes]], query_string: bytes, body: bytes
) -> TokenResponse:
    """Answer one POST to the revocation endpoint (RFC 7009, rule A15).

    Args:
        context: with a transaction.
        headers: raw ASGI headers.
        query_string: raw ASGI query string, which must be empty.
        body: the whole raw body.

    Returns:
        200 also for a token that is unknown; an error for one of another client.
    """

    def end(form: Form) -> Members:
        client: OAuthClient = authenticate(headers, form, context.clients)
        if "token" not in form:
            raise OAuthError("invalid_request", "token is missing")
        revoke(context, client, form["token"])
        return {}

    return _answered(lambda: end(parse_form(headers, query_string, body)))


def _answered(work: Callable[[], Members]) -> TokenResponse:
    try:
        return TokenResponse(200, dict(_NO_STORE), work())
    except OAuthError as error:
        extra = dict(_NO_STORE)
        if error.code == "invalid_client":  # RFC 9110 section 15.5.2: a 401 has a challenge
            extra["WWW-Authenticate"] = 'Basic realm="tellstream"'
        return TokenResponse(
            error.status, extra, {"error": error.code, "error_description": error.description}
        )


def parse_form(
    headers: Sequence[tuple[bytes, bytes]], query_string: bytes, body: bytes
) -> dict[str, str]:
    """Take the parameters of a request from its body, each at most once (A11).

    Raises:
        OAuthError: ``invalid_request``.
    """
    if query_string:
        raise OAuthError("invalid_request", "parameters belong in the body, not in the URL")
    types = [value for name, value in headers if name.lower() == b"content-type"]
    if [value.partition(b";")[0].strip().lower() for value in types] != [MEDIA_TYPE]:
        raise OAuthError("invalid_request", f"the body must be {MEDIA_TYPE.decode()}")
    if len(body) > MAX_BODY_BYTES:
        raise OAuthError("invalid_request", "the body is too large")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError as error:
        raise OAuthError("invalid_request", "the body is not a valid form") from error
    if len(dict(pairs)) != len(pairs):
        raise OAuthError("invalid_request", "a parameter occurs twice")
    # RFC 6749 section 3.2: a parameter without a value counts as omitted.
    return {name: value for name, value in pairs if value}


def _grant(form: Form) -> GrantType:
    name = form.get("grant_type")
    if name is None:
        raise OAuthError("invalid_request", "grant_type is missing")
    if name not in GRANTS:
        raise OAuthError("unsupported_grant_type", f"supported: {', '.join(GRANTS)}")
    return GRANTS[name]
