"""The account of streams: a usage row each, opened before and settled after the provider's work.

The row is settled before the end of the stream is appended, and the end says what the row says: so
the sum of the rows is the sum of what callers were told, also when two workers settle one stream.
While the ledger is away, a stream ends with the numbers that its row is going to have: the
settlement is delivered later, but only once the end is in the log. If another worker ended the
stream meanwhile, its numbers count.
"""

import asyncio
from typing import Any, Final, TypeVar

import msgspec
import structlog

from tellstream.core.composer import Composer, Ending
from tellstream.core.usage import Usage
from tellstream.limits.base import Admission
from tellstream.storage.base import LedgerUnavailableError, Settlement, UsageLedger, UsageRow
from tellstream.streams.backlog import Backlog, Debt, numbers
from tellstream.streams.metering import used
from tellstream.streams.record import StreamRecord, StreamState
from tellstream.streams.stream import Stream

log = structlog.get_logger("tellstream.stream")

OPEN_SECONDS: Final = 2.0
"""For which a new stream waits for a ledger that does not answer; then it is refused, before its
response head has to go out."""
SETTLE_SECONDS: Final = 5.0
"""For which a stream's end waits for a ledger that does not answer; then it is settled later."""
SETTLE_RETRY_SECONDS: Final = 0.25
"""Between two tries."""

_Result = TypeVar("_Result")


class Meter:
    """Accounts for streams.

    Args:
        ledger: where the rows are.
        admission: what is left of quota and budget is counted here.
    """

    def __init__(self, ledger: UsageLedger, admission: Admission) -> None:
        self._ledger = ledger
        self._admission = admission
        self._writing: set[asyncio.Future[Any]] = set()  # for which nobody waits any more
        self.backlog = Backlog(ledger)

    async def close(self) -> None:
        """Deliver what was to be settled later, for a moment; before the ledger is closed."""
        await self.backlog.close()
        if self._writing:
            await asyncio.wait(self._writing, timeout=SETTLE_SECONDS)

    async def open(self, stream: Stream) -> None:
        """Open the row of a stream, before its provider is called.

        Raises:
            LedgerUnavailableError: no row, no call.
        """
        try:
            await self._within(self._ledger.open(_row(stream)), OPEN_SECONDS)
        except LedgerUnavailableError:
            stream.refused = True
            raise

    async def settle(self, stream: Stream, ending: Ending) -> None:
        """Work out what a stream used, and settle its row; sets ``usage`` and ``estimated``.

        ``ended`` is to be called when the end is in the log.
        """
        if stream.refused:  # nothing was used; a row that was written after all is found later
            stream.usage = Usage()
            return
        composer = stream.composer
        usage, estimated = used(
            composer, stream.prompt_tokens if stream.prompt_read else None, ending
        )
        settlement = Settlement(
            provider=composer.provider,
            provider_model=composer.model,
            finished_at=int(stream.finished_at or 0),
            finish_reason=ending.reason,
            usage=usage,
            estimated=estimated,
            cost=None if stream.price is None else stream.price.cost(usage),
            first_token_ms=stream.first_token_ms,
        )
        settled, stream.debt = await self._settle(_row(stream), settlement)
        stream.usage, stream.estimated = settled.usage, settled.estimated
        await stream.grant.settle(_tokens(settled), settled.cost)

    def ended(self, debt: Debt | None) -> None:
        """Note that the end of a stream is in the log: what it says is what is owed."""
        if debt is not None:
            self.backlog.add(debt)

    async def settle_lost(
        self, record: StreamRecord, composer: Composer, ending: Ending, now: float
    ) -> tuple[StreamState, Debt | None]:
        """Settle a stream whose producer is gone; what the provider counted is not known any more.

        Args:
            record: of the stream.
            composer: recovered from its log.
            ending: how it is going to end.
            now: Unix seconds.

        Returns:
            The state to store with the end, and what ``ended`` is to be told then.
        """
        usage, estimated = used(composer, record.prompt_tokens, ending)
        settlement = Settlement(
            provider=composer.provider,
            provider_model=composer.model,
            finished_at=int(now),
            finish_reason=ending.reason,
            usage=usage,
            estimated=estimated,
            cost=None if record.price is None else record.price.cost(usage),
        )
        row = UsageRow(
            stream_id=record.state.id,
            tenant=record.tenant,
            subject=record.subject,
            client=record.client,
            model=record.model,
            started_at=record.state.created_at,
        )
        settled, debt = await self._settle(row, settlement)
        await self._admission.settle(
            row.tenant, row.subject, row.stream_id, _tokens(settled), settled.cost
        )
        state = msgspec.structs.replace(
            record.state,
            state="finished",
            finished_at=int(now),
            finish_reason=ending.reason,
            usage=settled.usage,
            estimated=settled.estimated,
        )
        return state, debt

    async def _settle(
        self, row: UsageRow, settlement: Settlement
    ) -> tuple[Settlement, Debt | None]:
        """Settle a row; the first settlement counts, whoever made it.

        Returns:
            What is stored, or is going to be, and then what is to be settled later.
        """
        time = asyncio.get_running_loop().time
        give_up_at = time() + SETTLE_SECONDS
        while True:
            try:
                settling = self._ledger.settle(row.tenant, row.stream_id, settlement, row=row)
                return await self._within(settling, give_up_at - time()), None
            except LedgerUnavailableError as error:
                if time() + SETTLE_RETRY_SECONDS > give_up_at:
                    debt = Debt(row, settlement)
                    log.warning("usage.settled_later", reason=error.reason, **numbers(debt))
                    return settlement, debt
                await asyncio.sleep(SETTLE_RETRY_SECONDS)

    async def _within(self, writing: "asyncio.Future[_Result]", seconds: float) -> _Result:
        """Wait for a write for a while; it goes on when nobody waits any more.

        Raises:
            LedgerUnavailableError: the ledger did not answer in time, or is away.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()

        def wake(_: object = None) -> None:
            if not waiter.done():
                waiter.set_result(None)

        writing.add_done_callback(wake)
        timer = loop.call_later(seconds, wake)
        try:
            await waiter
        finally:
            timer.cancel()
            if writing.done():
                self._written(writing)
            else:
                writing.remove_done_callback(wake)
                self._writing.add(writing)
                writing.add_done_callback(self._written)
        if not writing.done():
            raise LedgerUnavailableError(f"no answer within {seconds:.1f} s")
        return writing.result()

    def _written(self, writing: "asyncio.Future[Any]") -> None:
        self._writing.discard(writing)
        writing.exception()  # seen, should nobody wait any more


def _tokens(settled: Settlement) -> int:
    return settled.usage.prompt_tokens + settled.usage.completion_tokens


def _row(stream: Stream) -> UsageRow:
    return UsageRow(
        stream_id=stream.id,
        tenant=stream.key.tenant,
        subject=stream.ctx.subject,
        client=stream.ctx.client,
        model=stream.model,
        started_at=int(stream.created_at),
    )
