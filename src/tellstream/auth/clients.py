"""OAuth clients registered on this server, kept in one private file of the data directory.

Invariant: no secret is stored, only its SHA-256; 256 random bits need no slow hash (rule A8).
``ClientRegistry`` hides where clients live, so that a relational store can take its place; it
registers and looks up, and does not speak OAuth.
"""

import hashlib
import re
import secrets
from collections.abc import Collection
from hmac import compare_digest
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from tellstream.auth.private_files import PrivateFileError, locked, read_private, replace_private
from tellstream.auth.tenants import MAX_TENANT
from tellstream.core.principals import SCOPES

FILE_NAME: Final = "oauth_clients.json"
MAX_NAME_CHARS: Final = 100
MAX_TENANTS: Final = 100  # all of them are in each of its tokens, which have a size limit
_SECRET_BYTES: Final = 32  # A8: 256 bits

# A2: no fragment, user, wildcard, backslash; a loopback redirect may be plain http (RFC 8252).
_REDIRECT: Final = re.compile(
    r"(?:https://[A-Za-z0-9.-]+|http://(?:127\.0\.0\.1|\[::1\]))(?::[0-9]{1,5})?"
    r"/[A-Za-z0-9._~!$&'()+,;=:@%/?-]*"
)


class OAuthClient(msgspec.Struct, frozen=True, kw_only=True):
    """One registered client.

    Attributes:
        client_id: public identifier, made by us.
        name: for people.
        redirect_uris: exact addresses an authorization code may be sent to.
        scopes: the most it may ask for.
        tenants: tenants it may act for, as ``sub`` of its own tokens.
        secret_sha256: hex digest of the secret; None for a public client, which has none.
    """

    client_id: str
    name: str
    redirect_uris: tuple[str, ...]
    scopes: frozenset[str]
    tenants: frozenset[int]
    secret_sha256: str | None

    @property
    def public(self) -> bool:
        """Whether the client cannot keep a secret (RFC 6749 section 2.1)."""
        return self.secret_sha256 is None


class _File(msgspec.Struct):
    clients: list[OAuthClient] = []


# What an unknown client's secret is compared with, so that both answers take the same time.
_DUMMY_SHA256: Final = hashlib.sha256(secrets.token_bytes(_SECRET_BYTES)).hexdigest()


def secret_matches(client: OAuthClient | None, secret: str) -> bool:
    """Whether ``secret`` is that of ``client``; False for unknown and public clients (A8)."""
    expected = client.secret_sha256 if client else None
    offered = hashlib.sha256(secret.encode()).hexdigest()
    equal = compare_digest(offered, expected or _DUMMY_SHA256)
    return equal and expected is not None


class ClientRegistry:
    """The clients of one data directory, shared by all processes that use it.

    Each method raises ``PrivateFileError`` when the file is damaged, too open or unreachable.
    """

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE_NAME
        self._version: tuple[int, int, int] | None = None
        self._clients: dict[str, OAuthClient] = {}

    def create(
        self,
        name: str,
        redirect_uris: Collection[str],
        scopes: Collection[str],
        tenants: Collection[int],
        *,
        public: bool,
    ) -> tuple[OAuthClient, str | None]:
        """Register a client.

        Returns:
            The client, and its secret (43 characters), which cannot be had again; None if public.

        Raises:
            ValueError: a name, address, scope or tenant that is not acceptable.
        """
        _check(name, redirect_uris, scopes, tenants)
        secret = None if public else secrets.token_urlsafe(_SECRET_BYTES)
        client = OAuthClient(
            client_id=secrets.token_hex(16),
            name=name,
            redirect_uris=tuple(redirect_uris),
            scopes=frozenset(scopes),
            tenants=frozenset(tenants),
            secret_sha256=secret and hashlib.sha256(secret.encode()).hexdigest(),
        )
        with locked(self._path):
            clients = [*_load(self._path), client]
            replace_private(self._path, msgspec.json.encode(_File(clients), order="deterministic"))
        return client, secret

    def get(self, client_id: str) -> OAuthClient | None:
        """Look one client up."""
        return self._current().get(client_id)

    def list(self) -> list[OAuthClient]:
        """Give all clients, oldest first."""
        return list(self._current().values())

    def _current(self) -> dict[str, OAuthClient]:
        """Give the clients, read again when any process has replaced the file."""
        version = self._file_version()
        if version != self._version:
            # Version before content: a replacement in between is noticed by the next call.
            self._clients = {client.client_id: client for client in _load(self._path)}
            self._version = version
        return self._clients

    def _file_version(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PrivateFileError(f"{self._path}: cannot be read: {error.strerror}") from error
        return status.st_mtime_ns, status.st_ino, status.st_size


def _load(path: Path) -> list[OAuthClient]:
    content = read_private(path)
    if content is None:
        return []
    try:
        return msgspec.json.decode(content, type=_File).clients
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PrivateFileError(f"{path}: is damaged: {error}") from error


def _check(
    name: str, redirect_uris: Collection[str], scopes: Collection[str], tenants: Collection[int]
) -> None:
    if not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable():
        raise ValueError(f"a client name has 1..{MAX_NAME_CHARS} printable characters")
    for uri in redirect_uris:
        if not _REDIRECT.fullmatch(uri) or not urlsplit(uri).hostname:
            raise ValueError("a redirect URI is https, or http on 127.0.0.1 or [::1], with a path")
    if not scopes or not set(scopes) <= set(SCOPES):
        raise ValueError(f"scopes of a client are some of: {', '.join(SCOPES)}")
    if not 0 < len(tenants) <= MAX_TENANTS or not all(0 < t <= MAX_TENANT for t in tenants):
        raise ValueError(f"a client acts for 1..{MAX_TENANTS} tenant numbers")
