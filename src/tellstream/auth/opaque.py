"""Opaque credentials: codes, refresh tokens, session ids, client secrets.

Each is 256 random bits, so a plain SHA-256 is enough to store it by (rules A4, A8, A9): there is
nothing to guess, and the store never holds anything that could be shown as a credential.
"""

import hashlib
import re
import secrets
from typing import Final

SECRET_BYTES: Final = 32
"""256 bits."""
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}")


def new_secret() -> str:
    """Make a credential: 43 characters of base64url."""
    return secrets.token_urlsafe(SECRET_BYTES)


def new_id() -> str:
    """Make an identifier that is no credential: 128 random bits, 22 characters of base64url."""
    return secrets.token_urlsafe(16)


def looks_like_secret(text: str) -> bool:
    """Whether ``text`` has the form of ``new_secret``; anything else need not be looked up."""
    return _SECRET.fullmatch(text) is not None


def looks_like_id(text: str) -> bool:
    """Whether ``text`` has the form of ``new_id``."""
    return _ID.fullmatch(text) is not None


def digest(secret: str) -> str:
    """Give what ``secret`` is stored and found by: its SHA-256 in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()
