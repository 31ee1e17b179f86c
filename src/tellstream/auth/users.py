"""The people who can log in, and what they may pass on to an application.

An application never gets more than its user has: the scopes and tenants of a grant are those that
both the client and the user have.
"""

import re
import unicodedata
from collections.abc import Collection
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from tellstream.auth.opaque import looks_like_id, new_id
from tellstream.auth.positions import Position, paged
from tellstream.auth.positions import managed as managed_rows
from tellstream.auth.tenants import MAX_TENANT
from tellstream.auth.transactions import Transaction
from tellstream.auth.words import joined, numbers, words
from tellstream.core.principals import SCOPES, Ctx
from tellstream.storage.tables_oauth import CONSENTS, USERS

MAX_EMAIL_CHARS: Final = 254
"""RFC 5321: a path has at most 256 octets, with its angle brackets."""
MIN_PASSWORD_CHARS: Final = 12
MAX_PASSWORD_CHARS: Final = 256
"""More is no safer, and hashing it costs."""
MAX_TENANTS: Final = 100
"""All of them are in each access token, which has a size limit."""
DEFAULT_SCOPES: Final = frozenset({"chat", "usage"})

_PREFIX: Final = "usr_"
# One @, no white space, no control characters. More than that only delivery can tell.
_EMAIL: Final = re.compile(r"[^\s@\x00-\x1f\x7f]+@[^\s@\x00-\x1f\x7f]+")


class User(msgspec.Struct, frozen=True, kw_only=True):
    """One person.

    Attributes:
        id: the ``sub`` of tokens; never used again.
        email: normalised.
        password_hash: Argon2id, in its text form.
        must_change: the password was chosen by somebody else.
        scopes: the most that can be passed on.
        tenants: that can be acted for.
        created_at: Unix seconds.
        disabled_at: Unix seconds; None: may log in.
    """

    id: str
    email: str
    password_hash: str
    must_change: bool
    scopes: frozenset[str]
    tenants: frozenset[int]
    created_at: int
    disabled_at: int | None = None


class EmailTakenError(ValueError):
    """There is a user with this email already."""


def normalised_email(text: str) -> str:
    """Give the one spelling of an email address that users are found by.

    Raises:
        ValueError: it is none.
    """
    email = unicodedata.normalize("NFKC", text).strip().casefold()
    if len(email) > MAX_EMAIL_CHARS or not email.isprintable() or not _EMAIL.fullmatch(email):
        raise ValueError("that is no email address")
    return email


def normalised_password(text: str) -> str:
    """Give the one spelling of a password: keyboards compose letters differently."""
    return unicodedata.normalize("NFKC", text)


def check_new_password(password: str, email: str) -> None:
    """Refuse a password that is easy to guess or that cannot be stored.

    Raises:
        ValueError: its text can be shown to the person who chose it.
    """
    if len(password) < MIN_PASSWORD_CHARS:
        raise ValueError(f"Use at least {MIN_PASSWORD_CHARS} characters.")
    if len(password) > MAX_PASSWORD_CHARS or "\0" in password:
        raise ValueError(f"Use at most {MAX_PASSWORD_CHARS} ordinary characters.")
    if len(set(password.casefold())) <= MIN_PASSWORD_CHARS // 3:
        raise ValueError("Use more different characters.")
    name = email.partition("@")[0]
    if len(name) > 2 and name in password.casefold():  # noqa: PLR2004 - shorter is in any text
        raise ValueError("Do not use your email address in it.")


