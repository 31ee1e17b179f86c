"""Proof key for code exchange, S256 only (RFC 7636, rule A1)."""

import base64
import hashlib
import re
from hmac import compare_digest
from typing import Final

METHOD: Final = "S256"

# fullmatch, everywhere: "$" would let a trailing newline pass.
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def is_challenge(text: str) -> bool:
    """Whether ``text`` can be the SHA-256 of a verifier."""
    return _CHALLENGE.fullmatch(text) is not None


def proves(verifier: str, challenge: str) -> bool:
    """Whether ``verifier`` is well formed and the one that ``challenge`` was made of."""
    if not _VERIFIER.fullmatch(verifier):
        return False
    hashed = hashlib.sha256(verifier.encode("ascii")).digest()
    return compare_digest(base64.urlsafe_b64encode(hashed).rstrip(b"=").decode(), challenge)
