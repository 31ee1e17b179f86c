"""The event log of one process, kept in memory: lost with the process, nothing to install.

Finished logs are kept for the retention time, packed, and dropped oldest first when together they
exceed ``MAX_RETAINED_BYTES``.
"""

import zlib
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from tellstream.core.errors import RequestError, ServerError
from tellstream.eventlog.base import READ_BYTES, LogReader

MAX_RETAINED_BYTES: Final = 64 * 1024 * 1024
"""Of all finished logs together, packed: some 30,000 answers of average length."""
PACK_AT_ONCE: Final = 50
"""Logs packed in one sweep: about 5 ms of the loop's time."""


class _Log:
    """One stream's frames: a list while live or read, packed when finished and at rest."""

    __slots__ = ("dropped", "ended", "ended_at", "frames", "packed", "subscribers")

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.dropped = False
        self.ended = False
        self.ended_at = 0.0
        self.packed = b""
        self.subscribers: list[Callable[[], None]] = []

    def pack(self) -> None:
        """Compress the frames; consecutive events differ little, so about one tenth remains."""
        self.packed = zlib.compress(b"".join(self.frames), level=1)
        self.frames = []

    def all_frames(self) -> list[bytes]:
        """The frames, unpacked if need be."""
        if not self.packed:
            return self.frames
        # A frame ends with a blank line and holds none, so this is exact.
        return [part + b"\n\n" for part in zlib.decompress(self.packed).split(b"\n\n")[:-1]]


class MemoryReader:
    """A position in one log."""

    __slots__ = ("_frames", "_log", "_position", "_wake")

    def __init__(self, log: _Log, after: int) -> None:
        self._log = log
        self._frames = log.all_frames()
        self._position = after
        self._wake: Callable[[], None] | None = None

    @property
    def ended(self) -> bool:
        """Whether the log is closed and everything was read."""
        return self._log.ended and self._position >= len(self._frames)

    async def read(self) -> list[bytes]:
        """Return the next frames, at once; empty if there are none now."""
        frames = self._frames[self._position :]
        size = 0
        for number, frame in enumerate(frames):
            size += len(frame)
            if size > READ_BYTES and number:
                frames = frames[:number]
                break
        self._position += len(frames)
        return frames

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` after each append from now on."""
        self._wake = wake
        self._log.subscribers.append(wake)

    def close(self) -> None:
        """Forget the subscription."""
        if self._wake is not None:
            self._log.subscribers.remove(self._wake)
            self._wake = None


class MemoryEventLog:
    """All logs of this process.

    Args:
        retention: seconds that a finished log is kept.
        clock: monotonic seconds.
    """

    def __init__(self, retention: float, clock: Callable[[], float]) -> None:
        self._retention = retention
        self._clock = clock
        self._live: dict[str, _Log] = {}
        self._finished: OrderedDict[str, _Log] = OrderedDict()
        self._unpacked: deque[_Log] = deque()  # finished, not packed yet
        self._packed_bytes = 0

    async def create(self, stream_id: str) -> None:
        """Open an empty log."""
        if stream_id in self._live or stream_id in self._finished:
            raise ServerError("server_error", reason="the stream id exists")
        self._live[stream_id] = _Log()

    async def append(self, stream_id: str, first: int, frames: list[bytes], *, end: bool) -> None:
        """Append ``frames``, numbered from ``first``; ``end`` closes the log."""
        log = self._live.get(stream_id)
        if log is None:
            raise ServerError("server_error", reason="append to a log that is not open")
        if first != len(log.frames) + 1:
            raise ServerError("server_error", reason="append leaves a gap")
        log.frames += frames
        if end:
            log.ended = True
            log.ended_at = self._clock()
            self._finished[stream_id] = self._live.pop(stream_id)
            self._unpacked.append(log)
        for wake in tuple(log.subscribers):  # waking may unsubscribe
            wake()

    async def reader(self, stream_id: str, after: int = 0) -> LogReader:
        """Open a reader of the frames after sequence number ``after``."""
        log = self._live.get(stream_id) or self._finished.get(stream_id)
        if log is None:
            raise RequestError("not_found")
        reader = MemoryReader(log, after)
        if after > len(log.all_frames()):
            raise RequestError("conflict", "The position is beyond the end of the stream.")
        return reader

    def sweep(self) -> None:
        """Pack what is finished and unread, drop what is old or too much. Call now and then."""
        busy: list[_Log] = []
        for _ in range(min(len(self._unpacked), PACK_AT_ONCE)):
            log = self._unpacked.popleft()
            if log.subscribers:
                busy.append(log)
            elif not log.dropped:
                log.pack()
                self._packed_bytes += len(log.packed)
        self._unpacked.extend(busy)
        oldest_kept = self._clock() - self._retention
        while self._finished:
            stream_id, log = next(iter(self._finished.items()))
            full = self._packed_bytes > MAX_RETAINED_BYTES
            if log.ended_at >= oldest_kept and not full:
                break
            del self._finished[stream_id]
            log.dropped = True  # one that is still followed must not be packed and counted later
            self._packed_bytes -= len(log.packed)

    @property
    def live(self) -> int:
        """How many logs are open."""
        return len(self._live)
