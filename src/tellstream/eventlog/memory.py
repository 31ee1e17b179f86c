"""The event log of one process, kept in memory: lost with the process, nothing to install.

Finished logs are kept for the retention time, packed, and dropped oldest first when together they
exceed ``MAX_RETAINED_BYTES``. Records stay longer, as tombstones.
"""

import asyncio
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from tellstream.core.errors import RequestError, ServerError
from tellstream.eventlog.base import (
    FencedError,
    Idempotency,
    LogEntry,
    LogReader,
    LogWriter,
    StreamKey,
    Taken,
)
from tellstream.eventlog.tail import Tail, TailReader

MAX_RETAINED_BYTES: Final = 64 * 1024 * 1024
"""Of all finished logs together, packed: some 30,000 answers of average length."""
MAX_TOMBSTONES: Final = 10_000
"""Records that are kept when the frames are gone; about 1 KB each."""
COMPRESS_FROM_BYTES: Final = 4096
"""Shorter logs are kept as they are: compressing costs more CPU than a kilobyte is worth."""
PACK_AT_ONCE: Final = 50
"""Logs packed in one sweep: about 5 ms of the loop's time."""
SWEEP_SECONDS: Final = 0.1
"""Between two sweeps; with what one may pack, 500 streams a second."""


class _Log:
    """One stream: a tail while live or read, packed when finished and at rest."""

    __slots__ = (
        "compressed",
        "dropped",
        "ended_at",
        "epoch",
        "head",
        "name",
        "packed",
        "record",
        "tail",
    )

    def __init__(self, record: bytes, name: tuple[int, str] | None) -> None:
        self.record = record
        self.name = name  # of the idempotency key
        self.tail = Tail(window=None)
        self.epoch = 1
        self.head = 0
        self.dropped = False
        self.ended_at: float | None = None
        self.packed = b""
        self.compressed = False

    def pack(self) -> None:
        """Compress the frames; consecutive events differ little, so about one tenth remains."""
        whole = b"".join(self.tail.frames)
        self.compressed = len(whole) >= COMPRESS_FROM_BYTES
        self.packed = zlib.compress(whole, level=1) if self.compressed else whole
        self.tail = Tail()

    def read_tail(self) -> Tail:
        """A tail to read from, unpacked if need be."""
        if not self.packed:
            return self.tail
        # A frame ends with a blank line and holds none, so this is exact.
        whole = zlib.decompress(self.packed) if self.compressed else self.packed
        parts = whole.split(b"\n\n")[:-1]
        tail = Tail(window=None)
        tail.extend([part + b"\n\n" for part in parts], end=True)
        return tail


class _Writer:
    """The right to append to a log of this process."""

    __slots__ = ("_epoch", "_log", "_logs", "key")

    def __init__(self, logs: "MemoryEventLog", key: StreamKey, log: _Log) -> None:
        self.key = key
        self._logs = logs
        self._log = log
        self._epoch = log.epoch

    @property
    def head(self) -> int:
        """Sequence number of the last frame."""
        return self._log.head

    async def append(
        self,
        first: int,
        frames: list[bytes],
        *,
        record: bytes | None = None,
        end: bool = False,
        release: bool = False,
    ) -> None:
        """Append ``frames``, numbered from ``first``."""
        self._extend(first, frames, record, end=end, release=release)

    def begin(self, first: int, frames: list[bytes]) -> None:
        """Append ``frames`` without waiting."""
        self._extend(first, frames, None, end=False, release=False)

    def _extend(
        self, first: int, frames: list[bytes], record: bytes | None, *, end: bool, release: bool
    ) -> None:
        log = self._log
        if log.epoch != self._epoch or log.ended_at is not None:
            raise FencedError("the stream was taken over, or has ended")
        if first != log.head + 1:
            raise ServerError("server_error", reason="append leaves a gap")
        log.head += len(frames)
        if record is not None:
            log.record = record
        if end:
            self._logs.finished(self.key, log, release=release)
        log.tail.extend(frames, end=end)


