"""The event log in memory: what becomes of finished streams."""

from typing import Any

import pytest

from support.event_logs import KEY, RETENTION, Clock, created, everything, frames, rest
from tellstream.core.errors import RequestError
from tellstream.eventlog import memory
from tellstream.eventlog.base import (
    READ_BYTES,
    FencedError,
    Idempotency,
    LogEntry,
    LogWriter,
    StreamKey,
    Taken,
)
from tellstream.eventlog.memory import MemoryEventLog


@pytest.fixture
def kept(clock: Clock) -> MemoryEventLog:
    """A log that sweeps only when it is told to."""
    return MemoryEventLog(RETENTION, clock)


def key(name: str) -> StreamKey:
    return StreamKey(1, name)


async def finish(log: MemoryEventLog, name: str, data: list[bytes] | None = None) -> LogWriter:
    writer = await created(log, key(name))
    await writer.append(1, frames(1, 50) if data is None else data, end=True)
    return writer


async def found(log: MemoryEventLog, *names: str) -> list[str]:
    """Those of ``names`` that can still be read."""
    there = []
    for name in names:
        try:
            (await log.reader(key(name))).close()
        except RequestError:
            continue
        there.append(name)
    return there


async def test_a_finished_stream_is_kept_for_the_retention_and_not_longer(
    kept: MemoryEventLog, clock: Clock
) -> None:
    await finish(kept, "s")
    clock.now += RETENTION
    kept.sweep()
    assert await found(kept, "s") == ["s"]
    clock.now += 0.001
    kept.sweep()
    assert await found(kept, "s") == []


async def test_the_record_of_a_dropped_stream_is_kept_and_its_name_is_free(
    kept: MemoryEventLog, clock: Clock
) -> None:
    writer = await kept.create(KEY, b"record", Idempotency("name", "body"))
    assert not isinstance(writer, Taken)
    await writer.append(1, frames(1, 3), record=b"last", end=True)
    clock.now += RETENTION + 1
    kept.sweep()
    assert await kept.find(KEY) == LogEntry(b"last", 3, ended=True)
    assert await kept.taken(1, "name") is None


async def test_the_oldest_tombstones_go_first(
    kept: MemoryEventLog, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MAX_TOMBSTONES", 2)
    for name in "abc":
        await finish(kept, name)
    clock.now += RETENTION + 1
    kept.sweep()
    assert [name for name in "abc" if await kept.find(key(name)) is not None] == ["b", "c"]


async def test_a_running_stream_is_kept_however_old(kept: MemoryEventLog, clock: Clock) -> None:
    await (await created(kept)).append(1, frames(1, 3))
    clock.now += RETENTION * 100
    kept.sweep()
    assert await everything(kept) == frames(1, 3)


async def test_the_retention_counts_from_the_end(kept: MemoryEventLog, clock: Clock) -> None:
    writer = await created(kept)
    clock.now += RETENTION * 2
    await writer.append(1, frames(1, 1), end=True)
    clock.now += RETENTION / 2
    kept.sweep()
    assert await found(kept, "s") == ["s"]


@pytest.mark.parametrize("after", [0, 1, 49, 50])
async def test_a_packed_stream_reads_the_same(kept: MemoryEventLog, after: int) -> None:
    await finish(kept, "s")
    kept.sweep()
    assert kept._packed_bytes > 0
    reader = await kept.reader(KEY, after)
    assert await reader.read() == frames(1, 50)[after:]
    assert reader.ended


async def test_a_packed_stream_still_knows_its_head(kept: MemoryEventLog) -> None:
    await finish(kept, "s")
    kept.sweep()
    with pytest.raises(RequestError) as caught:
        await kept.reader(KEY, 51)
    assert caught.value.code == "conflict"


async def test_packing_makes_a_stream_of_events_much_smaller(kept: MemoryEventLog) -> None:
    data = [b'id: %d\nevent: text_delta\ndata: {"delta":"x%d"}\n\n' % (n, n) for n in range(1, 500)]
    await finish(kept, "s", data)
    kept.sweep()
    assert kept._packed_bytes < sum(map(len, data)) / 4


async def test_a_stream_is_not_packed_while_somebody_follows_it(kept: MemoryEventLog) -> None:
    await finish(kept, "s")
    reader = await kept.reader(KEY)
    reader.subscribe(lambda: None)
    kept.sweep()
    assert kept._packed_bytes == 0
    reader.close()
    kept.sweep()
    assert kept._packed_bytes > 0


async def test_who_reads_while_a_stream_is_packed_or_dropped_reads_on(
    kept: MemoryEventLog, clock: Clock
) -> None:
    data = frames(1, 10, READ_BYTES // 2)
    await finish(kept, "s", data)
    reader = await kept.reader(KEY)
    read = await reader.read()
    kept.sweep()
    read += await reader.read()
    clock.now += RETENTION * 2
    kept.sweep()
    assert await found(kept, "s") == []
    assert read + await rest(reader) == data


async def test_beyond_the_space_for_finished_streams_the_oldest_go_first(
    kept: MemoryEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await finish(kept, "a")
    kept.sweep()
    monkeypatch.setattr(memory, "MAX_RETAINED_BYTES", kept._packed_bytes * 2 + 1)
    await finish(kept, "b")
    kept.sweep()
    assert await found(kept, "a", "b") == ["a", "b"]
    await finish(kept, "c")
    kept.sweep()
    assert await found(kept, "a", "b", "c") == ["b", "c"]


async def test_the_space_of_dropped_streams_is_free_again(
    kept: MemoryEventLog, clock: Clock
) -> None:
    for number in range(5):
        await finish(kept, f"s{number}")
    kept.sweep()
    clock.now += RETENTION * 2
    kept.sweep()
    assert (kept._packed_bytes, list(kept._unpacked)) == (0, [])


async def test_a_stream_dropped_while_it_was_followed_takes_no_space_afterwards(
    kept: MemoryEventLog, clock: Clock
) -> None:
    await finish(kept, "s")
    reader: Any = await kept.reader(KEY)
    reader.subscribe(lambda: None)
    clock.now += RETENTION * 2
    kept.sweep()
    reader.close()
    kept.sweep()
    assert (kept._packed_bytes, list(kept._unpacked)) == (0, [])


async def test_who_follows_an_old_stream_keeps_no_other_from_being_dropped(
    kept: MemoryEventLog, clock: Clock
) -> None:
    await finish(kept, "followed")
    reader = await kept.reader(key("followed"))
    reader.subscribe(lambda: None)
    await finish(kept, "other")
    kept.sweep()
    clock.now += RETENTION * 2
    kept.sweep()
    assert await found(kept, "followed", "other") == []
    assert kept._packed_bytes == 0
    reader.close()


async def test_a_sweep_packs_a_portion_and_the_next_ones_the_rest(kept: MemoryEventLog) -> None:
    names = [f"s{number}" for number in range(memory.PACK_AT_ONCE * 2 + 1)]
    for name in names:
        await finish(kept, name, frames(1, 2))
    left = []
    for _ in range(4):
        kept.sweep()
        left.append(len(kept._unpacked))
    assert left == [memory.PACK_AT_ONCE + 1, 1, 0, 0]
    assert await found(kept, *names) == names


async def test_a_dropped_stream_may_not_be_appended_to(kept: MemoryEventLog, clock: Clock) -> None:
    writer = await finish(kept, "s")
    clock.now += RETENTION * 2
    kept.sweep()
    with pytest.raises(FencedError):
        await writer.append(51, frames(51, 1))
