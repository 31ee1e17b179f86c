"""What every event log promises, for each implementation; then what only memory has."""

from collections.abc import Callable
from typing import Any

import pytest

from tellstream.core.errors import RequestError, ServerError
from tellstream.eventlog import memory
from tellstream.eventlog.base import READ_BYTES, EventLog
from tellstream.eventlog.memory import MemoryEventLog

RETENTION = 100.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def frames(first: int, count: int, size: int = 10) -> list[bytes]:
    """Frames of ``size`` bytes that tell their number."""
    return [
        b"%d" % number + b"." * (size - 2 - len(b"%d" % number)) + b"\n\n"
        for number in range(first, first + count)
    ]


# --- every implementation -------------------------------------------------------------------------

# One line for each: how to open an empty log.
IMPLEMENTATIONS: dict[str, Callable[[Clock], EventLog]] = {
    "memory": lambda clock: MemoryEventLog(RETENTION, clock),
}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=IMPLEMENTATIONS)
async def log(request: pytest.FixtureRequest, clock: Clock) -> EventLog:
    """A log that holds the running stream ``s`` with three frames."""
    made = IMPLEMENTATIONS[request.param](clock)
    await made.create("s")
    await made.append("s", 1, frames(1, 3), end=False)
    return made


async def everything(log: EventLog, stream: str = "s", after: int = 0) -> list[bytes]:
    """Read all that is there now."""
    reader = await log.reader(stream, after)
    found: list[bytes] = []
    while read := await reader.read():
        found += read
    return found


async def test_frames_are_read_as_they_were_written(log: EventLog) -> None:
    await log.append("s", 4, frames(4, 2), end=False)
    assert await everything(log) == frames(1, 5)


async def test_what_was_appended_together_is_read_together(log: EventLog) -> None:
    reader = await log.reader("s", 3)
    await log.append("s", 4, frames(4, 3), end=False)
    assert await reader.read() == frames(4, 3)


@pytest.mark.parametrize("first", [0, 1, 3, 5, -1])
@pytest.mark.parametrize("end", [False, True])
async def test_an_append_that_is_not_the_next_is_refused_and_changes_nothing(
    log: EventLog, first: int, end: bool
) -> None:
    with pytest.raises(ServerError):
        await log.append("s", first, frames(9, 1), end=end)
    assert await everything(log) == frames(1, 3)
    await log.append("s", 4, frames(4, 1), end=False)


@pytest.mark.parametrize("end", [False, True])
async def test_nothing_is_appended_after_the_end(log: EventLog, end: bool) -> None:
    await log.append("s", 4, frames(4, 1), end=True)
    with pytest.raises(ServerError):
        await log.append("s", 5, frames(5, 1), end=end)
    assert await everything(log) == frames(1, 4)


async def test_nothing_is_appended_to_an_unknown_stream(log: EventLog) -> None:
    with pytest.raises(ServerError):
        await log.append("other", 1, frames(1, 1), end=False)


async def test_an_id_is_used_once(log: EventLog) -> None:
    with pytest.raises(ServerError):
        await log.create("s")
    await log.append("s", 4, frames(4, 1), end=True)
    with pytest.raises(ServerError):
        await log.create("s")
    assert await everything(log) == frames(1, 4)


async def test_streams_are_apart(log: EventLog) -> None:
    await log.create("other")
    await log.append("other", 1, frames(7, 1), end=True)
    assert await everything(log, "other") == frames(7, 1)
    assert await everything(log) == frames(1, 3)


@pytest.mark.parametrize("after", [0, 1, 2, 3])
async def test_a_reader_begins_after_any_number_up_to_the_head(log: EventLog, after: int) -> None:
    assert await everything(log, after=after) == frames(1, 3)[after:]


@pytest.mark.parametrize("after", [0, 1, 2, 3])
async def test_a_finished_stream_is_read_from_anywhere_too(log: EventLog, after: int) -> None:
    await log.append("s", 4, frames(4, 1), end=True)
    assert await everything(log, after=after) == frames(1, 4)[after:]


@pytest.mark.parametrize("end", [False, True])
async def test_a_position_beyond_the_head_is_a_conflict(log: EventLog, end: bool) -> None:
    await log.append("s", 4, frames(4, 1), end=end)
    with pytest.raises(RequestError) as caught:
        await log.reader("s", 5)
    assert caught.value.code == "conflict"


async def test_an_unknown_stream_is_not_found(log: EventLog) -> None:
    with pytest.raises(RequestError) as caught:
        await log.reader("other")
    assert caught.value.code == "not_found"


