"""What this server tells the world about its authorization: RFC 8414 and RFC 9728 documents.

Everything comes from the configured ``public_url``, never from ``Host`` or ``X-Forwarded-*``, and
names only what exists: a row here is a promise. Serving and caching are the shell's business.
"""

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from tellstream.core.principals import SCOPES

AUTHORIZATION_PATH: Final = "/oauth/authorize"
REVOCATION_PATH: Final = "/oauth/revoke"
TOKEN_PATH: Final = "/oauth/token"  # noqa: S105 - a path, not a password
JWKS_PATH: Final = "/oauth/jwks"
_CLIENT_METHODS: Final = ("client_secret_basic", "client_secret_post", "none")

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


def authorization_server_metadata(public_url: str) -> dict[str, str | bool | list[str]]:
    """Build the authorization server's document (RFC 8414 section 2)."""
    issuer = issuer_identifier(public_url)
    return {
        "issuer": issuer,
        "authorization_endpoint": issuer + AUTHORIZATION_PATH,
        "token_endpoint": issuer + TOKEN_PATH,
        "revocation_endpoint": issuer + REVOCATION_PATH,
        "jwks_uri": issuer + JWKS_PATH,
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": list(_CLIENT_METHODS),
        "revocation_endpoint_auth_methods_supported": list(_CLIENT_METHODS),
        "authorization_response_iss_parameter_supported": True,
    }


def protected_resource_metadata(
    public_url: str, authorization_servers: Sequence[str] | None = None
) -> dict[str, str | list[str]]:
    """Build the protected resource's document (RFC 9728 section 2).

    Args:
        public_url: the configured address.
        authorization_servers: whose tokens are taken; default: those of the embedded one.
    """
    issuer = issuer_identifier(public_url)
    return {
        "resource": issuer,
        "authorization_servers": list(authorization_servers or [issuer]),
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
