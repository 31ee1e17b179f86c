"""Usage rows that were left open: settled late, from what is known of their streams.

It takes a process that died while the ledger was away, or a log that was lost with its process.
Rows of streams that may still run are not touched.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from tellstream.core.usage import FinishReason, Usage
from tellstream.eventlog.base import EventLog, LogUnavailableError, StreamKey
from tellstream.storage.base import LedgerUnavailableError, Settlement, UsageLedger, UsageRow
from tellstream.streams.record import StreamRecord

log = structlog.get_logger("tellstream.stream")

LOOK_SECONDS: Final = 60.0
"""Between two looks."""
MARGIN_SECONDS: Final = 60.0
"""On top of the time that a stream may take: for its end to be appended and settled."""
ROWS_AT_ONCE: Final = 100
"""Settled in one look; a thousand rows take ten minutes, and nobody waits for them."""


class Arrears:
    """Settles what was left open.

    Args:
        event_log: knows how streams ended.
        ledger: where the rows are.
        longest: seconds that a stream may take.
        clock: Unix seconds.
    """

    def __init__(
        self,
        event_log: EventLog,
        ledger: UsageLedger,
        longest: float,
        clock: Callable[[], float],
    ) -> None:
        self._log = event_log
        self._ledger = ledger
        self._longest = longest
        self._clock = clock

    async def run(self) -> None:
        """Look and settle until cancelled."""
        while True:
            try:
                await self.look()
            except (LogUnavailableError, LedgerUnavailableError) as error:
                log.warning("usage.arrears_unknown", reason=error.reason)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Settle the oldest open rows.

        Raises:
            LogUnavailableError: the log does not answer.
            LedgerUnavailableError: the ledger does not answer.
        """
        now = self._clock()
        older_than = int(now - self._longest - MARGIN_SECONDS)
        for row in await self._ledger.unsettled(older_than, ROWS_AT_ONCE):
            settlement = await self._settlement(row, int(now))
            if settlement is not None:
                await self._ledger.settle(row.tenant, row.stream_id, settlement, row=row)
                log.warning("usage.settled_late", stream=row.stream_id, tenant=row.tenant)

    async def _settlement(self, row: UsageRow, now: int) -> Settlement | None:
        """What a stream used, as its record says; None while it runs."""
        entry = await self._log.find(StreamKey(row.tenant, row.stream_id))
        if entry is None:  # lost with a log in memory: nothing is known, and nothing is invented
            return Settlement("", "", now, FinishReason.ERROR, Usage(), estimated=True)
        record = StreamRecord.decode(entry.record)
        state = record.state
        if state.usage is None or state.finish_reason is None:
            return None
        return Settlement(
            provider=state.provider,
            provider_model=state.model,
            finished_at=state.finished_at or now,
            finish_reason=state.finish_reason,
            usage=state.usage,
            estimated=state.estimated,
            cost=None if record.price is None else record.price.cost(state.usage),
        )