async def test_a_stream_without_frames_can_be_read(log: EventLog) -> None:
    await log.create("empty")
    reader = await log.reader("empty")
    assert (await reader.read(), reader.ended) == ([], False)


async def test_readers_are_independent(log: EventLog) -> None:
    one, other = await log.reader("s"), await log.reader("s", 2)
    assert await one.read() == frames(1, 3)
    assert await other.read() == frames(3, 1)
    await log.append("s", 4, frames(4, 1), end=False)
    assert await one.read() == frames(4, 1)
    assert await one.read() == []
    assert await other.read() == frames(4, 1)


async def test_a_reader_has_ended_when_the_stream_has_and_all_was_read(log: EventLog) -> None:
    reader = await log.reader("s")
    said = [reader.ended]
    await reader.read()
    said.append(reader.ended)
    await log.append("s", 4, frames(4, 1), end=True)
    said.append(reader.ended)
    await reader.read()
    said.append(reader.ended)
    assert said == [False, False, False, True]


async def test_a_reader_at_the_end_of_a_finished_stream_has_ended_at_once(log: EventLog) -> None:
    await log.append("s", 4, frames(4, 1), end=True)
    assert (await log.reader("s", 4)).ended


async def test_an_end_without_frames_ends(log: EventLog) -> None:
    await log.append("s", 4, [], end=True)
    assert (await log.reader("s", 3)).ended


