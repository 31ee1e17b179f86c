"""Reading a request to ``/oauth/authorize``: rules A1, A2, A3, A6 and A17.

Invariant: until the client is known and the redirect URI is one of its own, nothing is sent to that
URI; the person is told instead (``PageError``). From then on every refusal goes there
(``RedirectError``), with ``iss`` and the client's ``state``.
"""

from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlencode

from tellstream.auth import pkce
from tellstream.auth.clients import Clients, OAuthClient
from tellstream.auth.oauth_errors import OAuthError
from tellstream.auth.redirects import MAX_URI_CHARS, is_registered, with_parameters
from tellstream.auth.scopes import asked_scopes

MAX_QUERY_BYTES: Final = 8192
"""Some clients keep two kilobytes of their own in ``state``."""
MAX_FIELDS: Final = 32


class PageError(Exception):
    """The request cannot be answered to whoever sent it; the text is for the person at the browser.

    Args:
        message: constant text.
        status: of the page.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class RedirectError(Exception):
    """The client is told; ``location`` is its redirect URI with the error."""

    def __init__(self, location: str) -> None:
        super().__init__("the client is told")
        self.location = location


class AuthorizationRequest(NamedTuple):
    """A request that can be put before a person.

    Attributes:
        issuer: ours, sent back (A6).
        client: who asks.
        redirect_uri: where the answer goes.
        state: the client's, sent back byte for byte.
        scopes: asked for.
        challenge: of PKCE; None only from a client that need not.
        resource: what the tokens are for.
        query: the same request as an URL query.
    """

    issuer: str
    client: OAuthClient
    redirect_uri: str
    state: str | None
    scopes: frozenset[str]
    challenge: str | None
    resource: str
    query: str

    def answer(self, **parameters: str) -> str:
        """Build the address that takes an answer to the client."""
        return _answer(self.issuer, self.redirect_uri, self.state, parameters)


def parse(query_string: bytes, clients: Clients, issuer: str) -> AuthorizationRequest:
    """Read and check a request.

    Args:
        query_string: raw.
        clients: where clients are looked up.
        issuer: our identifier; also the only resource.

    Raises:
        PageError: malformed, or an unknown client or redirect URI.
        RedirectError: anything else that is wrong.
    """
    pairs = _pairs(query_string)
    client, redirect_uri = _destination(pairs, clients)  # A3: before all else
    names = [name for name, _ in pairs]
    form = {name: value for name, value in pairs if value}
    # One that occurs twice is not sent back: which of them would it be?
    state = form.get("state") if names.count("state") == 1 else None
    try:
        _check_once(names)
        scopes, challenge, resource = _check(form, client, issuer)
    except OAuthError as error:
        parameters = {"error": error.code, "error_description": error.description}
        raise RedirectError(_answer(issuer, redirect_uri, state, parameters)) from error
    query = urlencode(pairs)
    return AuthorizationRequest(
        issuer, client, redirect_uri, state, scopes, challenge, resource, query
    )


def _pairs(query_string: bytes) -> list[tuple[str, str]]:
    if len(query_string) > MAX_QUERY_BYTES:
        raise PageError("The request is too long.")
    try:
        return parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError as error:
        raise PageError("The request is malformed.") from error


def _destination(pairs: list[tuple[str, str]], clients: Clients) -> tuple[OAuthClient, str]:
    """A3: find out where an answer may go, or that it may go nowhere."""
    client_ids = [value for name, value in pairs if name == "client_id"]
    uris = [value for name, value in pairs if name == "redirect_uri"]
    client = clients.get(client_ids[0]) if len(client_ids) == 1 and client_ids[0] else None
    if client is None:
        raise PageError("The application that sent you here is not registered.")
    if len(uris) != 1 or len(uris[0]) > MAX_URI_CHARS:
        raise PageError("The application did not say where to send you back.")
    if not is_registered(uris[0], client.redirect_uris):  # A2
        raise PageError("The application asked to send you to an address that is not its own.")
    return client, uris[0]


def _check_once(names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise OAuthError("invalid_request", "a parameter occurs twice")


def _check(
    form: dict[str, str], client: OAuthClient, issuer: str
) -> tuple[frozenset[str], str | None, str]:
    response_type = form.get("response_type")
    if response_type is None:
        raise OAuthError("invalid_request", "response_type is missing")
    if response_type != "code":
        raise OAuthError("unsupported_response_type", "supported: code")
    if form.get("response_mode", "query") != "query":
        raise OAuthError("invalid_request", "supported response_mode: query")
    if "authorization_code" not in client.grant_types:
        raise OAuthError("unauthorized_client", "the client may not use this grant")
    if form.get("resource", issuer) != issuer:  # A17
        raise OAuthError("invalid_target", "tokens are issued for this server only")
    return asked_scopes(client.scopes, form.get("scope")), _challenge(form, client), issuer


def _challenge(form: dict[str, str], client: OAuthClient) -> str | None:
    """A1: S256 or nothing, and nothing only for a client that was exempted."""
    challenge, method = form.get("code_challenge"), form.get("code_challenge_method")
    if challenge is None and method is None and not client.pkce_required and not client.public:
        return None
    if challenge is None:
        raise OAuthError("invalid_request", "code_challenge is required (PKCE)")
    if method != pkce.METHOD:  # absent means plain (RFC 7636 section 4.3)
        raise OAuthError("invalid_request", "code_challenge_method must be S256")
    if not pkce.is_challenge(challenge):
        raise OAuthError("invalid_request", "code_challenge is not a SHA-256 in base64url")
    return challenge


def _answer(issuer: str, redirect_uri: str, state: str | None, parameters: dict[str, str]) -> str:
    echoed = {} if state is None else {"state": state}
    return with_parameters(redirect_uri, parameters | echoed | {"iss": issuer})
