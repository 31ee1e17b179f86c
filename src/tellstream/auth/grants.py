"""Grants: what a person allowed a client, once, and everything that was issued for it.

A grant is the family of a chain of refresh tokens, and its id is the ``sid`` of its access tokens,
so that revoking one row and one ``sid`` ends all of them (rules A5, A9, A10, A15). Work on the
tokens of a grant takes the row's lock first, so that of several requests at once each sees what the
one before it has done.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

import sqlalchemy as sa

from tellstream.auth.issuers import MAX_TOKEN_LIFETIME_SECONDS
from tellstream.auth.opaque import new_id
from tellstream.auth.transactions import AuthEvent, Revoked, Transaction
from tellstream.auth.words import joined, numbers
from tellstream.storage.tables_oauth import (
    AUTHORIZATION_CODES,
    OAUTH_GRANTS,
    OAUTH_REVOKED,
    REFRESH_TOKENS,
)

GRANT_SECONDS: Final = 30 * 86_400
"""A9: then the person is asked again."""
DEAD_SECONDS: Final = MAX_TOKEN_LIFETIME_SECONDS + 120
"""For which a revocation must be remembered: a token's longest life, and clocks that differ."""

_BATCH: Final = 500
"""Ids in one statement; databases take some thousands."""


class Grant(NamedTuple):
    """One grant.

    Attributes:
        id: the ``sid``.
        client_id: to whom.
        user_id: by whom.
        tenants: the client may act for.
        resource: what for.
        expires_at: Unix seconds.
    """

    id: str
    client_id: str
    user_id: str
    tenants: frozenset[int]
    resource: str
    expires_at: int


def create_grant(
    tx: Transaction, client_id: str, user_id: str, tenants: Collection[int], resource: str
) -> Grant:
    """Store a new grant."""
    grant = Grant(
        new_id(), client_id, user_id, frozenset(tenants), resource, int(tx.now) + GRANT_SECONDS
    )
    values = grant._asdict() | {"tenants": joined(tenants), "created_at": int(tx.now)}
    tx.connection.execute(sa.insert(OAUTH_GRANTS).values(values))
    return grant


def lock_grant(tx: Transaction, grant_id: str) -> Grant | None:
    """Give a grant that is in force, locked until the transaction ends."""
    column = OAUTH_GRANTS.c
    row = tx.connection.execute(
        sa.select(OAUTH_GRANTS)
        .where(column.id == grant_id, column.revoked_at.is_(None), column.expires_at > tx.now)
        .with_for_update()
    ).first()
    if row is None:
        return None
    return Grant(
        row.id, row.client_id, row.user_id, numbers(row.tenants), row.resource, row.expires_at
    )


def revoke_grant(tx: Transaction, grant: Grant, event: AuthEvent) -> None:
    """End a locked grant: its refresh tokens, and by ``sid`` its access tokens."""
    column = OAUTH_GRANTS.c
    tx.connection.execute(
        sa.update(OAUTH_GRANTS).where(column.id == grant.id).values(revoked_at=int(tx.now))
    )
    tx.connection.execute(
        sa.update(REFRESH_TOKENS).where(REFRESH_TOKENS.c.grant_id == grant.id).values(answer=None)
    )
    revoke_key(tx, f"sid:{grant.id}", int(tx.now) + DEAD_SECONDS)
    tx.events.append(event)


def end_grants_of(tx: Transaction, user_id: str) -> int:
    """End everything that a user has granted, codes on their way included; returns how many."""
    unused = AUTHORIZATION_CODES.c.used_at.is_(None)
    mine = AUTHORIZATION_CODES.c.user_id == user_id
    tx.connection.execute(sa.delete(AUTHORIZATION_CODES).where(mine, unused))
    return _end(tx, OAUTH_GRANTS.c.user_id == user_id)


def end_grants_to(tx: Transaction, client_id: str) -> int:
    """End everything that was granted to a client, and its own tokens; returns how many grants.

    The tokens that a client has for itself carry its id as their ``sid``.
    """
    unused = AUTHORIZATION_CODES.c.used_at.is_(None)
    its = AUTHORIZATION_CODES.c.client_id == client_id
    tx.connection.execute(sa.delete(AUTHORIZATION_CODES).where(its, unused))
    revoke_key(tx, f"sid:{client_id}", int(tx.now) + DEAD_SECONDS)
    return _end(tx, OAUTH_GRANTS.c.client_id == client_id)


def _end(tx: Transaction, condition: sa.ColumnElement[bool]) -> int:
    """End the grants that meet a condition."""
    column, expires_at = OAUTH_GRANTS.c, int(tx.now) + DEAD_SECONDS
    # Locked first: tokens that are being issued for one of them come before this, or not at all.
    ids = tx.connection.scalars(
        sa.select(column.id)
        .where(condition, column.revoked_at.is_(None), column.expires_at > tx.now)
        .with_for_update()
    ).all()
    if not ids:
        return 0
    ended = sa.update(OAUTH_GRANTS).where(condition, column.revoked_at.is_(None))
    tx.connection.execute(ended.values(revoked_at=int(tx.now)))
    for start in range(0, len(ids), _BATCH):
        batch = ids[start : start + _BATCH]
        tokens = sa.update(REFRESH_TOKENS).where(REFRESH_TOKENS.c.grant_id.in_(batch))
        tx.connection.execute(tokens.values(answer=None))
        for grant_id in batch:
            revoke_key(tx, f"sid:{grant_id}", expires_at)
    return len(ids)


def revoke_key(tx: Transaction, key: str, expires_at: int) -> None:
    """Put access tokens on the list of the dead (rule R14)."""
    statement = tx.insert(OAUTH_REVOKED).values(
        key=key, revoked_at=int(tx.now), expires_at=expires_at
    )
    tx.connection.execute(statement.on_conflict_do_nothing(index_elements=["key"]))
    tx.revoked.append(Revoked(key, expires_at))
