"""Rows that were left open are settled late, once nothing can be running any more."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.ledgers import NOON, row
from tellstream.core.prices import Price
from tellstream.core.usage import FinishReason, Usage
from tellstream.eventlog.base import StreamKey, Taken
from tellstream.eventlog.memory import MemoryEventLog
from tellstream.storage.base import Settlement
from tellstream.storage.sqlite import SqliteLedger
from tellstream.streams.arrears import MARGIN_SECONDS, Arrears
from tellstream.streams.record import StreamRecord, StreamState

LONGEST = 600.0
PRICE = Price.of(1, 2)
LATE = NOON + LONGEST + MARGIN_SECONDS + 1


def record(finished: bool) -> bytes:
    state = StreamState(
        id="str_1",
        state="finished" if finished else "running",
        model="grok",
        provider="xai",
        created_at=NOON - 5,
        finished_at=NOON if finished else None,
        finish_reason=FinishReason.STOP if finished else None,
        usage=Usage(3, 4) if finished else None,
        estimated=True,
        attempts=(),
    )
    return StreamRecord(1, "ann", "web", "small", state, None, 3, PRICE).encode()


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    ledger = SqliteLedger(tmp_path / "usage.db")
    await ledger.start()
    yield ledger
    await ledger.close()


async def log_with(finished: bool | None) -> MemoryEventLog:
    log = MemoryEventLog(3600, lambda: 0.0)
    if finished is not None:
        writer = await log.create(StreamKey(1, "str_1"), record(finished))
        assert not isinstance(writer, Taken)
        if finished:
            await writer.append(1, [b"x\n\n"], end=True)
    return log


async def open_rows(ledger: SqliteLedger) -> list[str]:
    return [row.stream_id for row in await ledger.unsettled(int(LATE), 10)]


async def test_a_row_of_an_ended_stream_gets_what_its_record_says(ledger: SqliteLedger) -> None:
    await ledger.open(row())
    await Arrears(await log_with(True), ledger, LONGEST, lambda: LATE).look()
    assert await open_rows(ledger) == []
    stored = await ledger.settle(
        1, "str_1", Settlement("", "", 0, FinishReason.ERROR, Usage(), True)
    )
    cost = PRICE.cost(Usage(3, 4))
    assert stored == Settlement("xai", "grok", NOON, FinishReason.STOP, Usage(3, 4), True, cost)


async def test_a_row_whose_log_is_lost_is_settled_with_nothing(ledger: SqliteLedger) -> None:
    await ledger.open(row())
    await Arrears(await log_with(None), ledger, LONGEST, lambda: LATE).look()
    assert await open_rows(ledger) == []


async def test_a_row_of_a_running_stream_is_left_alone(ledger: SqliteLedger) -> None:
    await ledger.open(row())
    await Arrears(await log_with(False), ledger, LONGEST, lambda: LATE).look()
    assert await open_rows(ledger) == ["str_1"]


async def test_a_row_whose_stream_may_still_run_elsewhere_is_left_alone(
    ledger: SqliteLedger,
) -> None:
    await ledger.open(row())
    await Arrears(await log_with(None), ledger, LONGEST, lambda: LATE - 10).look()
    assert await open_rows(ledger) == ["str_1"]