class MemoryEventLog:
    """All logs of this process.

    Args:
        retention: seconds that a finished log is kept.
        clock: monotonic seconds.
    """

    def __init__(self, retention: float, clock: Callable[[], float]) -> None:
        self._retention = retention
        self._clock = clock
        self._live: dict[StreamKey, _Log] = {}
        self._finished: OrderedDict[StreamKey, _Log] = OrderedDict()
        self._tombstones: OrderedDict[StreamKey, LogEntry] = OrderedDict()
        self._names: dict[tuple[int, str], Taken] = {}
        self._unpacked: deque[_Log] = deque()  # finished, not packed yet
        self._packed_bytes = 0
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self, on_cancel: Callable[[StreamKey], None]) -> None:
        """Begin to sweep; nobody else can ask to cancel."""
        del on_cancel
        self._sweeper = asyncio.get_running_loop().create_task(self._sweep_for_ever())

    async def close(self) -> None:
        """Stop sweeping."""
        if self._sweeper is not None:
            self._sweeper.cancel()

    async def create(
        self, key: StreamKey, record: bytes, idempotency: Idempotency | None = None
    ) -> LogWriter | Taken:
        """Open an empty log, unless the idempotency name is taken."""
        name = None if idempotency is None else (key.tenant, idempotency.name)
        if name in self._names:
            return self._names[name]
        if key in self._live or key in self._finished:
            raise ServerError("server_error", reason="the stream id exists")
        log = self._live[key] = _Log(record, name)
        if name is not None and idempotency is not None:
            self._names[name] = Taken(key.stream_id, idempotency.body)
        return _Writer(self, key, log)

    async def taken(self, tenant: int, name: str) -> Taken | None:
        """Look an idempotency name up."""
        return self._names.get((tenant, name))

    async def find(self, key: StreamKey) -> LogEntry | None:
        """Look a stream up."""
        log = self._live.get(key) or self._finished.get(key)
        if log is None:
            return self._tombstones.get(key)
        return LogEntry(log.record, log.head, log.ended_at is not None)

    async def reader(self, key: StreamKey, after: int = 0) -> LogReader:
        """Open a reader of the frames after sequence number ``after``."""
        log = self._live.get(key) or self._finished.get(key)
        if log is None:
            raise RequestError("not_found")
        if after > log.head:
            raise RequestError("conflict", "The position is beyond the end of the stream.")
        return TailReader(log.read_tail(), after, _nothing_older)

    async def orphans(self) -> list[StreamKey]:
        """Name streams without producer: none, they would be lost with it."""
        return []

    async def claim(self, key: StreamKey, *, force: bool = False) -> LogWriter | None:
        """Take over an open stream; its producer is always alive."""
        log = self._live.get(key)
        if log is None or not force:
            return None
        log.epoch += 1
        return _Writer(self, key, log)

    async def ask_cancel(self, key: StreamKey) -> None:
        """Do nothing: there is no other process."""

    async def followed(self, key: StreamKey) -> float | None:
        """Say that nobody follows in another process."""
        del key
        return None

    def finished(self, key: StreamKey, log: _Log, *, release: bool) -> None:
        """Move a log that ends now; for its writer."""
        log.ended_at = self._clock()
        self._finished[key] = self._live.pop(key)
        self._unpacked.append(log)
        if release and log.name is not None:
            del self._names[log.name]
            log.name = None

    def sweep(self) -> None:
        """Pack what is finished and unread, drop what is old or too much."""
        busy: list[_Log] = []
        for _ in range(min(len(self._unpacked), PACK_AT_ONCE)):
            log = self._unpacked.popleft()
            if log.tail.subscribers:
                busy.append(log)
            elif not log.dropped:
                log.pack()
                self._packed_bytes += len(log.packed)
        self._unpacked.extend(busy)
        oldest_kept = self._clock() - self._retention
        while self._finished:
            key, log = next(iter(self._finished.items()))
            full = self._packed_bytes > MAX_RETAINED_BYTES
            if (log.ended_at or 0.0) >= oldest_kept and not full:
                break
            self._drop(key, log)

    def _drop(self, key: StreamKey, log: _Log) -> None:
        del self._finished[key]
        log.dropped = True  # one that is still followed must not be packed and counted later
        self._packed_bytes -= len(log.packed)
        if log.name is not None:
            del self._names[log.name]
        self._tombstones[key] = LogEntry(log.record, log.head, ended=True)
        if len(self._tombstones) > MAX_TOMBSTONES:
            self._tombstones.popitem(last=False)

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep()


async def _nothing_older(_position: int) -> list[bytes]:
    raise AssertionError("the tail of a log in memory holds everything")
