"""``POST /oauth/token``: a table of grants over one strict form (RFC 6749 sections 4.4 and 5).

Raw request in, status, headers and JSON out; the method is the router's business, body size and
rate the shell's. Grants are rows of ``GRANTS``: a new one is a function and a line. Nothing from
the request is echoed, and nothing is read from it twice.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

from tellstream.auth.client_authentication import authenticate
from tellstream.auth.clients import ClientRegistry, OAuthClient
from tellstream.auth.issuers import MAX_TOKEN_LIFETIME_SECONDS, Issuer
from tellstream.auth.keys import SigningKeys
from tellstream.auth.oauth_errors import OAuthError
from tellstream.auth.tokens import sign_token

Form: TypeAlias = Mapping[str, str]
Members: TypeAlias = dict[str, str | int]

MEDIA_TYPE: Final = b"application/x-www-form-urlencoded"
MAX_BODY_BYTES: Final = 16 * 1024  # a token request has about 300
MAX_FIELDS: Final = 32
# RFC 6749 section 5.1, on errors too: both kinds of answer are about credentials.
_NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_SCOPE: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+(?: [\x21\x23-\x5B\x5D-\x7E]+)*")


class TokenResponse(NamedTuple):
    """What to answer: HTTP status, extra headers, JSON object."""

    status: int
    headers: dict[str, str]
    body: Members


@dataclass(frozen=True, slots=True)
class TokenContext:
    """What a grant works with.

    Attributes:
        issuer: the row of the embedded authorization server.
        keys: its signing keys.
        clients: the registered clients.
        lifetime: of the tokens, seconds.
    """

    issuer: Issuer
    keys: SigningKeys
    clients: ClientRegistry
    lifetime: int = MAX_TOKEN_LIFETIME_SECONDS


Grant: TypeAlias = Callable[[TokenContext, OAuthClient, Form, float], Members]


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
        PrivateFileError: the client file cannot be used.
    """
    try:
        form = _form(headers, query_string, body)
        grant = _grant(form)
        client = authenticate(headers, form, context.clients)
        return TokenResponse(200, dict(_NO_STORE), grant(context, client, form, now))
    except OAuthError as error:
        extra = dict(_NO_STORE)
        if error.code == "invalid_client":  # RFC 9110 section 15.5.2: a 401 has a challenge
            extra["WWW-Authenticate"] = 'Basic realm="tellstream"'
        return TokenResponse(
            error.status, extra, {"error": error.code, "error_description": error.description}
        )


def client_credentials(
    context: TokenContext, client: OAuthClient, form: Form, now: float
) -> Members:
    """Grant a client a token for itself (RFC 6749 section 4.4, rule A16); no refresh token."""
    if client.public:  # A16: anyone can claim to be a public client
        raise OAuthError("unauthorized_client", "public clients have no client_credentials grant")
    _check_resource(context, form)
    scopes = _scopes(client, form)
    token = sign_token(
        context.keys,
        context.issuer,
        tenants=client.tenants,  # A16: from the registration, never from the request
        subject=client.client_id,
        client=client.client_id,
        scopes=scopes,
        ttl=context.lifetime,
        now=now,
    )
    return {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": context.lifetime,
        "scope": " ".join(sorted(scopes)),
    }


GRANTS: Final[Mapping[str, Grant]] = {
    "client_credentials": client_credentials,
}


def _form(
    headers: Sequence[tuple[bytes, bytes]], query_string: bytes, body: bytes
) -> dict[str, str]:
    """A11: parameters from one form body, each at most once."""
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


def _grant(form: Form) -> Grant:
    name = form.get("grant_type")
    if name is None:
        raise OAuthError("invalid_request", "grant_type is missing")
    if name not in GRANTS:
        raise OAuthError("unsupported_grant_type", f"supported: {', '.join(GRANTS)}")
    return GRANTS[name]


def _check_resource(context: TokenContext, form: Form) -> None:
    """A17: tokens are for this API only (RFC 8707)."""
    if form.get("resource", context.issuer.audience) != context.issuer.audience:
        raise OAuthError("invalid_target", "tokens are issued for this server only")


def _scopes(client: OAuthClient, form: Form) -> frozenset[str]:
    """The scopes asked for, or all of the client's (RFC 6749 section 3.3)."""
    asked = form.get("scope")
    if asked is None:
        return client.scopes
    if not _SCOPE.fullmatch(asked) or not client.scopes.issuperset(asked.split(" ")):
        raise OAuthError("invalid_scope", "the client may not have these scopes")
    return frozenset(asked.split(" "))
