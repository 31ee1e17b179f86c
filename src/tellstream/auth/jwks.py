"""A fetched JWK Set (RFC 7517), read with suspicion: key by key, and bad ones are skipped.

One malformed key must not take the good ones beside it with it, and a key that must not verify
anything (too short, symmetric, private, of a kind no algorithm of ours takes) is not even kept.
Fetching and caching are ``jwks_cache.py``; which key a token may use is ``signatures.py``.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from tellstream.auth.issuers import ALGORITHMS, MIN_RSA_BITS
from tellstream.auth.signatures import MAX_KID_CHARS
from tellstream.auth.strict_json import parse_object

MAX_KEY_SET_BYTES: Final = 256 * 1024
"""Of one document. Real ones have 1 to 20 KiB, certificates included."""
MAX_KEYS: Final = 50
"""Of one document. Real ones hold 1 to 10; each one costs an import."""
MAX_RSA_BITS: Final = 8192
"""A longer modulus makes each check of a signature take milliseconds."""
MAX_RSA_EXPONENT_BITS: Final = 32
"""The usual exponent is 65537 (17 bits); a long one is as slow as a long modulus."""

# The members that make a public key, by kty; certificates and all the rest are left behind.
_MEMBERS: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_USAGE: Final = ("use", "alg", "key_ops")
_BASE64URL: Final = re.compile("[A-Za-z0-9_-]+")


class Skipped(StrEnum):
    """Why a row of a key set is not used."""

    MALFORMED = "malformed"
    OTHER_KIND = "of another kind"
    PRIVATE = "private"
    WEAK = "weak"


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one document.

    Attributes:
        keys: those that can be used, in order.
        published: how many rows the document had.
        skipped: why the others are not among ``keys``.
    """

    keys: Sequence[Key]
    published: int
    skipped: Sequence[Skipped]

    def find(self, kid: str | None) -> Sequence[Key]:
        """Give the keys called ``kid``, or all for None."""
        if kid is None:
            return self.keys
        return [key for key in self.keys if key.get("kid") == kid]


def parse_key_set(raw: bytes) -> KeySet:
    """Read a JWK Set.

    Raises:
        ValueError: too large, not a key set, too many keys, or nothing but malformed keys; the text
            quotes nothing of the document.
    """
    if len(raw) > MAX_KEY_SET_BYTES:
        raise ValueError("the key set is too large")
    rows = parse_object(raw).get("keys")
    if not isinstance(rows, list):
        raise ValueError("not a key set")  # noqa: TRY004 - one kind of error
    if len(rows) > MAX_KEYS:
        raise ValueError("the key set has too many keys")
    read = [_key(row) for row in rows]
    skipped = [item for item in read if isinstance(item, Skipped)]
    keys = [item for item in read if not isinstance(item, Skipped)]
    # Weak or foreign keys say what the issuer has; malformed ones alone say that it is broken.
    if not keys and Skipped.MALFORMED in skipped:
        raise ValueError("the key set has no usable key")
    return KeySet(keys, len(rows), skipped)


def _key(row: object) -> Key | Skipped:
    """Import one row, or tell why not."""
    if not isinstance(row, Mapping):
        return Skipped.MALFORMED
    try:
        reason = _objection(row)
        if reason is not None:
            return reason
        taken = ("kty", "kid", *_MEMBERS[row["kty"]], *_USAGE)
        return JWKRegistry.import_key({name: row[name] for name in taken if name in row})
    except (JoseError, ValueError, TypeError, OverflowError, UnsupportedAlgorithm):
        return Skipped.MALFORMED


def _objection(row: Mapping[str, object]) -> Skipped | None:
    """Judge a row before the library does, which warns about a short key and takes a huge one."""
    kind, kid = row.get("kty"), row.get("kid", "")
    if not isinstance(kind, str) or not isinstance(kid, str) or len(kid) > MAX_KID_CHARS:
        return Skipped.MALFORMED
    curve = row.get("crv") if kind != "RSA" else None
    if (kind, curve) not in ALGORITHMS.values():  # R4: nothing symmetric, no other curve
        return Skipped.OTHER_KIND
    if "d" in row:  # whoever reads this document could sign
        return Skipped.PRIVATE
    return Skipped.WEAK if kind == "RSA" and not _fair(row) else None  # R6


def _fair(row: Mapping[str, object]) -> bool:
    """Whether an RSA key is neither too short nor too slow."""
    return (
        MIN_RSA_BITS <= _bits(row.get("n")) <= MAX_RSA_BITS
        and _bits(row.get("e")) <= MAX_RSA_EXPONENT_BITS
    )


def _bits(value: object) -> int:
    if not isinstance(value, str) or not _BASE64URL.fullmatch(value):
        raise ValueError("not base64url")
    raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    return int.from_bytes(raw).bit_length()
