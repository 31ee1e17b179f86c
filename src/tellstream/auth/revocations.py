"""Which access tokens are dead before they expire, as every worker knows it (rule R14).

The list is in the store; each worker has a copy in memory that is at most ``MAX_AGE_SECONDS`` old,
so that no request waits for a database. What this worker revokes itself it knows at once. A copy
that could not be renewed for ``BLIND_SECONDS`` is not trusted any more: then nobody passes.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import sqlalchemy as sa
import structlog

from tellstream.auth.transactions import Revoked, Store
from tellstream.core.errors import ServerError
from tellstream.storage.tables_oauth import OAUTH_REVOKED

POLL_SECONDS: Final = 2.0
"""Between two looks at the store; with the time of the look itself well below the 5 s promised."""
OVERLAP_SECONDS: Final = 120
"""How far back each look goes before the one before it: for clocks that differ, and transactions
that were slow to commit."""
BLIND_SECONDS: Final = 60.0
"""An outage of the store that is shorter stops nobody whose token is good."""

log = structlog.get_logger("tellstream.auth")


class Revocations:
    """The list of dead tokens.

    Args:
        store: where it is shared.
        clock: Unix seconds.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._dead: dict[str, int] = {}  # key to expiry
        self._seen_at: float | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the list and begin to follow it.

        Raises:
            ServerError: the store cannot be read.
        """
        await self.refresh()
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def close(self) -> None:
        """Stop following. May be called again."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def add(self, revoked: Iterable[Revoked]) -> None:
        """Take over what this worker has just revoked."""
        self._dead.update(revoked)

    def is_revoked(self, token_id: str, session: str | None) -> bool:
        """Whether a token is dead, by its ``jti`` and ``sid``.

        Raises:
            ServerError: ``service_unavailable``, the list is too old to say.
        """
        now = self._clock()
        if self._seen_at is None or now - self._seen_at > BLIND_SECONDS:
            raise ServerError("service_unavailable", reason="R14: the revocations are too old")
        return self._is_dead(f"jti:{token_id}", now) or (
            session is not None and self._is_dead(f"sid:{session}", now)
        )

    async def refresh(self) -> None:
        """Look at the store now.

        Raises:
            ServerError: it cannot be read.
        """
        now = self._clock()
        since = 0 if self._seen_at is None else int(self._seen_at) - OVERLAP_SECONDS
        rows = await self._store.run(None, lambda connection: _read(connection, since, now))
        self._dead = {key: end for key, end in self._dead.items() if end > now}
        self._dead.update(rows)
        self._seen_at = now

    def _is_dead(self, key: str, now: float) -> bool:
        return self._dead.get(key, 0) > now

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self.refresh()
            except ServerError as error:
                log.warning("auth.revocations_unknown", reason=error.reason)


def _read(connection: sa.Connection, since: int, now: float) -> list[Revoked]:
    column = OAUTH_REVOKED.c
    rows = connection.execute(
        sa.select(column.key, column.expires_at).where(
            column.revoked_at >= since, column.expires_at > now
        )
    )
    return [Revoked(row.key, row.expires_at) for row in rows]
