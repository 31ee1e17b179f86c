"""OAuth clients: what is known of one, how one is made, and how its secret is compared.

Invariant: no secret is stored, only its SHA-256; 256 random bits need no slow hash (rule A8). The
clients are in the store (``client_store``). ``ClientRegistry`` is the file that earlier versions
kept them in, from which they are taken over once (``client_import``).
"""

import secrets
from collections.abc import Collection
from hmac import compare_digest
from pathlib import Path
from typing import Final, Protocol

import msgspec

from tellstream.auth.opaque import digest, new_secret
from tellstream.auth.private_files import PrivateFileError, locked, read_private, replace_private
from tellstream.auth.redirects import registrable
from tellstream.auth.tenants import MAX_TENANT
from tellstream.core.principals import SCOPES

FILE_NAME: Final = "oauth_clients.json"
MAX_NAME_CHARS: Final = 100
MAX_TENANTS: Final = 100  # all of them are in each of its tokens, which have a size limit
MAX_REDIRECT_URIS: Final = 50
GRANT_TYPES: Final = ("authorization_code", "client_credentials", "refresh_token")


class OAuthClient(msgspec.Struct, frozen=True, kw_only=True):
    """One registered client.

    Attributes:
        client_id: public identifier, made by us.
        name: for people.
        redirect_uris: exact addresses an authorization code may be sent to.
        scopes: the most it may ask for.
        tenants: tenants it may act for, as ``sub`` of its own tokens.
        secret_sha256: hex digest of the secret; None for a public client, which has none.
        grant_types: the grants it may use, of ``GRANT_TYPES``.
        pkce_required: whether it must prove each code request (A1); always for public clients.
        created_at: Unix seconds.
    """

    client_id: str
    name: str
    redirect_uris: tuple[str, ...]
    scopes: frozenset[str]
    tenants: frozenset[int]
    secret_sha256: str | None
    grant_types: frozenset[str] = frozenset(GRANT_TYPES)
    pkce_required: bool = True
    created_at: int = 0

    @property
    def public(self) -> bool:
        """Whether the client cannot keep a secret (RFC 6749 section 2.1)."""
        return self.secret_sha256 is None


class Clients(Protocol):
    """Where clients are looked up."""

    def get(self, client_id: str) -> OAuthClient | None:
        """Give the client with this id, if it may be used."""
        ...


class _File(msgspec.Struct):
    clients: list[OAuthClient] = []


# What an unknown client's secret is compared with, so that both answers take the same time.
_DUMMY_SHA256: Final = digest(new_secret())


def new_client(
    name: str,
    redirect_uris: Collection[str],
    scopes: Collection[str],
    tenants: Collection[int],
    *,
    public: bool,
    grant_types: Collection[str] = GRANT_TYPES,
    pkce_required: bool = True,
    now: float = 0,
) -> tuple[OAuthClient, str | None]:
    """Make a client.

    Returns:
        The client, and its secret (43 characters), which cannot be had again; None if public.

    Raises:
        ValueError: a name, address, scope, tenant or grant type that is not acceptable, or a public
            client that needs no PKCE.
    """
    _check(name, redirect_uris, scopes, tenants)
    if not grant_types or not set(grant_types) <= set(GRANT_TYPES):
        raise ValueError(f"grant types of a client are some of: {', '.join(GRANT_TYPES)}")
    if public and not pkce_required:  # A1
        raise ValueError("a public client must use PKCE: it has nothing else to prove itself with")
    secret = None if public else new_secret()
    client = OAuthClient(
        client_id=secrets.token_hex(16),
        name=name,
        redirect_uris=tuple(dict.fromkeys(redirect_uris)),
        scopes=frozenset(scopes),
        tenants=frozenset(tenants),
        secret_sha256=None if secret is None else digest(secret),
        grant_types=frozenset(grant_types) - ({"client_credentials"} if public else set()),
        pkce_required=pkce_required,
        created_at=int(now),
    )
    return client, secret


def secret_matches(client: OAuthClient | None, secret: str) -> bool:
    """Whether ``secret`` is that of ``client``; False for unknown and public clients (A8)."""
    expected = client.secret_sha256 if client else None
    equal = compare_digest(digest(secret), expected or _DUMMY_SHA256)
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
        client, secret = new_client(name, redirect_uris, scopes, tenants, public=public)
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

    def retire(self) -> None:
        """Put the file aside once its clients are elsewhere."""
        with locked(self._path):
            try:
                self._path.replace(self._path.with_name(FILE_NAME + ".imported"))
            except FileNotFoundError:
                return  # another process was faster
            except OSError as error:
                reason = f"{self._path}: cannot be renamed: {error.strerror}"
                raise PrivateFileError(reason) from error

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
    if len(redirect_uris) > MAX_REDIRECT_URIS:
        raise ValueError(f"a client has at most {MAX_REDIRECT_URIS} redirect URIs")
    if not all(map(registrable, redirect_uris)):
        raise ValueError("a redirect URI is https, or http on 127.0.0.1 or [::1], with a path")
    if not scopes or not set(scopes) <= set(SCOPES):
        raise ValueError(f"scopes of a client are some of: {', '.join(SCOPES)}")
    if not 0 < len(tenants) <= MAX_TENANTS or not all(0 < t <= MAX_TENANT for t in tenants):
        raise ValueError(f"a client acts for 1..{MAX_TENANTS} tenant numbers")
