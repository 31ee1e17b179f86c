"""Browser sessions of the login pages: the cookie, the CSRF token, the stored login (rule A12).

A browser without a login has an id as well, so that its login form is bound to it; it is stored
nowhere. A login always makes a new id: whoever planted the former one has nothing.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from hmac import compare_digest
from typing import Final, NamedTuple

import sqlalchemy as sa

from tellstream.auth.opaque import digest, looks_like_secret, new_secret
from tellstream.auth.transactions import Transaction
from tellstream.storage.tables_oauth import LOGIN_SESSIONS

SESSION_SECONDS: Final = 8 * 3600
"""A working day; then the password is asked for again."""
_PAIR: Final = re.compile(r"\s*([^=;\s]+)=([^;\s]*)\s*")


class Cookie(NamedTuple):
    """How the session id travels.

    Attributes:
        secure: whether the server is reached by https.
    """

    secure: bool

    @property
    def name(self) -> str:
        """Its name; ``__Host-`` makes browsers refuse it from other hosts and over http."""
        return "__Host-tellstream" if self.secure else "tellstream"

    def read(self, headers: Sequence[tuple[bytes, bytes]]) -> str | None:
        """Take the session id from raw ASGI headers, if there is exactly one."""
        lines = [value.decode("latin-1") for name, value in headers if name == b"cookie"]
        pairs = [_PAIR.fullmatch(part) for line in lines for part in line.split(";")]
        values = [pair[2] for pair in pairs if pair is not None and pair[1] == self.name]
        return values[0] if len(values) == 1 and looks_like_secret(values[0]) else None

    def write(self, session_id: str) -> str:
        """Build the ``Set-Cookie`` value; it lives until the browser is closed."""
        secure = "; Secure" if self.secure else ""
        return f"{self.name}={session_id}; Path=/; HttpOnly; SameSite=Lax{secure}"


def csrf_token(session_id: str) -> str:
    """Give the token that the forms of a session carry.

    It follows from the id, which no page and no script ever sees, and does not reveal it.
    """
    hashed = hashlib.sha256(b"tellstream csrf\0" + session_id.encode()).digest()
    return base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()


def csrf_is_right(session_id: str | None, token: str) -> bool:
    """Whether a form comes from a page that this session was shown."""
    return session_id is not None and compare_digest(
        csrf_token(session_id).encode(), token.encode()
    )


def start_session(tx: Transaction, user_id: str, former: str | None) -> str:
    """Log a user in; the session that was used so far ends. Returns the new id."""
    end_session(tx, former)
    session_id = new_secret()
    tx.connection.execute(
        sa.insert(LOGIN_SESSIONS).values(
            hash=digest(session_id),
            user_id=user_id,
            created_at=int(tx.now),
            expires_at=int(tx.now) + SESSION_SECONDS,
        )
    )
    return session_id


def session_user(tx: Transaction, session_id: str | None) -> str | None:
    """Give the id of the user who is logged in, if one is."""
    if session_id is None:
        return None
    column = LOGIN_SESSIONS.c
    user: str | None = tx.connection.scalar(
        sa.select(column.user_id).where(
            column.hash == digest(session_id), column.expires_at > tx.now
        )
    )
    return user


def end_session(tx: Transaction, session_id: str | None) -> None:
    """Log out."""
    if session_id is not None:
        statement = sa.delete(LOGIN_SESSIONS)
        tx.connection.execute(statement.where(LOGIN_SESSIONS.c.hash == digest(session_id)))


def end_sessions_of(tx: Transaction, user_id: str) -> None:
    """Log a user out of every browser."""
    tx.connection.execute(sa.delete(LOGIN_SESSIONS).where(LOGIN_SESSIONS.c.user_id == user_id))
