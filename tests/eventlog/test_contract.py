"""What every event log promises, for each implementation (see ``conftest.py``)."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from support.event_logs import KEY, created, everything, frames, rest
from tellstream.core.errors import RequestError, ServerError
from tellstream.eventlog.base import (
    READ_BYTES,
    EventLog,
    FencedError,
    Idempotency,
    LogEntry,
    LogWriter,
    StreamKey,
    Taken,
)
from tellstream.eventlog.tail import WINDOW_BYTES

OTHER = StreamKey(1, "other")
NAME = Idempotency("name", "body")


# --- appending and reading ------------------------------------------------------------------------


async def test_frames_are_read_as_they_were_written(log: EventLog, writer: LogWriter) -> None:
    await writer.append(4, frames(4, 2))
    assert await everything(log) == frames(1, 5)


async def test_what_was_appended_together_is_read_together(
    log: EventLog, writer: LogWriter
) -> None:
    reader = await log.reader(KEY, 3)
    await writer.append(4, frames(4, 3))
    assert await reader.read() == frames(4, 3)
    reader.close()


async def test_a_writer_knows_its_stream_and_its_head(writer: LogWriter) -> None:
    assert (writer.key, writer.head) == (KEY, 3)
    await writer.append(4, frames(4, 2))
    assert writer.head == 5


@pytest.mark.parametrize("first", [0, 1, 3, 5, -1])
@pytest.mark.parametrize("end", [False, True])
async def test_an_append_that_is_not_the_next_is_refused_and_changes_nothing(
    log: EventLog, writer: LogWriter, first: int, end: bool
) -> None:
    with pytest.raises(ServerError) as caught:
        await writer.append(first, frames(9, 1), record=b"changed", end=end)
    assert not isinstance(caught.value, FencedError)
    assert await everything(log) == frames(1, 3)
    assert await log.find(KEY) == LogEntry(b"record", 3, ended=False)
    await writer.append(4, frames(4, 1))


@pytest.mark.parametrize("end", [False, True])
async def test_nothing_is_appended_after_the_end(
    log: EventLog, writer: LogWriter, end: bool
) -> None:
    await writer.append(4, frames(4, 1), end=True)
    with pytest.raises(FencedError):
        await writer.append(5, frames(5, 1), record=b"changed", end=end)
    assert await everything(log) == frames(1, 4)
    assert await log.find(KEY) == LogEntry(b"record", 4, ended=True)


@pytest.mark.parametrize("end", [False, True])
async def test_an_id_is_used_once(log: EventLog, writer: LogWriter, end: bool) -> None:
    await writer.append(4, frames(4, 1), end=end)
    with pytest.raises(ServerError):
        await log.create(KEY, b"another")
    assert await everything(log) == frames(1, 4)


async def test_streams_are_apart(log: EventLog, writer: LogWriter) -> None:
    await (await created(log, OTHER)).append(1, frames(7, 1), end=True)
    assert await everything(log, OTHER) == frames(7, 1)
    assert await everything(log) == frames(1, 3)


async def test_one_id_of_two_tenants_is_two_streams(log: EventLog, writer: LogWriter) -> None:
    foreign = StreamKey(KEY.tenant + 1, KEY.stream_id)
    assert await log.find(foreign) is None
    with pytest.raises(RequestError):
        await log.reader(foreign)
    assert await log.claim(foreign, force=True) is None
    await (await created(log, foreign)).append(1, frames(7, 1))
    assert await everything(log, foreign) == frames(7, 1)
    assert await everything(log) == frames(1, 3)


@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize("after", [0, 1, 2, 3, 4])
async def test_a_reader_begins_after_any_number_up_to_the_head(
    log: EventLog, writer: LogWriter, after: int, end: bool
) -> None:
    await writer.append(4, frames(4, 1), end=end)
    assert await everything(log, after=after) == frames(1, 4)[after:]


@pytest.mark.parametrize("end", [False, True])
async def test_a_position_beyond_the_head_is_a_conflict(
    log: EventLog, writer: LogWriter, end: bool
) -> None:
    await writer.append(4, frames(4, 1), end=end)
    with pytest.raises(RequestError) as caught:
        await log.reader(KEY, 5)
    assert caught.value.code == "conflict"


async def test_an_unknown_stream_is_not_found(log: EventLog) -> None:
    with pytest.raises(RequestError) as caught:
        await log.reader(OTHER)
    assert caught.value.code == "not_found"


async def test_a_stream_without_frames_can_be_read(log: EventLog) -> None:
    await created(log)
    reader = await log.reader(KEY)
    assert (await reader.read(), reader.ended) == ([], False)
    reader.close()


async def test_readers_are_independent(log: EventLog, writer: LogWriter) -> None:
    one, other = await log.reader(KEY), await log.reader(KEY, 2)
    assert await one.read() == frames(1, 3)
    assert await other.read() == frames(3, 1)
    await writer.append(4, frames(4, 1))
    assert await one.read() == frames(4, 1)
    assert await one.read() == []
    assert await other.read() == frames(4, 1)
    one.close()
    other.close()


async def test_a_reader_has_ended_when_the_stream_has_and_all_was_read(
    log: EventLog, writer: LogWriter
) -> None:
    reader = await log.reader(KEY)
    said = [reader.ended]
    await reader.read()
    said.append(reader.ended)
    await writer.append(4, frames(4, 1), end=True)
    said.append(reader.ended)
    await reader.read()
    said.append(reader.ended)
    assert said == [False, False, False, True]
    reader.close()


async def test_a_reader_at_the_end_of_a_finished_stream_has_ended_at_once(
    log: EventLog, writer: LogWriter
) -> None:
    await writer.append(4, frames(4, 1), end=True)
    reader = await log.reader(KEY, 4)
    assert (reader.ended, await reader.read()) == (True, [])
    reader.close()


@pytest.mark.parametrize("together", [1, 7, 100])
@pytest.mark.parametrize("end", [False, True])
async def test_a_read_gives_at_most_its_cap_and_the_next_one_goes_on(
    log: EventLog, together: int, end: bool
) -> None:
    written = frames(1, 100, READ_BYTES // 8)
    writer = await created(log)
    for first in range(0, 100, together):
        part = written[first : first + together]
        await writer.append(first + 1, part, end=end and first + together >= 100)
    reader = await log.reader(KEY)
    sizes, found = [], []
    while read := await reader.read():
        sizes.append(sum(map(len, read)))
        found += read
    assert found == written
    assert max(sizes) <= READ_BYTES
    assert reader.ended is end
    reader.close()


@pytest.mark.parametrize("end", [False, True])
async def test_a_read_gives_at_least_one_frame_however_large(log: EventLog, end: bool) -> None:
    written = frames(1, 3, READ_BYTES * 2)
    await (await created(log)).append(1, written, end=end)
    reader = await log.reader(KEY)
    assert [await reader.read() for _ in range(4)] == [[frame] for frame in written] + [[]]
    reader.close()


# --- waking ---------------------------------------------------------------------------------------


async def test_each_append_wakes_every_subscriber_of_the_stream(
    log: EventLog, writer: LogWriter
) -> None:
    woken: list[str] = []
    readers = [await log.reader(KEY) for _ in range(2)]
    for reader, name in zip(readers, "ab", strict=True):
        reader.subscribe(lambda name=name: woken.append(name))  # type: ignore[misc]
    await writer.append(4, frames(4, 1))
    await writer.append(5, frames(5, 1), end=True)
    await until(lambda: len(woken) >= 4)
    assert sorted(woken) == ["a", "a", "b", "b"]
    for reader in readers:
        reader.close()


async def test_a_subscriber_is_not_woken_by_other_streams_or_refused_appends(
    log: EventLog, writer: LogWriter
) -> None:
    woken: list[int] = []
    reader = await log.reader(KEY)
    reader.subscribe(lambda: woken.append(1))
    await (await created(log, OTHER)).append(1, frames(1, 1))
    with pytest.raises(ServerError):
        await writer.append(9, frames(9, 1))
    assert woken == []
    reader.close()


async def test_who_is_woken_can_read_at_once(log: EventLog, writer: LogWriter) -> None:
    reader = await log.reader(KEY, 3)
    woken = asyncio.Event()
    reader.subscribe(woken.set)
    append = asyncio.create_task(writer.append(4, frames(4, 1), end=True))
    await asyncio.wait_for(woken.wait(), 10)
    assert await reader.read() == frames(4, 1)
    assert reader.ended
    await append
    reader.close()


async def test_a_closed_reader_is_not_woken_and_may_be_closed_again(
    log: EventLog, writer: LogWriter
) -> None:
    woken: list[int] = []
    reader = await log.reader(KEY)
    reader.subscribe(lambda: woken.append(1))
    reader.close()
    reader.close()
    (await log.reader(KEY)).close()
    await writer.append(4, frames(4, 1))
    assert woken == []


async def test_who_leaves_when_woken_takes_nobody_else_along(
    log: EventLog, writer: LogWriter
) -> None:
    leaving, staying = await log.reader(KEY), await log.reader(KEY)
    woken: list[int] = []
    leaving.subscribe(leaving.close)
    staying.subscribe(lambda: woken.append(1))
    await writer.append(4, frames(4, 1))
    await writer.append(5, frames(5, 1))
    await until(lambda: len(woken) >= 2)
    assert woken == [1, 1]
    staying.close()


# --- records and names ----------------------------------------------------------------------------


async def test_the_record_is_the_newest_one_and_changes_with_its_frames(log: EventLog) -> None:
    assert await log.find(KEY) is None
    writer = await created(log)
    told = [await log.find(KEY)]
    for change in (None, b"second", None):
        await writer.append(writer.head + 1, frames(writer.head + 1, 2), record=change)
        told.append(await log.find(KEY))
    await writer.append(7, frames(7, 1), record=b"last", end=True)
    told.append(await log.find(KEY))
    assert told == [
        LogEntry(b"record", 0, ended=False),
        LogEntry(b"record", 2, ended=False),
        LogEntry(b"second", 4, ended=False),
        LogEntry(b"second", 6, ended=False),
        LogEntry(b"last", 7, ended=True),
    ]


async def test_a_name_leads_to_its_stream_while_it_runs_and_after_its_end(log: EventLog) -> None:
    assert await log.taken(KEY.tenant, NAME.name) is None
    writer = await log.create(KEY, b"record", NAME)
    assert not isinstance(writer, Taken)
    for end in (False, True):
        await writer.append(writer.head + 1, frames(1, 1), end=end)
        assert await log.taken(KEY.tenant, NAME.name) == Taken(KEY.stream_id, NAME.body)
        again = await log.create(OTHER, b"record", Idempotency(NAME.name, "another body"))
        assert again == Taken(KEY.stream_id, NAME.body)
    assert await log.find(OTHER) is None


async def test_one_name_of_two_tenants_is_two_names(log: EventLog) -> None:
    for tenant in (1, 2):
        writer = await log.create(StreamKey(tenant, f"s{tenant}"), b"record", NAME)
        assert not isinstance(writer, Taken)
    found = [await log.taken(tenant, NAME.name) for tenant in (1, 2, 3)]
    assert found == [Taken("s1", NAME.body), Taken("s2", NAME.body), None]


async def test_a_released_name_may_be_used_again(log: EventLog) -> None:
    writer = await log.create(KEY, b"record", NAME)
    assert not isinstance(writer, Taken)
    await writer.append(1, frames(1, 1), end=True, release=True)
    assert await log.taken(KEY.tenant, NAME.name) is None
    assert not isinstance(await log.create(OTHER, b"record", NAME), Taken)
    assert await everything(log) == frames(1, 1)


async def test_of_many_creates_with_one_name_at_once_exactly_one_opens_a_log(
    log: EventLog,
) -> None:
    keys = [StreamKey(1, f"s{number}") for number in range(50)]
    found = await asyncio.gather(*(log.create(key, b"record", NAME) for key in keys))
    writers = [one for one in found if not isinstance(one, Taken)]
    assert len(writers) == 1
    winner = writers[0].key
    assert [one for one in found if isinstance(one, Taken)] == [Taken(winner[1], NAME.body)] * 49
    assert [key for key in keys if await log.find(key) is not None] == [winner]
    await writers[0].append(1, frames(1, 1), end=True)


# --- handing over ---------------------------------------------------------------------------------


async def test_a_stream_whose_producer_lives_is_no_orphan_and_not_claimed(
    log: EventLog, writer: LogWriter
) -> None:
    assert await log.orphans() == []
    assert await log.claim(KEY) is None
    await writer.append(4, frames(4, 1))


async def test_a_forced_claim_hands_over_and_the_former_writer_is_refused(
    log: EventLog, writer: LogWriter
) -> None:
    new = await log.claim(KEY, force=True)
    assert new is not None
    assert (new.key, new.head) == (KEY, 3)
    with pytest.raises(FencedError):
        await writer.append(4, frames(9, 1), end=True)
    await new.append(4, frames(4, 1), record=b"seen", end=True)
    with pytest.raises(FencedError):
        await writer.append(5, frames(5, 1))
    assert await everything(log) == frames(1, 4)
    assert await log.find(KEY) == LogEntry(b"seen", 4, ended=True)


async def test_each_hand_over_refuses_all_former_writers(log: EventLog, writer: LogWriter) -> None:
    writers = [writer]
    for _ in range(3):
        new = await log.claim(KEY, force=True)
        assert new is not None
        for former in writers:
            with pytest.raises(FencedError):
                await former.append(new.head + 1, frames(9, 1))
        await new.append(new.head + 1, frames(new.head + 1, 1))
        writers.append(new)
    assert await everything(log) == frames(1, 6)


@pytest.mark.parametrize("force", [False, True])
async def test_a_stream_that_has_ended_or_is_unknown_cannot_be_claimed(
    log: EventLog, writer: LogWriter, force: bool
) -> None:
    await writer.append(4, frames(4, 1), end=True)
    assert await log.claim(KEY, force=force) is None
    assert await log.claim(OTHER, force=force) is None


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("end", [False, True])
async def test_an_append_under_way_at_a_claim_happened_before_it_or_never(
    log: EventLog, writer: LogWriter, turns: int, end: bool
) -> None:
    append = asyncio.create_task(writer.append(4, frames(4, 2), end=end))
    for _ in range(turns):
        await asyncio.sleep(0)
    new = await log.claim(KEY, force=True)
    (outcome,) = await asyncio.gather(append, return_exceptions=True)
    head = 3 if isinstance(outcome, FencedError) else 5
    if new is None:
        assert (head, end) == (5, True)
    else:
        assert new.head == head
        await new.append(head + 1, frames(head + 1, 1), end=True)
        head += 1
    assert await everything(log) == frames(1, head)


async def test_an_append_asked_for_while_a_claim_is_under_way_is_before_it_or_refused(
    log: EventLog, writer: LogWriter
) -> None:
    claim = asyncio.create_task(log.claim(KEY, force=True))
    await asyncio.sleep(0)
    append = asyncio.create_task(writer.append(4, frames(4, 2)))
    new = await claim
    assert new is not None
    (outcome,) = await asyncio.gather(append, return_exceptions=True)
    head = 3 if isinstance(outcome, FencedError) else 5
    assert new.head == head
    await new.append(head + 1, frames(head + 1, 1), end=True)
    assert await everything(log) == frames(1, head + 1)


# --- cancellation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 10])
async def test_a_cancelled_append_returns_when_it_has_happened_or_failed(
    log: EventLog, writer: LogWriter, turns: int
) -> None:
    for _ in range(20):
        first = writer.head + 1
        append = asyncio.create_task(writer.append(first, frames(first, 2)))
        for _ in range(turns):
            await asyncio.sleep(0)
        append.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await append
        assert writer.head in (first - 1, first + 1)
        assert await everything(log) == frames(1, writer.head)
    await writer.append(writer.head + 1, frames(writer.head + 1, 1), end=True)
    assert await everything(log) == frames(1, writer.head)


# --- many at once ---------------------------------------------------------------------------------


async def test_every_reader_of_many_streams_gets_exactly_what_follows_its_position(
    log: EventLog,
) -> None:
    count, length, size = 20, 60, 2 * WINDOW_BYTES // 50  # more than a window holds
    keys = [StreamKey(1, f"s{number}") for number in range(count)]
    writers = [await created(log, key) for key in keys]

    async def write(writer: LogWriter) -> None:
        while writer.head < length:
            first = writer.head + 1
            number = min(1 + first % 3, length - writer.head)
            await writer.append(first, frames(first, number, size))
        await writer.append(length + 1, frames(length + 1, 1, size), end=True)

    async def follow(key: StreamKey, after: int) -> list[bytes]:
        reader = await log.reader(key, after)
        more = asyncio.Event()
        reader.subscribe(more.set)
        found: list[bytes] = []
        while not reader.ended:
            more.clear()
            read = await reader.read()
            found += read
            if not read and not reader.ended:
                await asyncio.wait_for(more.wait(), 30)
            if after % 2:  # slow: it falls behind the window
                await asyncio.sleep(0.001)
        reader.close()
        return found

    early = [asyncio.create_task(follow(key, 0)) for key in keys]
    writing = [asyncio.create_task(write(writer)) for writer in writers]
    await until(lambda: all(writer.head > length // 2 for writer in writers))
    late = {
        (key, after): asyncio.create_task(follow(key, after))
        for key in keys[:5]
        for after in (0, 1, 7, length // 2)
    }
    await asyncio.gather(*writing)
    expected = frames(1, length + 1, size)
    for task in early:
        assert await task == expected
    for (_, after), task in late.items():
        assert await task == expected[after:]
    for key in keys[:5]:
        assert await rest(await log.reader(key, length - 1)) == expected[length - 1 :]


async def until(condition: Callable[[], bool]) -> None:
    """Poll, 10 seconds at most."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - of any implementation
            await asyncio.sleep(0.001)