def new_user(
    email: str,
    password_hash: str,
    scopes: Collection[str],
    tenants: Collection[int],
    *,
    must_change: bool,
    now: float,
) -> User:
    """Make a user; ``password_hash`` is that of a checked password.

    Raises:
        ValueError: an email, scope or tenant that is not acceptable.
    """
    if not scopes or not set(scopes) <= set(SCOPES):
        raise ValueError(f"scopes of a user are some of: {', '.join(SCOPES)}")
    if not 0 < len(tenants) <= MAX_TENANTS or not all(0 < t <= MAX_TENANT for t in tenants):
        raise ValueError(f"a user acts for 1..{MAX_TENANTS} tenant numbers")
    return User(
        id=_PREFIX + new_id(),
        email=normalised_email(email),
        password_hash=password_hash,
        must_change=must_change,
        scopes=frozenset(scopes),
        tenants=frozenset(tenants),
        created_at=int(now),
    )


def insert_user(tx: Transaction, user: User) -> None:
    """Store a new user.

    Raises:
        EmailTakenError: somebody has this email.
    """
    values = msgspec.structs.asdict(user) | {
        "scopes": joined(user.scopes),
        "tenants": joined(user.tenants),
    }
    statement = tx.insert(USERS).values(values).on_conflict_do_nothing(index_elements=["email"])
    if tx.write(statement) == 0:
        raise EmailTakenError(f"there is a user {user.email} already")


def any_user(tx: Transaction) -> bool:
    """Whether there is a user at all."""
    return tx.connection.execute(sa.select(USERS.c.id).limit(1)).first() is not None


def user_by_email(tx: Transaction, email: str) -> User | None:
    """Find a user by a normalised email; disabled ones are not found."""
    return _one(tx, USERS.c.email == email)


def user_by_id(tx: Transaction, user_id: str) -> User | None:
    """Find a user; disabled ones are not found."""
    return _one(tx, USERS.c.id == user_id)


def managed(tx: Transaction, ctx: Ctx | None, user_id: str) -> User | None:
    """Find a user that a caller manages; None if there is none."""
    if not (user_id.startswith(_PREFIX) and looks_like_id(user_id.removeprefix(_PREFIX))):
        return None
    return _one(tx, sa.and_(USERS.c.id == user_id, managed_rows(USERS.c.tenants, ctx)))


def managed_by_email(tx: Transaction, ctx: Ctx | None, email: str) -> User | None:
    """Find a user that a caller manages by a normalised email; None if there is none."""
    return _one(tx, sa.and_(USERS.c.email == email, managed_rows(USERS.c.tenants, ctx)))


def page(tx: Transaction, ctx: Ctx | None, after: Position | None, limit: int) -> list[User]:
    """List the users that a caller manages, oldest first.

    Args:
        tx: the transaction.
        ctx: who asks; None: the server itself, which manages all.
        after: where to go on, or None: from the start.
        limit: at most so many.
    """
    selected = sa.select(USERS).where(
        USERS.c.disabled_at.is_(None), managed_rows(USERS.c.tenants, ctx)
    )
    rows = tx.connection.execute(paged(selected, USERS.c.created_at, USERS.c.id, after, limit))
    return [_user(row) for row in rows.mappings()]


def set_password(
    tx: Transaction, user_id: str, password_hash: str, *, must_change: bool = False
) -> None:
    """Give a user another password.

    Args:
        tx: the transaction.
        user_id: whose.
        password_hash: of the new one.
        must_change: somebody else chose it.
    """
    tx.connection.execute(
        sa.update(USERS)
        .where(USERS.c.id == user_id)
        .values(password_hash=password_hash, must_change=must_change)
    )


def delete_user(tx: Transaction, user_id: str) -> None:
    """Delete a user, and what they have agreed to."""
    tx.connection.execute(sa.delete(USERS).where(USERS.c.id == user_id))
    tx.connection.execute(sa.delete(CONSENTS).where(CONSENTS.c.user_id == user_id))


def _one(tx: Transaction, condition: sa.ColumnElement[bool]) -> User | None:
    active = USERS.c.disabled_at.is_(None)
    row = tx.connection.execute(sa.select(USERS).where(condition, active)).mappings().first()
    return None if row is None else _user(row)


def _user(row: Any) -> User:
    return User(**dict(row) | {"scopes": words(row["scopes"]), "tenants": numbers(row["tenants"])})
