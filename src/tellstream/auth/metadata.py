"""What this server tells the world about its authorization: RFC 8414 and RFC 9728 documents.

Everything comes from the configured ``public_url``, never from ``Host`` or ``X-Forwarded-*``, and
names only what exists: a row here is a promise. Serving and caching are the shell's business.
"""

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from tellstream.core.principals import SCOPES

TOKEN_PATH: Final = "/oauth/token"  # noqa: S105 - a path, not a password
JWKS_PATH: Final = "/oauth/jwks"

# RFC 8414 section 2: no query, no fragment. User information and anything that would need quoting
# in a header are left out as well.
_PUBLIC_URL: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9._~/%-]*)?")


def issuer_identifier(public_url: str) -> str:
    """Give the one identifier of this server: issuer, resource and audience.

    Args:
        public_url: the configured address, with or without a trailing slash.

    Returns:
        The address without a trailing slash.

    Raises:
        ValueError: not an absolute URL without query, or plain http beyond this machine (A18).
    """
    if not _PUBLIC_URL.fullmatch(public_url):
        raise ValueError("public_url must be an http(s) URL without user, query and fragment")
    parts = urlsplit(public_url)
    if not parts.hostname or (parts.scheme == "http" and not _is_loopback(parts.hostname)):
        raise ValueError("public_url must be https, or http on a loopback address")
    return public_url.rstrip("/")


def authorization_server_metadata(public_url: str) -> dict[str, str | list[str]]:
    """Build the authorization server's document (RFC 8414 section 2)."""
    issuer = issuer_identifier(public_url)
    return {
        "issuer": issuer,
        "token_endpoint": issuer + TOKEN_PATH,
        "jwks_uri": issuer + JWKS_PATH,
        "scopes_supported": list(SCOPES),
        "response_types_supported": [],  # required, and there is no authorization endpoint yet
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    }


def protected_resource_metadata(public_url: str) -> dict[str, str | list[str]]:
    """Build the protected resource's document (RFC 9728 section 2)."""
    issuer = issuer_identifier(public_url)
    return {
        "resource": issuer,
        "authorization_servers": [issuer],
        "scopes_supported": list(SCOPES),
        "bearer_methods_supported": ["header"],
    }


def authorization_server_metadata_url(public_url: str) -> str:
    """Tell where RFC 8414 section 3 wants the authorization server's document."""
    return _well_known(public_url, "oauth-authorization-server")


def protected_resource_metadata_url(public_url: str) -> str:
    """Tell where RFC 9728 section 3 wants the resource's document; the 401 challenge names it."""
    return _well_known(public_url, "oauth-protected-resource")


def _well_known(public_url: str, name: str) -> str:
    parts = urlsplit(issuer_identifier(public_url))
    # Both RFCs insert the well-known part between host and path.
    return f"{parts.scheme}://{parts.netloc}/.well-known/{name}{parts.path}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
