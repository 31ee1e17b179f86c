"""Which OAuth client sent a token request: RFC 6749 section 2.3, rules A7 and A8.

Reads the credentials of one request and checks them against the registry. Invariant: exactly one
method is used, and what comes back is the client whose secret was shown, whatever else the form
says. What that client may have is for the grants to decide.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import unquote_plus

from tellstream.auth.clients import Clients, OAuthClient, secret_matches
from tellstream.auth.oauth_errors import OAuthError


class _Credentials(NamedTuple):
    client_id: str
    secret: str


def authenticate(
    headers: Sequence[tuple[bytes, bytes]], form: Mapping[str, str], clients: Clients
) -> OAuthClient:
    """Find out which client is asking.

    Args:
        headers: raw ASGI headers.
        form: the parsed body.
        clients: where clients are registered.

    Returns:
        The authenticated client; a public one if it is registered so and showed no secret.

    Raises:
        OAuthError: ``invalid_request`` for several methods; ``invalid_client`` for anything wrong.
    """
    basic = _authorization(headers)
    _check_one_method(basic, form)
    if basic is not None:
        credentials = _basic(basic)
        if form.get("client_id", credentials.client_id) != credentials.client_id:
            raise OAuthError("invalid_request", "client_id differs from the authenticated client")
    else:
        credentials = _Credentials(form.get("client_id", ""), form.get("client_secret", ""))
    client = clients.get(credentials.client_id)
    # A8: compared in every case, so that an unknown client takes as long as a wrong secret.
    proven = secret_matches(client, credentials.secret)
    if client is None or not (proven or (client.public and not credentials.secret)):
        raise OAuthError("invalid_client", "client authentication failed")
    return client


def _authorization(headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    values = [value for name, value in headers if name.lower() == b"authorization"]
    if len(values) > 1:
        raise OAuthError("invalid_request", "more than one Authorization header")
    return values[0] if values else None


def _check_one_method(basic: bytes | None, form: Mapping[str, str]) -> None:
    """A7: two methods could name two clients."""
    methods = [basic is not None, "client_secret" in form, "client_assertion" in form]
    if sum(methods) > 1:
        raise OAuthError("invalid_request", "more than one way of client authentication")
    if "client_assertion" in form:
        raise OAuthError("invalid_client", "client assertions are not supported")


def _basic(value: bytes) -> _Credentials:
    """Decode HTTP Basic as OAuth uses it: both parts are form-encoded (RFC 6749 section 2.3.1)."""
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() != b"basic":
        raise OAuthError("invalid_client", "the Authorization scheme is not Basic")
    try:
        decoded = base64.b64decode(encoded.strip(b" "), validate=True).decode("ascii")
        name, secret = decoded.split(":")  # a colon within a part is encoded
        return _Credentials(
            unquote_plus(name, errors="strict"), unquote_plus(secret, errors="strict")
        )
    except ValueError as error:
        raise OAuthError("invalid_client", "the Authorization header is not valid Basic") from error
