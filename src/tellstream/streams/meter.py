"""The account of streams: a usage row each, opened before and settled after the provider's work.

The row is settled before the end of the stream is appended, and the end says what the row says: so
the sum of the rows is the sum of what callers were told, also when two workers settle one stream.
"""

import asyncio
from typing import Final

import msgspec
import structlog

from tellstream.core.composer import Composer, Ending
from tellstream.core.usage import Usage
from tellstream.limits.base import Limits
from tellstream.storage.base import LedgerUnavailableError, Settlement, UsageLedger, UsageRow
from tellstream.streams.metering import estimate, tokens
from tellstream.streams.record import StreamRecord, StreamState
from tellstream.streams.stream import Stream

log = structlog.get_logger("tellstream.stream")

SETTLE_SECONDS: Final = 5.0
"""For which a stream's end waits for a ledger that does not answer; the numbers are logged then."""
SETTLE_RETRY_SECONDS: Final = 0.25
"""Between two tries."""


class Meter:
    """Accounts for streams.

    Args:
        ledger: where the rows are.
        limits: tokens per day are counted here.
    """

    def __init__(self, ledger: UsageLedger, limits: Limits) -> None:
        self._ledger = ledger
        self._limits = limits

    async def open(self, stream: Stream) -> None:
        """Open the row of a stream, before its provider is called.

        Raises:
            LedgerUnavailableError: no row, no call.
        """
        await self._ledger.open(_row(stream))

    async def settle(self, stream: Stream, ending: Ending) -> None:
        """Work out what a stream used, and settle its row; sets ``usage`` and ``estimated``."""
        composer = stream.composer
        reported = composer.usage
        usage = reported or estimate(stream.chat, composer.output_characters)
        settlement = Settlement(
            provider=composer.provider,
            provider_model=composer.model,
            finished_at=int(stream.finished_at or 0),
            finish_reason=ending.reason,
            usage=usage,
            estimated=reported is None,
        )
        settled = await self._settle(_row(stream), settlement)
        stream.usage, stream.estimated = settled.usage, settled.estimated
        self._limits.settle_tokens(
            stream.key.tenant, settled.usage.prompt_tokens + settled.usage.completion_tokens
        )

    async def settle_lost(
        self, record: StreamRecord, composer: Composer, ending: Ending, now: float
    ) -> StreamState:
        """Settle a stream whose producer is gone; what the provider counted is not known any more.

        Args:
            record: of the stream.
            composer: recovered from its log.
            ending: how it is going to end.
            now: Unix seconds.

        Returns:
            The state to store with the end.
        """
        settlement = Settlement(
            provider=composer.provider,
            provider_model=composer.model,
            finished_at=int(now),
            finish_reason=ending.reason,
            usage=Usage(record.prompt_tokens, tokens(composer.output_characters)),
            estimated=True,
        )
        row = UsageRow(
            stream_id=record.state.id,
            tenant=record.tenant,
            subject=record.subject,
            client=record.client,
            model=record.model,
            started_at=record.state.created_at,
        )
        settled = await self._settle(row, settlement)
        return msgspec.structs.replace(
            record.state,
            state="finished",
            finished_at=int(now),
            finish_reason=ending.reason,
            usage=settled.usage,
            estimated=settled.estimated,
        )

    async def _settle(self, row: UsageRow, settlement: Settlement) -> Settlement:
        """Settle a row; the first settlement counts, whoever made it."""
        time = asyncio.get_running_loop().time
        give_up_at = time() + SETTLE_SECONDS
        while True:
            try:
                return await self._ledger.settle(row.tenant, row.stream_id, settlement, row=row)
            except LedgerUnavailableError as error:
                if time() > give_up_at:
                    # Not lost: the row stays open, and these are its numbers.
                    log.exception(
                        "usage.not_settled",
                        stream=row.stream_id,
                        tenant=row.tenant,
                        reason=error.reason,
                        **msgspec.structs.asdict(settlement),
                    )
                    return settlement
                await asyncio.sleep(SETTLE_RETRY_SECONDS)


def _row(stream: Stream) -> UsageRow:
    return UsageRow(
        stream_id=stream.id,
        tenant=stream.key.tenant,
        subject=stream.ctx.subject,
        client=stream.ctx.client,
        model=stream.model,
        started_at=int(stream.created_at),
    )
