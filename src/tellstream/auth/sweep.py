"""Deleting what the authorization server no longer needs.

Nothing here decides anything: every row is checked against its time wherever it is used. What is
left out for a while only takes space, except the kept answers of refresh tokens, which hold
credentials, if encrypted ones.
"""

from typing import Final

import sqlalchemy as sa

from tellstream.auth.grants import DEAD_SECONDS, GRANT_SECONDS
from tellstream.auth.refresh_tokens import GRACE_SECONDS
from tellstream.auth.transactions import Transaction
from tellstream.storage.tables_oauth import (
    AUTHORIZATION_CODES,
    AUTHORIZATION_REQUESTS,
    LOGIN_ATTEMPTS,
    LOGIN_SESSIONS,
    OAUTH_GRANTS,
    OAUTH_REVOKED,
    REFRESH_TOKENS,
)

SWEEP_SECONDS: Final = 60.0
"""Between two sweeps."""


def sweep(tx: Transaction) -> None:
    """Delete what has expired, and erase what was kept for a moment."""
    now = int(tx.now)
    answered = REFRESH_TOKENS.c.answer.is_not(None)
    late = REFRESH_TOKENS.c.consumed_at < now - GRACE_SECONDS
    tx.connection.execute(sa.update(REFRESH_TOKENS).where(answered, late).values(answer=None))
    over = sa.select(OAUTH_GRANTS.c.id).where(OAUTH_GRANTS.c.expires_at < now - DEAD_SECONDS)
    # A used code stays as long as what it was redeemed for, should it be replayed.
    used = AUTHORIZATION_CODES.c.used_at.is_not(None)
    replayable = sa.and_(used, AUTHORIZATION_CODES.c.expires_at >= now - GRANT_SECONDS)
    for statement in (
        sa.delete(REFRESH_TOKENS).where(REFRESH_TOKENS.c.grant_id.in_(over)),
        sa.delete(OAUTH_GRANTS).where(OAUTH_GRANTS.c.expires_at < now - DEAD_SECONDS),
        sa.delete(AUTHORIZATION_CODES).where(
            AUTHORIZATION_CODES.c.expires_at < now, sa.not_(replayable)
        ),
        sa.delete(AUTHORIZATION_REQUESTS).where(AUTHORIZATION_REQUESTS.c.expires_at < now),
        sa.delete(LOGIN_SESSIONS).where(LOGIN_SESSIONS.c.expires_at < now),
        sa.delete(LOGIN_ATTEMPTS).where(LOGIN_ATTEMPTS.c.full_at < now),
        sa.delete(OAUTH_REVOKED).where(OAUTH_REVOKED.c.expires_at < now),
    ):
        tx.connection.execute(statement)
