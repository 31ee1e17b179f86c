"""Settlements that the ledger was away for: kept in memory, and delivered when it is back.

Each belongs to a stream whose end is in its log and says these numbers, so they are the ones to be
stored. What a process that dies leaves over is found by ``arrears.py``.
"""

import asyncio
from typing import Final, NamedTuple

import msgspec
import structlog

from tellstream.core.errors import ServerError
from tellstream.storage.base import LedgerUnavailableError, Settlement, UsageLedger, UsageRow

log = structlog.get_logger("tellstream.stream")

MAX_DEBTS: Final = 100_000
"""Kept; more than a worker ends streams in an hour's outage, each about a kilobyte."""
AT_ONCE: Final = 500
"""Delivered together; the ledger writes them in a few groups."""
RETRY_SECONDS: Final = 1.0
"""Between two tries: what a ledger that is back is asked for, and one that is away is spared."""
CLOSE_SECONDS: Final = 5.0
"""For which a worker that stops tries to deliver what is left; then the numbers are logged."""


class Debt(NamedTuple):
    """What a stream used, and the row it belongs to."""

    row: UsageRow
    settlement: Settlement


class Backlog:
    """Delivers settlements late.

    Args:
        ledger: where the rows are.
    """

    def __init__(self, ledger: UsageLedger) -> None:
        self._ledger = ledger
        self._debts: dict[tuple[int, str], Debt] = {}
        self._task: asyncio.Task[None] | None = None  # while there is something to deliver

    def __len__(self) -> int:
        """How many are left."""
        return len(self._debts)

    def add(self, debt: Debt) -> None:
        """Deliver a settlement soon."""
        if len(self._debts) >= MAX_DEBTS:
            _lost(debt)
            return
        self._debts[debt.row.tenant, debt.row.stream_id] = debt
        if self._task is None:
            self._begin()

    async def close(self) -> None:
        """Try to deliver what is left, for a moment; log the numbers of what is not."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=CLOSE_SECONDS)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})  # for as long as the ledger takes to give up
        for debt in self._debts.values():
            _lost(debt)
        self._debts.clear()

    def _begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._deliver())
        self._task.add_done_callback(self._delivered)

    async def _deliver(self) -> None:
        while self._debts:
            await asyncio.sleep(RETRY_SECONDS)
            portion = list(self._debts.items())[:AT_ONCE]
            first, *rest = portion
            if await self._settled(*first):  # the others only if the ledger answers
                await asyncio.gather(*(self._settled(*one) for one in rest))

    async def _settled(self, key: tuple[int, str], debt: Debt) -> bool:
        """Settle one row; whether the ledger answered."""
        row, given = debt
        try:
            stored = await self._ledger.settle(row.tenant, row.stream_id, given, row=row)
        except LedgerUnavailableError:
            return False
        except ServerError as error:  # refused, now and later
            log.exception("usage.refused", stream=row.stream_id, reason=error.reason)
            _lost(debt)
        else:
            log.info("usage.settled_late", stream=row.stream_id, tenant=row.tenant)
            if stored.usage != given.usage:
                log.error("usage.differs", stream=row.stream_id, tenant=row.tenant)
        self._debts.pop(key, None)
        return True

    def _delivered(self, task: "asyncio.Task[None]") -> None:
        self._task = None
        if task.cancelled():
            return
        if task.exception() is not None:
            log.error("usage.backlog_failed", exc_info=task.exception())
        if self._debts:  # added while it ended
            self._begin()


def numbers(debt: Debt) -> dict[str, object]:
    """Say for the log what is owed."""
    return {
        "stream": debt.row.stream_id,
        "tenant": debt.row.tenant,
        **msgspec.structs.asdict(debt.settlement),
    }


def _lost(debt: Debt) -> None:
    """Leave the numbers in the log: the row stays open."""
    log.error("usage.not_settled", **numbers(debt))
