"""The access token's way in, and the challenge on the way out (RFC 6750, RFC 9728 section 5.1).

A token arrives in exactly one ``Authorization`` header and nowhere else. Whether it is any good is
for ``tokens.py`` to say; no message and no challenge from here ever repeats what was received.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl

from tellstream.core.errors import ChatError, RequestError
from tellstream.core.principals import InsufficientScopeError

REALM: Final = "tellstream"


def bearer_token(headers: Sequence[tuple[bytes, bytes]], query_string: bytes) -> str:
    """Take the bearer token of a request (rule R1).

    Args:
        headers: raw ASGI headers.
        query_string: raw ASGI query string, looked at only to refuse a token in it.

    Returns:
        The token as sent, not verified.

    Raises:
        RequestError: 400 ``invalid_request`` for several headers or a token in the query; 401
            ``unauthenticated`` without a bearer token; 401 ``invalid_token`` if it is not text.
    """
    # R1: addresses end up in logs, histories and Referer headers.
    query = query_string.decode("latin-1")
    if query and "access_token" in dict(parse_qsl(query, keep_blank_values=True)):
        raise RequestError("invalid_request", "The access token belongs in a header.")
    values = [value for name, value in headers if name.lower() == b"authorization"]
    if len(values) > 1:  # R1: two parties could each believe another one
        raise RequestError("invalid_request", "Only one Authorization header is allowed.")
    scheme, _, token = (values[0] if values else b"").partition(b" ")
    token = token.strip(b" ")
    if scheme.lower() != b"bearer" or not token:
        raise RequestError("unauthenticated")
    try:
        return token.decode("ascii")
    except UnicodeDecodeError as error:
        raise RequestError("invalid_token", reason="R1: token is not ASCII") from error


def challenge(error: ChatError, resource_metadata_url: str) -> str | None:
    """Build the ``WWW-Authenticate`` value that belongs to ``error`` (rule R2).

    Args:
        error: what is about to be answered.
        resource_metadata_url: absolute URL of our RFC 9728 document.

    Returns:
        The header value, or None when this error has no challenge.
    """
    if error.code == "unauthenticated":
        extra = ""  # RFC 6750 section 3.1: no error code when no credentials were sent
    elif error.code == "invalid_token":
        extra = ', error="invalid_token"'
    elif isinstance(error, InsufficientScopeError):
        extra = f', error="insufficient_scope", scope="{error.scope}"'
    else:
        return None
    return f'Bearer realm="{REALM}"{extra}, resource_metadata="{resource_metadata_url}"'
