"""Refresh tokens: a chain in which each is used once, rules A9 and A10.

Using a token issues its successor. A token that comes again was stolen, or its answer was lost on
the way; the two are told apart by whether the successor was used, and by time. Within
``GRACE_SECONDS``, and while the successor is unused, the same answer is given again. Otherwise the
whole grant ends: either the thief or the owner then has to log in, and only one of them can.

The answer is kept encrypted with a key that follows from the token itself, of which the store has
but a hash: for whoever reads the store it is noise.
"""

from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tellstream.auth.grants import Grant, lock_grant, revoke_grant
from tellstream.auth.opaque import digest, looks_like_secret, new_secret
from tellstream.auth.transactions import AuthEvent, Transaction
from tellstream.auth.words import joined, words
from tellstream.storage.tables_oauth import REFRESH_TOKENS

IDLE_SECONDS: Final = 7 * 86_400
"""A9: a token that is not used for so long has been forgotten."""
GRACE_SECONDS: Final = 10
"""A10: for a client that lost the answer and asks again."""
_NONCE: Final = bytes(12)
"""Constant, since each key encrypts one message."""


class Refresh(NamedTuple):
    """A refresh token that may be used, or was a moment ago.

    Attributes:
        token: itself.
        parent: digest of the one it replaced, or None.
        grant: it belongs to, locked.
        scopes: of the token.
        answer: what its use was answered with, to be given again; None: it is unused.
    """

    token: str
    parent: str | None
    grant: Grant
    scopes: frozenset[str]
    answer: bytes | None


def issue_refresh_token(
    tx: Transaction, grant: Grant, scopes: frozenset[str], parent: str | None = None
) -> str:
    """Store a new token of a grant; ``parent`` is the one that it replaces."""
    token = new_secret()
    tx.connection.execute(
        sa.insert(REFRESH_TOKENS).values(
            hash=digest(token),
            grant_id=grant.id,
            parent=None if parent is None else digest(parent),
            scopes=joined(scopes),
            expires_at=min(int(tx.now) + IDLE_SECONDS, grant.expires_at),
        )
    )
    return token


def find_grant(tx: Transaction, token: str) -> Grant | None:
    """Give the grant in force that a token belongs to, used or not, locked."""
    if not looks_like_secret(token):
        return None
    column = REFRESH_TOKENS.c
    grant_id = tx.connection.scalar(sa.select(column.grant_id).where(column.hash == digest(token)))
    return None if grant_id is None else lock_grant(tx, grant_id)


def find_refresh_token(tx: Transaction, token: str, client_id: str) -> Refresh | None:
    """Look a token up that a client wants to use.

    Returns:
        None if it is unknown, expired, of another client or of a revoked grant, or comes again
        without an excuse, whereupon the grant is revoked.
    """
    grant = find_grant(tx, token)
    if grant is None or grant.client_id != client_id:  # A9: bound to the client
        return None
    column = REFRESH_TOKENS.c
    # Read under the lock of the grant, as what is decided here must still be so when it is used.
    row = tx.connection.execute(sa.select(REFRESH_TOKENS).where(column.hash == digest(token))).one()
    if row.consumed_at is None:
        alive = row.expires_at > tx.now
        return Refresh(token, row.parent, grant, words(row.scopes), None) if alive else None
    answer = _answer_again(tx, token, row)
    if answer is None:
        revoke_grant(tx, grant, AuthEvent("refresh_token.replayed", client_id, grant.user_id))
        return None
    return Refresh(token, row.parent, grant, words(row.scopes), answer)


def use_refresh_token(tx: Transaction, used: Refresh, successor: str, answer: bytes) -> bool:
    """Use a token up, and keep what that is answered with for a while.

    Returns:
        Whether this was the one use.
    """
    sealed = AESGCM(_key(used.token)).encrypt(_NONCE, answer, used.grant.id.encode())
    column = REFRESH_TOKENS.c
    written = tx.write(
        sa.update(REFRESH_TOKENS)
        .where(column.hash == digest(used.token), column.consumed_at.is_(None))
        .values(consumed_at=int(tx.now), successor=digest(successor), answer=sealed)
    )
    _forget_answer(tx, used.parent)
    return written == 1


def _answer_again(tx: Transaction, token: str, row: sa.Row[Any]) -> bytes | None:
    """A10: give the kept answer, if it is not too late and nobody has used it."""
    if tx.now > row.consumed_at + GRACE_SECONDS or row.answer is None:
        return None
    column = REFRESH_TOKENS.c
    unused = sa.select(column.hash).where(
        column.hash == row.successor, column.consumed_at.is_(None)
    )
    if tx.connection.execute(unused).first() is None:
        return None
    try:
        return AESGCM(_key(token)).decrypt(_NONCE, row.answer, row.grant_id.encode())
    except InvalidTag:  # the store was tampered with
        return None


def _forget_answer(tx: Transaction, parent: str | None) -> None:
    """Erase the answer that held a token, now that it has arrived."""
    if parent is not None:
        tx.connection.execute(
            sa.update(REFRESH_TOKENS).where(REFRESH_TOKENS.c.hash == parent).values(answer=None)
        )


def _key(token: str) -> bytes:
    derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"tellstream refresh answer")
    return derivation.derive(token.encode())
