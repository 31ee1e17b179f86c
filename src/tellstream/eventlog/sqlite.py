"""The event log in a SQLite file: nothing to install, survives ``kill -9`` of its process.

For one process: it alone appends, so what runs is known in its memory, and a call that concerns
only that does not touch the file. Frames are readable when their transaction is committed.

    sqlite.py             the contract
    sqlite_commits.py     the writer's thread: group commit
    sqlite_operations.py  what is written
    sqlite_sweep.py       what is deleted
    sqlite_reads.py       the reader's thread, and all that is read
    sqlite_streams.py     what is known of running streams
    sqlite_file.py        the file: its lock, its tables
"""

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import structlog

from tellstream.core.errors import RequestError, ServerError
from tellstream.eventlog import sqlite_reads as reads
from tellstream.eventlog.base import (
    FencedError,
    Idempotency,
    LogEntry,
    LogReader,
    LogUnavailableError,
    LogWriter,
    StreamKey,
    Taken,
)
from tellstream.eventlog.sqlite_commits import Commits
from tellstream.eventlog.sqlite_file import FileLock, connect, prepare, setup_error
from tellstream.eventlog.sqlite_operations import (
    Append,
    Change,
    Claim,
    Create,
    Operation,
    taken,
)
from tellstream.eventlog.sqlite_streams import LiveStream, LiveStreams, Places
from tellstream.eventlog.sqlite_sweep import Sweep
from tellstream.eventlog.tail import Tail, TailReader, outcome

FEW: Final = 8
"""Running streams: so many write at once, more let their appends gather for a moment."""
SWEEP_SECONDS: Final = 1.0
"""Between two sweeps when there is nothing left to drop."""
SWEEP_PAUSE_SECONDS: Final = 0.02
"""Between two portions of one sweep: 100,000 frames a second, four times the fastest writers."""
_Found = TypeVar("_Found")
log = structlog.get_logger("tellstream.eventlog")


