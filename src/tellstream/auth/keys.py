"""The embedded authorization server's signing keys: a private JWK Set in the data directory.

The file is an RFC 7517 JWK Set; its first key signs, all of them verify and are published, so a
rotation is one more row. It is generated once, at first start. A damaged, unreadable or too open
file stops the start: a silently regenerated key would void every token and hide an attack.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key

from tellstream.auth.private_files import PrivateFileError, locked, read_private, replace_private
from tellstream.auth.strict_json import parse_object

FILE_NAME: Final = "oauth_keys.json"
ALGORITHM: Final = "ES256"
CURVE: Final = "P-256"


class KeyFileError(Exception):
    """The key file cannot be used; the message is one line and names the file."""


class SigningKeys:
    """The keys of the embedded issuer; a ``KeySource`` for the verifier.

    Args:
        keys: private P-256 keys with their RFC 7638 thumbprint as ``kid``; the first one signs.
    """

    def __init__(self, keys: Sequence[ECKey]) -> None:
        self._by_kid = {key.thumbprint(): key for key in keys}
        self.current_kid, self.current = next(iter(self._by_kid.items()))

    @classmethod
    def load_or_create(cls, data_dir: Path) -> Self:
        """Read the keys of ``data_dir``, or generate the first one. Safe to race.

        Raises:
            KeyFileError: the file is damaged, unreadable, too open, or cannot be created.
        """
        path = data_dir / FILE_NAME
        try:
            # Without the lock first: an existing key must be usable on a read-only directory.
            content = read_private(path)
            return cls(_parse(_create(path) if content is None else content))
        except PrivateFileError as error:
            raise KeyFileError(str(error)) from error
        except (JoseError, ValueError, TypeError) as error:
            raise KeyFileError(f"{path}: is damaged: {error}") from error

    def keys(self, kid: str | None) -> Sequence[Key]:
        """Give the key called ``kid`` (none if unknown), or every key for None."""
        if kid is None:
            return list(self._by_kid.values())
        return [self._by_kid[kid]] if kid in self._by_kid else []

    def jwks(self) -> dict[str, list[dict[str, object]]]:
        """Build the public JWK Set (RFC 7517 section 5), without any private member."""
        return {
            "keys": [
                dict(key.as_dict(private=False, kid=kid, use="sig", alg=ALGORITHM))
                for kid, key in self._by_kid.items()
            ]
        }


def _create(path: Path) -> bytes:
    """Write a file with one new key, unless another process was faster; return what is there."""
    with locked(path):
        content = read_private(path)
        if content is None:
            key = ECKey.generate_key(CURVE, private=True)
            row = key.as_dict(private=True, kid=key.thumbprint(), use="sig", alg=ALGORITHM)
            content = json.dumps({"keys": [row]}, indent=1).encode() + b"\n"
            replace_private(path, content)
        return content


def _parse(content: bytes) -> list[ECKey]:
    rows = parse_object(content).get("keys")
    if not isinstance(rows, list) or not rows:
        raise ValueError("it holds no keys")
    keys = [_import(row) for row in rows]
    if len({key.thumbprint() for key in keys}) != len(keys):
        raise ValueError("it holds a key twice")
    return keys


def _import(row: object) -> ECKey:
    if not isinstance(row, Mapping):
        raise TypeError("a key is not an object")
    key = ECKey.import_key(dict(row))  # also checks that the point belongs to the private number
    if key.curve_name != CURVE or not key.is_private:
        raise ValueError(f"a key is not a private {CURVE} key")
    if row.get("kid") != key.thumbprint():
        raise ValueError("a kid is not its key's RFC 7638 thumbprint")
    return key
