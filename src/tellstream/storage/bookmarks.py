"""Bookmarks: small facts that every worker can find by a name, until they expire.

Which stream is the newest of a conversation, and which ticket opens which stream, are such facts.
The functions run inside a transaction of the store. Expired rows count as absent; they are deleted
when another one is written.
"""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tellstream.storage.tables_bookmarks import BOOKMARKS

SWEPT: Final = 100
"""Expired rows deleted at each write: more than are written, so they cannot pile up."""

_C: Final = BOOKMARKS.c


def put(
    connection: sa.Connection, tenant: int, name: str, value: str, *, now: float, seconds: float
) -> None:
    """Write a bookmark, in the place of an earlier one with this name.

    Args:
        connection: of the transaction.
        tenant: whose it is.
        name: unique within the tenant.
        value: what it says.
        now: Unix seconds.
        seconds: for which it is kept.
    """
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    row = {"tenant": tenant, "name": name, "value": value, "expires_at": int(now + seconds)}
    connection.execute(
        dialect.insert(BOOKMARKS)
        .values(row)
        .on_conflict_do_update(
            index_elements=[_C.tenant, _C.name],
            set_={"value": value, "expires_at": row["expires_at"]},
        )
    )
    over = sa.select(_C.name).where(_C.tenant == tenant, _C.expires_at <= int(now)).limit(SWEPT)
    connection.execute(sa.delete(BOOKMARKS).where(_C.tenant == tenant, _C.name.in_(over)))


def find(connection: sa.Connection, tenant: int, name: str, now: float) -> str | None:
    """Read a bookmark; None: there is none, or none any more."""
    value: str | None = connection.scalar(
        sa.select(_C.value).where(_C.tenant == tenant, _C.name == name, _C.expires_at > int(now))
    )
    return value


def swap(connection: sa.Connection, tenant: int, name: str, old: str, new: str) -> bool:
    """Change a bookmark that still says ``old``; of several who try, one succeeds."""
    changed = connection.execute(
        sa.update(BOOKMARKS)
        .where(_C.tenant == tenant, _C.name == name, _C.value == old)
        .values(value=new)
    )
    return changed.rowcount == 1