async def test_a_read_gives_at_most_its_cap_and_the_next_one_goes_on(log: EventLog) -> None:
    await log.create("big")
    written = frames(1, 100, READ_BYTES // 8)
    await log.append("big", 1, written, end=True)
    reader = await log.reader("big")
    sizes, found = [], []
    while read := await reader.read():
        sizes.append(sum(map(len, read)))
        found += read
    assert found == written
    assert max(sizes) <= READ_BYTES
    assert len(sizes) <= 13
    assert reader.ended


async def test_a_read_gives_at_least_one_frame_however_large(log: EventLog) -> None:
    await log.create("big")
    written = frames(1, 3, READ_BYTES * 2)
    await log.append("big", 1, written, end=True)
    reader = await log.reader("big")
    assert [await reader.read() for _ in range(4)] == [[frame] for frame in written] + [[]]


async def test_each_append_wakes_every_subscriber_of_the_stream(log: EventLog) -> None:
    woken: list[str] = []
    for name in ("a", "b"):
        (await log.reader("s")).subscribe(lambda name=name: woken.append(name))  # type: ignore[misc]
    await log.append("s", 4, frames(4, 1), end=False)
    await log.append("s", 5, frames(5, 1), end=True)
    assert sorted(woken) == ["a", "a", "b", "b"]


async def test_a_subscriber_is_not_woken_by_other_streams_or_refused_appends(
    log: EventLog,
) -> None:
    woken: list[int] = []
    (await log.reader("s")).subscribe(lambda: woken.append(1))
    await log.create("other")
    await log.append("other", 1, frames(1, 1), end=False)
    with pytest.raises(ServerError):
        await log.append("s", 9, frames(9, 1), end=False)
    assert woken == []


async def test_who_is_woken_can_read_at_once(log: EventLog) -> None:
    reader = await log.reader("s", 3)
    ended: list[bool] = []
    reader.subscribe(lambda: ended.append(reader.ended))
    await log.append("s", 4, [], end=True)
    assert ended == [True]


async def test_a_closed_reader_is_not_woken_and_may_be_closed_again(log: EventLog) -> None:
    woken: list[int] = []
    reader = await log.reader("s")
    reader.subscribe(lambda: woken.append(1))
    reader.close()
    reader.close()
    (await log.reader("s")).close()
    await log.append("s", 4, frames(4, 1), end=False)
    assert woken == []


async def test_who_leaves_when_woken_takes_nobody_else_along(log: EventLog) -> None:
    leaving, staying = await log.reader("s"), await log.reader("s")
    woken: list[int] = []
    leaving.subscribe(leaving.close)
    staying.subscribe(lambda: woken.append(1))
    await log.append("s", 4, frames(4, 1), end=False)
    await log.append("s", 5, frames(5, 1), end=False)
    assert woken == [1, 1]


# --- memory: what becomes of finished streams -----------------------------------------------------


@pytest.fixture
def kept(clock: Clock) -> MemoryEventLog:
    return MemoryEventLog(RETENTION, clock)


async def finish(log: MemoryEventLog, stream: str, data: list[bytes] | None = None) -> None:
    await log.create(stream)
    await log.append(stream, 1, frames(1, 50) if data is None else data, end=True)


async def found(log: MemoryEventLog, *streams: str) -> list[str]:
    """Those of ``streams`` that can still be read."""
    there = []
    for stream in streams:
        try:
            await log.reader(stream)
        except RequestError:
            continue
        there.append(stream)
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


async def test_a_running_stream_is_kept_however_old(kept: MemoryEventLog, clock: Clock) -> None:
    await kept.create("s")
    await kept.append("s", 1, frames(1, 3), end=False)
    clock.now += RETENTION * 100
    kept.sweep()
    assert await everything(kept) == frames(1, 3)
    assert kept.live == 1


async def test_the_retention_counts_from_the_end(kept: MemoryEventLog, clock: Clock) -> None:
    await kept.create("s")
    clock.now += RETENTION * 2
    await kept.append("s", 1, frames(1, 1), end=True)
    clock.now += RETENTION / 2
    kept.sweep()
    assert await found(kept, "s") == ["s"]
    assert kept.live == 0


@pytest.mark.parametrize("after", [0, 1, 49, 50])
async def test_a_packed_stream_reads_the_same(kept: MemoryEventLog, after: int) -> None:
    await finish(kept, "s")
    kept.sweep()
    assert kept._packed_bytes > 0
    reader = await kept.reader("s", after)
    assert await reader.read() == frames(1, 50)[after:]
    assert reader.ended


async def test_a_packed_stream_still_knows_its_head(kept: MemoryEventLog) -> None:
    await finish(kept, "s")
    kept.sweep()
    with pytest.raises(RequestError) as caught:
        await kept.reader("s", 51)
    assert caught.value.code == "conflict"


@pytest.mark.parametrize("data", [[], frames(1, 1)])
async def test_the_shortest_streams_can_be_packed_too(
    kept: MemoryEventLog, data: list[bytes]
) -> None:
    await finish(kept, "s", data)
    kept.sweep()
    assert await everything(kept) == data


async def test_packing_makes_a_stream_of_events_much_smaller(kept: MemoryEventLog) -> None:
    data = [b'id: %d\nevent: text_delta\ndata: {"delta":"x%d"}\n\n' % (n, n) for n in range(1, 500)]
    await finish(kept, "s", data)
    kept.sweep()
    assert kept._packed_bytes < sum(map(len, data)) / 4


async def test_a_stream_is_not_packed_while_somebody_follows_it(kept: MemoryEventLog) -> None:
    await finish(kept, "s")
    reader = await kept.reader("s")
    reader.subscribe(lambda: None)
    kept.sweep()
    assert kept._packed_bytes == 0
    reader.close()
    kept.sweep()
    assert kept._packed_bytes > 0


async def test_who_reads_while_a_stream_is_packed_or_dropped_reads_on(
    kept: MemoryEventLog, clock: Clock
) -> None:
    await finish(kept, "s", frames(1, 10, READ_BYTES // 2))
    reader = await kept.reader("s")
    read = await reader.read()
    kept.sweep()
    read += await reader.read()
    clock.now += RETENTION * 2
    kept.sweep()
    assert await found(kept, "s") == []
    while more := await reader.read():
        read += more
    assert read == frames(1, 10, READ_BYTES // 2)
    assert reader.ended


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
    reader: Any = await kept.reader("s")
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
    (await kept.reader("followed")).subscribe(lambda: None)
    await finish(kept, "other")
    kept.sweep()
    clock.now += RETENTION * 2
    kept.sweep()
    assert await found(kept, "followed", "other") == []
    assert kept._packed_bytes == 0


async def test_a_sweep_packs_a_portion_and_the_next_ones_the_rest(kept: MemoryEventLog) -> None:
    count = memory.PACK_AT_ONCE * 2 + 1
    for number in range(count):
        await finish(kept, f"s{number}", frames(1, 2))
    left = []
    for _ in range(4):
        kept.sweep()
        left.append(len(kept._unpacked))
    assert left == [memory.PACK_AT_ONCE + 1, 1, 0, 0]
    assert len(await found(kept, *(f"s{number}" for number in range(count)))) == count


async def test_a_dropped_id_may_not_be_appended_to(kept: MemoryEventLog, clock: Clock) -> None:
    await finish(kept, "s")
    clock.now += RETENTION * 2
    kept.sweep()
    with pytest.raises(ServerError):
        await kept.append("s", 51, frames(51, 1), end=False)
