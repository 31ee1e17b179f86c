"""The event log in a SQLite file: kill -9, one process, group commit, failures, retention."""

import asyncio
import os
import resource
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.event_logs import KEY, RETENTION, Clock, created, everything, frames, rest
from tellstream.core.errors import RequestError, ServerError
from tellstream.eventlog import sqlite, sqlite_commits, sqlite_file, sqlite_sweep
from tellstream.eventlog.base import (
    TOMBSTONE_SECONDS,
    FencedError,
    Idempotency,
    LogEntry,
    LogSetupError,
    LogUnavailableError,
    LogWriter,
    StreamKey,
    Taken,
)
from tellstream.eventlog.sqlite import SqliteEventLog
from tellstream.eventlog.sqlite_streams import ORPHANS_AT_ONCE
from tellstream.eventlog.tail import WINDOW_BYTES

CHILD = Path(__file__).with_name("sqlite_child.py")
TESTS = CHILD.parents[1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "events.db"


@asynccontextmanager
async def opened(path: Path, clock: Clock) -> AsyncIterator[SqliteEventLog]:
    log = SqliteEventLog(path, RETENTION, clock)
    await log.start(lambda key: None)
    try:
        yield log
    finally:
        await log.close()


@pytest.fixture
async def log(path: Path, clock: Clock) -> AsyncIterator[SqliteEventLog]:
    async with opened(path, clock) as log:
        yield log


def key(name: str) -> StreamKey:
    return StreamKey(1, name)


def transactions(log: SqliteEventLog) -> int:
    assert log._now is not None
    return log._now.commits.transactions


def count(path: Path, table: str) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    finally:
        connection.close()


async def swept(log: SqliteEventLog) -> None:
    """Drop all that is to be dropped."""
    while await log.sweep():
        pass


async def refused(path: Path, clock: Clock) -> str:
    """Fail to open a log, and return the message."""
    log = SqliteEventLog(path, RETENTION, clock)
    with pytest.raises(LogSetupError) as caught:
        await log.start(lambda key: None)
    await log.close()
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


# --- another process, and the end of this one -----------------------------------------------------


@pytest.mark.parametrize("acknowledged", [0, 300, 3000])
async def test_after_kill_9_all_that_was_acknowledged_is_there_and_orphans_can_be_ended(
    path: Path, clock: Clock, acknowledged: int
) -> None:
    said = killed_after(path, acknowledged)
    heads: dict[str, int] = {}
    ended: set[str] = set()
    for line in said:
        word, name, acknowledged_head = line.split()
        heads[name] = int(acknowledged_head)
        if word == "ended":
            ended.add(name)
    async with opened(path, clock) as log:
        orphans = [orphan.stream_id for orphan in await log.orphans()]
        assert len(orphans) == len(set(orphans))
        for name, head in heads.items():
            entry = await log.find(key(name))
            assert entry is not None
            assert entry.head >= head
            assert await everything(log, key(name)) == frames(1, entry.head, 200)
            assert (name in orphans) is not entry.ended
            assert entry.ended or name not in ended
            assert entry.record == expected_record(entry.head)
        for name in orphans:
            writer = await log.claim(key(name))
            assert writer is not None
            assert await log.claim(key(name)) is None
            await writer.append(writer.head + 1, frames(writer.head + 1, 2, 200), end=True)
            assert await everything(log, key(name)) == frames(1, writer.head, 200)
        assert await log.orphans() == []


def expected_record(head: int) -> bytes:
    """What the child's newest append up to ``head`` with a record gave."""
    record, first = b"record", 1
    while first <= head:
        if first % 5 == 0:
            record = b"at %d" % first
        first += 1 + first % 3
    return record


def killed_after(path: Path, acknowledged: int) -> list[str]:
    """Run the child, kill it after so many acknowledgements and return all of its whole lines."""
    environment = os.environ | {"PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}"}
    child = subprocess.Popen(
        [sys.executable, str(CHILD), str(path)], stdout=subprocess.PIPE, env=environment
    )
    assert child.stdout is not None
    said = [child.stdout.readline() for _ in range(acknowledged + 1)]
    child.kill()
    said += child.stdout.readlines()
    child.stdout.close()
    assert child.wait() == -9
    return [line.decode() for line in said if line.endswith(b"\n")]


async def test_a_second_process_is_refused_and_told_who_has_the_file(
    log: SqliteEventLog, path: Path, clock: Clock
) -> None:
    message = await refused(path, clock)
    assert f"process {os.getpid()}" in message
    assert "redis://" in message
    await created(log)  # the first one goes on


async def test_what_was_closed_can_be_opened_again(path: Path, clock: Clock) -> None:
    async with opened(path, clock) as log:
        writer = await log.create(KEY, b"record", Idempotency("name", "body"))
        assert not isinstance(writer, Taken)
        await writer.append(1, frames(1, 3), record=b"second")
        await (await created(log, key("done"))).append(1, frames(1, 2), end=True)
    for epoch in (2, 3):
        async with opened(path, clock) as log:
            assert await log.orphans() == [KEY]
            assert await log.find(KEY) == LogEntry(b"second", 3, ended=False)
            assert await log.taken(1, "name") == Taken("s", "body")
            assert await everything(log) == frames(1, 3)
            assert await everything(log, key("done")) == frames(1, 2)
            claimed: Any = await log.claim(KEY)
            assert claimed._stream.epoch == epoch
            assert await log.orphans() == []


async def test_closing_writes_what_was_asked_for_and_afterwards_nothing_is(
    path: Path, clock: Clock
) -> None:
    async with opened(path, clock) as log:
        writers = [await created(log, key(f"s{number}")) for number in range(300)]
        appends = [asyncio.create_task(writer.append(1, frames(1, 1))) for writer in writers]
        await asyncio.sleep(0)
    await asyncio.gather(*appends)
    with pytest.raises(LogUnavailableError):
        await writers[0].append(2, frames(2, 1))
    with pytest.raises(LogUnavailableError):
        await log.find(KEY)
    await log.close()
    assert count(path, "frames") == 300


async def test_a_close_that_is_cancelled_still_gives_every_append_an_outcome(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.2)
    log = SqliteEventLog(path, RETENTION, clock)
    await log.start(lambda key: None)
    one, other = await created(log, key("one")), await created(log, key("other"))
    with locked(path):
        first = asyncio.create_task(one.append(1, frames(1, 1)))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(other.append(1, frames(1, 1)))
        await asyncio.sleep(0.01)
        close = asyncio.create_task(log.close())
        await asyncio.sleep(0.01)
        close.cancel()
        outcomes = await asyncio.gather(close, first, second, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [
        asyncio.CancelledError,
        LogUnavailableError,
        LogUnavailableError,
    ]
    async with opened(path, clock) as again:
        assert len(await again.orphans()) == 2


async def test_nothing_is_opened_before_the_start(path: Path, clock: Clock) -> None:
    log = SqliteEventLog(path, RETENTION, clock)
    assert not path.parent.exists()
    with pytest.raises(LogUnavailableError):
        await log.orphans()
    await log.close()


async def test_a_start_that_is_cancelled_leaves_the_file_to_others(
    path: Path, clock: Clock
) -> None:
    log = SqliteEventLog(path, RETENTION, clock)
    start = asyncio.create_task(log.start(lambda key: None))
    await asyncio.sleep(0)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    await log.close()
    async with opened(path, clock) as other:
        await created(other)


async def test_orphans_are_named_in_portions_until_all_are_claimed(
    path: Path, clock: Clock
) -> None:
    keys = [key(f"s{number}") for number in range(ORPHANS_AT_ONCE + 20)]
    async with opened(path, clock) as log:
        await asyncio.gather(*(created(log, one) for one in keys))
    async with opened(path, clock) as log:
        portions = [await log.orphans() for _ in range(2)]
        assert [len(portion) for portion in portions] == [ORPHANS_AT_ONCE] * 2
        assert {one for portion in portions for one in portion} == set(keys)
        claimed = set()
        while orphans := await log.orphans():
            for one in orphans:
                assert await log.claim(one) is not None
                claimed.add(one)
        assert claimed == set(keys)


async def test_of_many_claims_of_one_orphan_one_succeeds(path: Path, clock: Clock) -> None:
    async with opened(path, clock) as log:
        await created(log)
    async with opened(path, clock) as log:
        claims = await asyncio.gather(*(log.claim(KEY) for _ in range(20)))
        writers = [writer for writer in claims if writer is not None]
        assert len(writers) == 1
        await writers[0].append(1, frames(1, 1), end=True)


@pytest.mark.parametrize("turns", [1, 2, 3])
async def test_a_cancelled_create_or_claim_leaves_an_orphan_not_a_lost_stream(
    log: SqliteEventLog, turns: int
) -> None:
    for call in (lambda: log.create(KEY, b"record"), lambda: log.claim(KEY)):
        task: asyncio.Task[Any] = asyncio.create_task(call())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await log.orphans() == [KEY]
    assert await log.claim(KEY) is not None
    assert await log.orphans() == []


# --- the file -------------------------------------------------------------------------------------


async def test_the_files_and_a_new_folder_are_private(log: SqliteEventLog, path: Path) -> None:
    await created(log)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes) >= {"events.db", "events.db-wal", "events.db.lock"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE streams (id)")
    connection.close()
    path.chmod(0o600)


def newer(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA application_id = {sqlite_file.APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {sqlite_file.SCHEMA_VERSION + 1}")
    connection.close()
    path.chmod(0o600)


def garbage(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)
    path.chmod(0o600)


def folder(path: Path) -> None:
    path.mkdir()


def too_open(path: Path) -> None:
    path.touch()
    path.chmod(0o644)


def pipe(path: Path) -> None:
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (foreign, "another program's database"),
        (newer, "newer version"),
        (garbage, "damaged"),
        (folder, "directory"),
        (too_open, "chmod 600"),
        (pipe, "not a regular file"),
    ],
)
async def test_a_file_that_is_not_ours_is_refused_in_one_line_and_left_alone(
    path: Path, clock: Clock, spoil: Callable[[Path], None], says: str
) -> None:
    path.parent.mkdir()
    spoil(path)
    before = content(path)
    for _ in range(2):  # nor is the lock kept
        assert says in await refused(path, clock)
    assert content(path) == before


@pytest.mark.parametrize("where", [100, 4096, 8192, 12288])
async def test_a_damaged_file_never_gives_wrong_frames(
    path: Path, clock: Clock, where: int
) -> None:
    data = frames(1, 200, 500)
    async with opened(path, clock) as log:
        writer = await created(log)
        for first in range(0, 200, 5):
            await writer.append(first + 1, data[first : first + 5])
    with path.open("r+b") as file:
        file.seek(where)
        file.write(b"\xff" * 2000)
    try:
        async with opened(path, clock) as log:
            found = await everything(log)
    except (LogSetupError, LogUnavailableError) as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert len(found) == 200


async def test_a_running_stream_with_missing_frames_is_refused(path: Path, clock: Clock) -> None:
    async with opened(path, clock) as log:
        writer = await created(log)
        for first in (1, 2, 3):
            await writer.append(first, frames(first, 1))
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM frames WHERE first = 2")
    connection.commit()
    connection.close()
    assert "frames are missing" in await refused(path, clock)


# --- group commit ---------------------------------------------------------------------------------


async def test_appends_asked_for_together_share_few_transactions(log: SqliteEventLog) -> None:
    writers = [await created(log, key(f"s{number}")) for number in range(200)]
    before = transactions(log)
    await asyncio.gather(*(writer.append(1, frames(1, 2)) for writer in writers))
    assert transactions(log) - before <= 10
    for writer in writers:
        assert await everything(log, writer.key) == frames(1, 2)


async def test_an_append_alone_has_a_transaction_of_its_own(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "SWEEP_SECONDS", 1000)
    async with opened(path, clock) as log:
        writer = await created(log)
        await log.sweep()  # and the one that every start begins with
        for first in range(1, 50):
            before = transactions(log)
            await writer.append(first, frames(first, 1))
            assert transactions(log) == before + 1


async def test_an_append_after_a_rush_does_not_wait_for_it_to_be_made_up(
    log: SqliteEventLog,
) -> None:
    count = sqlite_commits.GATHER_OPERATIONS
    writers = [await created(log, key(f"s{number}")) for number in range(count)]
    before = transactions(log)
    for first in range(1, 401):
        await asyncio.gather(*(writer.append(first, frames(first, 1)) for writer in writers))
    saved = sqlite_commits.GATHER_SECONDS * (transactions(log) - before)
    assert saved > 1
    async with asyncio.timeout(saved / 2):
        await writers[0].append(401, frames(401, 1))


async def test_a_writer_that_appends_twice_at_once_is_refused(log: SqliteEventLog) -> None:
    writer = await created(log)
    first = asyncio.create_task(writer.append(1, frames(1, 1)))
    await asyncio.sleep(0)
    with pytest.raises(ServerError):
        await writer.append(1, frames(1, 1))
    await first
    with pytest.raises(ServerError):
        await writer.append(2, [])
    await writer.append(2, frames(2, 1))
    assert await everything(log) == frames(1, 2)


async def test_a_subscriber_that_raises_fails_its_own_stream_only(log: SqliteEventLog) -> None:
    writers = [await created(log, key(name)) for name in "abc"]
    reader = await log.reader(key("b"))

    def wake() -> None:
        raise ZeroDivisionError

    reader.subscribe(wake)
    outcomes = await asyncio.gather(
        *(writer.append(1, frames(1, 1)) for writer in writers), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), ZeroDivisionError, type(None)]
    reader.close()


# --- failures -------------------------------------------------------------------------------------


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Have another program write for ever."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


@contextmanager
def full(path: Path) -> Iterator[None]:
    """Let no file grow beyond the size that the write-ahead log has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = path.with_name(path.name + "-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("failing", [locked, full])
async def test_a_failed_transaction_leaves_nothing_and_can_be_tried_again_with_more(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, failing: Any
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.05)
    async with opened(path, clock) as log:
        writers = [await created(log, key(f"s{number}")) for number in range(10)]
        await asyncio.gather(*(writer.append(1, frames(1, 1, 500)) for writer in writers))
        woken: list[int] = []
        readers = [await log.reader(writer.key, 1) for writer in writers]
        for reader in readers:
            reader.subscribe(lambda: woken.append(1))
        with failing(path):
            outcomes: list[Any] = await asyncio.gather(
                *(writer.append(2, frames(2, 2, 500), record=b"lost") for writer in writers[:5]),
                *(writer.append(2, frames(2, 2, 500), end=True) for writer in writers[5:]),
                log.create(key("new"), b"record", Idempotency("name", "body")),
                log.claim(writers[0].key, force=True),
                return_exceptions=True,
            )
            assert [type(outcome) for outcome in outcomes] == [LogUnavailableError] * 12
            assert all(outcome.__cause__ for outcome in outcomes)
            assert woken == []
            for writer in writers:
                assert writer.head == 1
                assert await log.find(writer.key) == LogEntry(b"record", 1, ended=False)
        assert await log.find(key("new")) is None
        assert not isinstance(
            await log.create(key("new"), b"record", Idempotency("name", "body")), Taken
        )
        await asyncio.gather(*(writer.append(2, frames(2, 3, 500), end=True) for writer in writers))
        for reader in readers:
            assert await rest(reader) == frames(2, 3, 500)
        assert len(woken) == 10
    async with opened(path, clock) as log:
        for writer in writers:
            assert await everything(log, writer.key) == frames(1, 4, 500)
        assert await log.orphans() == [key("new")]


async def test_a_cancelled_append_that_fails_says_cancelled_and_nothing_happened(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.05)
    async with opened(path, clock) as log:
        writer = await created(log)
        with locked(path):
            append = asyncio.create_task(writer.append(1, frames(1, 1)))
            await asyncio.sleep(0.001)
            append.cancel()
            with pytest.raises(asyncio.CancelledError):
                await append
        assert writer.head == 0
        await writer.append(1, frames(1, 2))
        assert await everything(log) == frames(1, 2)


async def test_an_append_is_not_left_before_its_transaction_has_ended(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(path, clock) as log:
        writer = await created(log)
        with locked(path):
            append = asyncio.create_task(writer.append(1, frames(1, 1)))
            for _ in range(3):
                await asyncio.sleep(0.01)
                append.cancel()
            assert not append.done()
        with pytest.raises(asyncio.CancelledError):
            await append
        assert writer.head == 1
        assert await everything(log) == frames(1, 1)


async def test_a_timeout_around_an_append_still_ends_in_a_timeout(path: Path, clock: Clock) -> None:
    async with opened(path, clock) as log:
        writer = await created(log)

        async def late() -> None:
            async with asyncio.timeout(0.02):
                await writer.append(1, frames(1, 1))

        with locked(path):
            task = asyncio.create_task(late())
            await asyncio.sleep(0.05)
            assert not task.done()
        with pytest.raises(TimeoutError):
            await task
        assert await everything(log) == frames(1, 1)


async def test_appends_queued_behind_a_claim_are_refused(path: Path, clock: Clock) -> None:
    async with opened(path, clock) as log:
        former, other = await created(log), await created(log, key("other"))
        with locked(path):
            under_way = asyncio.create_task(former.append(1, frames(1, 1)))
            await asyncio.sleep(0.01)
            claim = asyncio.create_task(log.claim(KEY, force=True))
            late = asyncio.create_task(other.append(1, frames(1, 1)))
            await asyncio.sleep(0.01)
            assert not claim.done()
        await under_way
        new = await claim
        assert new is not None
        assert new.head == 1
        await late
        with locked(path):
            blocker = asyncio.create_task(other.append(2, frames(2, 1)))
            await asyncio.sleep(0.01)
            second = asyncio.create_task(log.claim(KEY, force=True))
            await asyncio.sleep(0)
            behind = asyncio.create_task(new.append(2, frames(9, 1), end=True))
            await asyncio.sleep(0.01)
        await blocker
        newest = await second
        assert newest is not None
        with pytest.raises(FencedError):
            await behind
        await newest.append(2, frames(2, 1), end=True)
        assert await everything(log) == frames(1, 2)


# --- reading what is not in memory ----------------------------------------------------------------


async def test_older_frames_come_from_the_file_while_a_stream_runs(log: SqliteEventLog) -> None:
    size = WINDOW_BYTES // 20
    data = frames(1, 100, size)
    writer = await created(log)
    for first in range(0, 100, 4):
        await writer.append(first + 1, data[first : first + 4])
    (live,) = [log._now.live.get(KEY)] if log._now else [None]
    assert live is not None
    assert sum(map(len, live.tail.frames)) <= 2 * WINDOW_BYTES
    for after in (0, 1, 3, 4, 5, 50, 95, 99, 100):
        assert await everything(log, after=after) == data[after:]


async def test_an_ended_stream_takes_no_memory(log: SqliteEventLog) -> None:
    for number in range(20):
        writer = await created(log, key(f"s{number}"))
        await writer.append(1, frames(1, 5), end=True)
    assert log._now is not None
    assert log._now.live._streams == {}
    assert await everything(log, key("s7"), 2) == frames(3, 3)


async def test_the_frames_of_many_small_appends_are_read_whole(
    log: SqliteEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_commits, "GATHER_SECONDS", 0)
    data = frames(1, 5000, 20)
    writer = await created(log)
    for first in range(0, 5000, 2):
        await writer.append(first + 1, data[first : first + 2], end=first == 4998)
    for after in (0, 1, 2, 2047, 2048, 2049, 4999):
        assert await everything(log, after=after) == data[after:]


# --- retention ------------------------------------------------------------------------------------


async def ended(log: SqliteEventLog, name: str, *, frames_in_it: int = 3) -> LogWriter:
    writer = await log.create(key(name), b"record", Idempotency(name, "body"))
    assert not isinstance(writer, Taken)
    await writer.append(1, frames(1, frames_in_it), record=b"last", end=True)
    return writer


async def test_a_finished_stream_is_kept_for_the_retention_and_then_is_a_tombstone(
    log: SqliteEventLog, path: Path, clock: Clock
) -> None:
    writer = await ended(log, "s")
    clock.now += RETENTION
    await swept(log)
    assert await everything(log) == frames(1, 3)
    clock.now += 0.01
    await swept(log)
    with pytest.raises(RequestError) as caught:
        await log.reader(KEY)
    assert caught.value.code == "not_found"
    assert await log.find(KEY) == LogEntry(b"last", 3, ended=True)
    assert await log.taken(1, "s") is None
    assert count(path, "frames") == 0
    with pytest.raises(FencedError):
        await writer.append(4, frames(4, 1))
    assert not isinstance(await log.create(key("t"), b"record", Idempotency("s", "body")), Taken)
    with pytest.raises(ServerError):
        await log.create(KEY, b"record")
    clock.now += TOMBSTONE_SECONDS
    await swept(log)
    assert await log.find(KEY) is None
    assert count(path, "streams") == 1


async def test_a_running_stream_is_kept_however_old_and_so_is_what_is_not_due(
    log: SqliteEventLog, path: Path, clock: Clock
) -> None:
    old = await created(log, key("old"))
    await old.append(1, frames(1, 4))
    await ended(log, "early")
    clock.now += RETENTION * 2
    await ended(log, "late")
    await swept(log)
    assert await everything(log, key("old")) == frames(1, 4)
    assert await everything(log, key("late")) == frames(1, 3)
    with pytest.raises(RequestError):
        await log.reader(key("early"))
    await old.append(5, frames(5, 1), end=True)
    clock.now += RETENTION * 2
    await swept(log)
    assert count(path, "frames") == 0


async def test_who_reads_what_is_dropped_meanwhile_is_told(
    log: SqliteEventLog, clock: Clock
) -> None:
    await ended(log, "s")
    reader = await log.reader(KEY, 1)
    clock.now += RETENTION + 1
    await swept(log)
    with pytest.raises(LogUnavailableError):
        await reader.read()
    reader.close()


async def test_sweeping_goes_in_portions_and_in_the_background(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_sweep, "SWEEP_STREAMS", 7)
    monkeypatch.setattr(sqlite_sweep, "SWEEP_ROWS", 10)
    monkeypatch.setattr(sqlite, "SWEEP_SECONDS", 1000)
    async with opened(path, clock) as log:
        for number in range(30):
            await ended(log, f"s{number}")
        clock.now += RETENTION + 1
        before = count(path, "frames")
        assert await log.sweep()
        assert before - 10 <= count(path, "frames") < before
    async with opened(path, clock) as log, asyncio.timeout(20):
        while count(path, "frames"):  # noqa: ASYNC110 - in the file: nobody says when
            await asyncio.sleep(0.01)
        assert await log.find(key("s29")) == LogEntry(b"last", 3, ended=True)


async def test_the_space_of_dropped_streams_is_used_again(
    log: SqliteEventLog, path: Path, clock: Clock
) -> None:
    sizes = []
    for round_ in range(6):
        for number in range(20):
            writer = await created(log, key(f"{round_}.{number}"))
            await writer.append(1, frames(1, 100, 500), end=True)
        clock.now += RETENTION + 1
        await swept(log)
        connection = sqlite3.connect(path)
        sizes.append(connection.execute("PRAGMA page_count").fetchone()[0])
        connection.close()
    assert sizes[-1] < sizes[0] * 1.5


async def test_places_begin_behind_all_that_is_stored(path: Path, clock: Clock) -> None:
    for number in range(3):
        async with opened(path, clock) as log:
            await ended(log, f"s{number}")
    async with opened(path, clock) as log:
        for number in range(3):
            assert await everything(log, key(f"s{number}")) == frames(1, 3)


def test_a_statement_fits_into_the_oldest_sqlite() -> None:
    assert 5 * sqlite_commits.STATEMENT_ROWS <= 999
