"""How a stored change reaches every worker: a counter that rises with it, which all of them read.

``bump`` is called in the transaction of the change. So who sees a number sees all changes up to it,
and what was loaded after the number was read is at least that new.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import sqlalchemy as sa
import structlog

from tellstream.storage.store import Store
from tellstream.storage.tables_store import CHANGES

log = structlog.get_logger("tellstream.changes")

POLL_SECONDS: Final = 2.0
"""Between two looks at the counter; a change takes effect within 5 s, also if one look is slow."""


def bump(connection: sa.Connection) -> None:
    """Say that something was changed, in this transaction; those that follow wait for its end."""
    connection.execute(sa.update(CHANGES).values(counter=CHANGES.c.counter + 1))


def current(connection: sa.Connection) -> int:
    """Read how many transactions have changed something."""
    found: int = connection.execute(sa.select(CHANGES.c.counter)).scalar_one()
    return found


class ChangeWatcher:
    """Loads again what a worker keeps in memory when it was changed.

    Args:
        store: where the counter is.
        reload: loads everything; called with the changes that were made before, never twice at
            once. If it raises, it is called again at the next look.
        seconds: between two looks.
    """

    def __init__(
        self,
        store: Store,
        reload: Callable[[], Awaitable[None]],
        seconds: float = POLL_SECONDS,
    ) -> None:
        self._store = store
        self._reload = reload
        self._seconds = seconds
        self._seen: int | None = None
        self._looking = asyncio.Lock()

    async def look(self) -> bool:
        """Look once, and load if something was changed; the first time, it is.

        A worker calls this at its start, and to see a change of its own at once.

        Returns:
            Whether ``reload`` was called.

        Raises:
            StoreUnavailableError: the counter cannot be read.
            Exception: what ``reload`` raises.
        """
        async with self._looking:
            counter = await self._store.run(None, current, readonly=True)
            if counter == self._seen:
                return False
            await self._reload()
            self._seen = counter
            return True

    async def run(self) -> None:
        """Look again and again, until cancelled.

        While the store cannot be used, or what is in it cannot be loaded, what was loaded before
        stays in use.
        """
        failed: str | None = None
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await self.look()
            except Exception as error:  # logged below: later changes must be seen, too
                failure = repr(error)
                if failure != failed:  # once, not at each look
                    log.warning("changes.not_loaded", exc_info=error)
                failed = failure
            else:
                failed = None