class _Opened:
    """What exists from ``start`` to ``close``."""

    def __init__(
        self,
        live: LiveStreams,
        commits: Commits,
        stored: reads.Reads,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.live = live
        self.commits = commits
        self.stored = stored
        self.loop = loop


class _Writer:
    """The right to append to a stream of this process."""

    __slots__ = ("_clock", "_epoch", "_opened", "_stream", "_under_way")

    def __init__(self, opened: _Opened, stream: LiveStream, clock: Callable[[], float]) -> None:
        self._opened = opened
        self._stream = stream
        self._clock = clock
        self._epoch = stream.epoch
        self._under_way: Append | None = None

    @property
    def key(self) -> StreamKey:
        """The stream."""
        return self._stream.key

    @property
    def head(self) -> int:
        """Sequence number of the last frame."""
        return self._stream.head

    async def append(
        self,
        first: int,
        frames: list[bytes],
        *,
        record: bytes | None = None,
        end: bool = False,
        release: bool = False,
    ) -> None:
        """Append ``frames``, numbered from ``first``.

        A failed transaction leaves nothing, so after a ``LogUnavailableError`` there is never
        anything to pass over.
        """
        if not end and record is None:
            await self.begin(first, frames)
            return
        stream, opened = self._stream, self._opened
        place = self._place(first, frames)
        ended_at = self._clock() if end else None
        self._under_way = change = Change(
            stream, place, frames, opened.loop, opened.live, record, ended_at, release=release
        )
        await opened.commits.submit(change)

    def begin(self, first: int, frames: list[bytes]) -> Append:
        """Begin to append plain ``frames``."""
        place = self._place(first, frames)
        self._under_way = append = Append(self._stream, place, frames, self._opened.loop)
        self._opened.commits.submit(append)
        return append

    def _place(self, first: int, frames: list[bytes]) -> int:
        """Give an append its place, if it is the next one."""
        stream = self._stream
        if stream.epoch != self._epoch or stream.ended:
            raise FencedError("the stream was taken over, or has ended")
        busy = self._under_way is not None and not self._under_way.done()
        if first != stream.head + 1 or not frames or busy:
            raise ServerError("server_error", reason="append leaves a gap, or overlaps another")
        return self._opened.live.next_place()


class SqliteEventLog:
    """All logs of this process, in one file.

    Args:
        path: the file; created when it is missing, together with its folder.
        retention: seconds that a finished log is kept.
        clock: Unix seconds.
    """

    def __init__(self, path: Path, retention: float, clock: Callable[[], float]) -> None:
        self._path = path
        self._retention = retention
        self._clock = clock
        self._lock = FileLock(path)
        self._now: _Opened | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, on_cancel: Callable[[StreamKey], None]) -> None:
        """Open the file, and find the streams that a dead process left; nobody else can cancel."""
        del on_cancel
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(None, self._open)
        try:
            live, connection = await outcome(opening)
        except asyncio.CancelledError:
            if opening.exception() is None:
                opening.result()[1].close()
            self._lock.release()
            raise
        commits = Commits(partial(connect, self._path), loop, lambda: live.count > FEW)
        self._now = _Opened(live, commits, reads.Reads(connection), loop)
        commits.start()
        self._sweeper = loop.create_task(self._sweep_for_ever())

    async def close(self) -> None:
        """Write what is under way, and let another process have the file."""
        opened, self._now = self._now, None
        if opened is None:
            return
        try:
            if self._sweeper is not None:
                self._sweeper.cancel()
                await asyncio.wait([self._sweeper])
        finally:
            try:
                await opened.commits.close()
            finally:
                opened.stored.close()
                self._lock.release()

    async def create(
        self, key: StreamKey, record: bytes, idempotency: Idempotency | None = None
    ) -> LogWriter | Taken:
        """Open an empty log, unless the idempotency name is taken."""
        opened = self._opened()
        create = Create(opened.live, key, record, idempotency, opened.loop)
        found = await self._owned(opened, create)
        return found if isinstance(found, Taken) else _Writer(opened, found, self._clock)

    async def taken(self, tenant: int, name: str) -> Taken | None:
        """Look an idempotency name up."""
        return await self._opened().stored.run(partial(taken, tenant=tenant, name=name))

    async def find(self, key: StreamKey) -> LogEntry | None:
        """Look a stream up."""
        live, stored = await self._look_up(key)
        if live is not None:
            return LogEntry(live.record, live.head, ended=False)
        if stored is not None:
            return LogEntry(stored.record, stored.head, ended=True)
        return None

    async def reader(self, key: StreamKey, after: int = 0) -> LogReader:
        """Open a reader of the frames after sequence number ``after``."""
        live, stored = await self._look_up(key)
        if live is not None:
            number, places, tail, head = live.id, live.places, live.tail, live.head
        elif stored is not None and stored.places is not None:
            number, places, head = stored.id, Places.unpack(stored.places), stored.head
            tail = Tail(head)
            tail.ended = True
        else:
            raise RequestError("not_found")
        if after > head:
            raise RequestError("conflict", "The position is beyond the end of the stream.")
        run = self._opened().stored.run

        async def older(position: int) -> list[bytes]:
            rows = places.after(position)
            return await run(partial(reads.frames, stream=number, places=rows, after=position))

        return TailReader(tail, after, older)

    async def orphans(self) -> list[StreamKey]:
        """Name streams that are open although their producer is gone; a portion at a time."""
        return self._opened().live.orphans()

    async def claim(self, key: StreamKey, *, force: bool = False) -> LogWriter | None:
        """Take over an open stream in order to end it."""
        opened = self._opened()
        stream = opened.live.get(key)
        if stream is None:
            return None
        claim = Claim(opened.live, stream, force=force, loop=opened.loop)
        found = await self._owned(opened, claim)
        return None if found is None else _Writer(opened, found, self._clock)

    async def ask_cancel(self, key: StreamKey) -> None:
        """Do nothing: there is no other process."""

    async def followed(self, key: StreamKey) -> float | None:
        """Say that nobody follows in another process."""
        del key
        return None

    async def sweep(self) -> bool:
        """Drop a portion of what was kept long enough; return whether there may be more.

        Raises:
            LogUnavailableError: it cannot be written.
        """
        opened = self._opened()
        return await opened.commits.submit(Sweep(self._clock() - self._retention, opened.loop))

    def _open(self) -> tuple[LiveStreams, sqlite3.Connection]:
        """Open the file, in a thread of its own."""
        self._lock.acquire()
        try:
            connection = connect(self._path)
            try:
                prepare(connection, self._path)
                return reads.load(connection, self._path), connection
            except BaseException:
                connection.close()
                raise
        except (sqlite3.Error, ArithmeticError, TypeError, ValueError) as error:
            self._lock.release()
            raise setup_error(self._path, error) from error
        except BaseException:
            self._lock.release()
            raise

    def _opened(self) -> _Opened:
        if self._now is None:
            raise LogUnavailableError("the event log is not open")
        return self._now

    async def _look_up(self, key: StreamKey) -> tuple[LiveStream | None, reads.Stored | None]:
        """Return a running stream, or one that has ended, or neither."""
        opened = self._opened()
        live = opened.live.get(key)
        if live is not None:
            return live, None
        stored = await opened.stored.run(partial(reads.find, key=key))
        if stored is not None and stored.ended_at is None:  # committed a moment ago
            return opened.live.get(key), None
        return None, stored

    async def _owned(self, opened: _Opened, operation: Operation[_Found]) -> _Found:
        """Wait for a stream that is to be written here; who is cancelled leaves an orphan."""
        try:
            return await opened.commits.submit(operation)
        except asyncio.CancelledError:
            if operation.exception() is None:
                found = operation.result()
                if isinstance(found, LiveStream):
                    opened.live.disown(found)
            raise

    async def _sweep_for_ever(self) -> None:
        while True:
            try:
                more = await self.sweep()
            except LogUnavailableError as error:
                log.warning("eventlog_sweep_failed", reason=error.reason)
                more = False
            await asyncio.sleep(SWEEP_PAUSE_SECONDS if more else SWEEP_SECONDS)
