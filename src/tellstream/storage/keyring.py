"""Encryption of secrets at rest: AES-256-GCM, bound to the place where the result is stored.

What is stored is the text ``v1:<key id>:<nonce>:<ciphertext>``. The place (table, tenant, row and
column) is authenticated with it, so a text that is copied to another place, such as another
tenant's row, cannot be decrypted there. Only this file knows the form; nothing here reads files.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Sequence
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
"""Of a key: AES-256."""
NONCE_BYTES: Final = 12
"""Of a nonce, which GCM takes as it is. Random: at one secret a second, a key could be used for a
hundred years before two are the same with a chance of one in a thousand million."""
MAX_KEYS: Final = 16
"""Of a keyring; more are not old keys that wait for a rotation, but a mistake."""
KID_CHARS: Final = 16
"""Of a key's id: 64 bits of its digest, enough to tell keys apart and useless to find one."""
_FORM: Final = re.compile(rf"v1:([0-9a-f]{{{KID_CHARS}}}):([A-Za-z0-9_-]+):([A-Za-z0-9_-]+)")


class Place(NamedTuple):
    """Where a text is stored.

    Attributes:
        table: of the database.
        tenant: whose row; None: the server's own.
        row: what the row is found by, within the tenant.
        column: of the table.
    """

    table: str
    tenant: int | None
    row: str
    column: str

    def data(self) -> bytes:
        """Encode the place; two places are never the same: only ``row`` can hold a bar."""
        tenant = "" if self.tenant is None else str(self.tenant)
        return f"{self.table}|{tenant}|{self.row}|{self.column}".encode()


class SealError(Exception):
    """A text cannot be decrypted: it is damaged, or was not encrypted for this place."""


class UnknownKeyError(SealError):
    """A text was encrypted with a key that is not in the keyring.

    Attributes:
        kid: the id of that key.
    """

    def __init__(self, kid: str) -> None:
        super().__init__(f"there is no key {kid}")
        self.kid = kid


class Keyring:
    """Keys: the first one encrypts, any of them decrypts.

    Args:
        keys: of ``KEY_BYTES`` each, 1 to ``MAX_KEYS``.

    Raises:
        ValueError: they are not that.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not 1 <= len(keys) <= MAX_KEYS:
            raise ValueError(f"it must hold 1 to {MAX_KEYS} keys")
        if any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"a key is not {KEY_BYTES} bytes")
        self._ciphers = {_kid(key): AESGCM(key) for key in keys}
        if len(self._ciphers) != len(keys):
            raise ValueError("it holds a key twice")

    @property
    def kids(self) -> tuple[str, ...]:
        """The ids of the keys, in their order."""
        return tuple(self._ciphers)

    def encrypt(self, secret: str, place: Place) -> str:
        """Encrypt a text for a place."""
        kid, cipher = next(iter(self._ciphers.items()))
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = cipher.encrypt(nonce, secret.encode(), place.data())
        return f"v1:{kid}:{_encoded(nonce)}:{_encoded(sealed)}"

    def decrypt(self, text: str, place: Place) -> str:
        """Decrypt a text from the place it was encrypted for.

        Raises:
            UnknownKeyError: its key is not here.
            SealError: it is damaged, or from another place.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise SealError("it has not the form of an encrypted text")
        kid, nonce, sealed = found.groups()
        if kid not in self._ciphers:
            raise UnknownKeyError(kid)
        try:
            return (
                self._ciphers[kid].decrypt(_decoded(nonce), _decoded(sealed), place.data()).decode()
            )
        except (InvalidTag, ValueError) as error:
            raise SealError("it is damaged, or was moved from another place") from error


def prefix(kid: str) -> str:
    """Give what all texts that were encrypted with one key begin with."""
    return f"v1:{kid}:"


def new_key() -> bytes:
    """Make a key."""
    return secrets.token_bytes(KEY_BYTES)


def _kid(key: bytes) -> str:
    """Name a key after itself: a wrong key cannot have the right name."""
    return hashlib.sha256(b"tellstream keyring:" + key).hexdigest()[:KID_CHARS]


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
