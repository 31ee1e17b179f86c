"""What a person was asked, and what they have allowed (rule A12).

A question belongs to one browser session: only that session can answer it, and what is allowed is
what was stored with it, not what the answer says.
"""

from collections.abc import Collection
from typing import Final

import sqlalchemy as sa

from tellstream.auth.opaque import digest, looks_like_id, new_id
from tellstream.auth.transactions import Transaction
from tellstream.auth.words import joined, numbers, words
from tellstream.storage.tables_oauth import AUTHORIZATION_REQUESTS, CONSENTS

ANSWER_SECONDS: Final = 600
"""For which a consent page can be answered."""


def ask(tx: Transaction, session_id: str, query: str) -> str:
    """Store a question; returns its id. ``query`` is that of the authorization request."""
    request_id = new_id()
    tx.connection.execute(
        sa.insert(AUTHORIZATION_REQUESTS).values(
            id=request_id,
            session=digest(session_id),
            query=query,
            expires_at=int(tx.now) + ANSWER_SECONDS,
        )
    )
    return request_id


def asked(tx: Transaction, session_id: str, request_id: str) -> str | None:
    """Give the query of a question that this session was asked and may still answer."""
    if not looks_like_id(request_id):
        return None
    column = AUTHORIZATION_REQUESTS.c
    query: str | None = tx.connection.scalar(
        sa.select(column.query).where(
            column.id == request_id,
            column.session == digest(session_id),
            column.expires_at > tx.now,
        )
    )
    return query


def remember(
    tx: Transaction, user_id: str, client_id: str, scopes: Collection[str], tenants: Collection[int]
) -> None:
    """Add to what a user has allowed a client."""
    known_scopes, known_tenants = _known(tx, user_id, client_id)
    values = {
        "scopes": joined(known_scopes.union(scopes)),
        "tenants": joined(known_tenants.union(tenants)),
        "granted_at": int(tx.now),
    }
    statement = tx.insert(CONSENTS).values(user_id=user_id, client_id=client_id, **values)
    tx.connection.execute(
        statement.on_conflict_do_update(index_elements=["user_id", "client_id"], set_=values)
    )


def is_allowed(
    tx: Transaction, user_id: str, client_id: str, scopes: frozenset[str], tenants: frozenset[int]
) -> bool:
    """Whether a user has allowed a client all of this before."""
    known_scopes, known_tenants = _known(tx, user_id, client_id)
    return scopes <= known_scopes and tenants <= known_tenants


def _known(tx: Transaction, user_id: str, client_id: str) -> tuple[frozenset[str], frozenset[int]]:
    column = CONSENTS.c
    row = tx.connection.execute(
        sa.select(column.scopes, column.tenants).where(
            column.user_id == user_id, column.client_id == client_id
        )
    ).first()
    return (frozenset(), frozenset()) if row is None else (words(row.scopes), numbers(row.tenants))
