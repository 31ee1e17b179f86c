"""Appends to the logs in Redis: fenced, and many streams' together in one call of one script."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from redis.exceptions import ResponseError

from tellstream.core.errors import ServerError
from tellstream.eventlog.base import TOMBSTONE_SECONDS, FencedError, StreamKey
from tellstream.eventlog.redis_append_script import APPEND, END, RECORD, REFUSALS, RELEASE
from tellstream.eventlog.redis_keys import log_key, meta_key
from tellstream.eventlog.redis_link import Link, pack
from tellstream.eventlog.redis_rounds import Rounds

LIVE_SECONDS: Final = 2 * 86_400.0
"""For which a running stream's keys outlive its last append: only what nobody ends, because every
worker is gone for good, ever expires so. Renewed by appends."""
MAX_APPENDS: Final = 128
"""In one call: Redis does nothing else for about a millisecond."""
LINGER_SECONDS: Final = 0.002
"""Between two calls under load: an exchange costs the time of several appends."""


class RedisWriter:
    """The right to append to one stream.

    Args:
        appends: carries them to Redis.
        key: the stream.
        epoch: of this right.
        head: sequence number of the last frame.
    """

    __slots__ = ("__weakref__", "_appends", "busy", "epoch", "head", "key", "names", "over")

    def __init__(self, appends: "Appends", key: StreamKey, epoch: int, head: int) -> None:
        self.key = key
        self.epoch = epoch
        self.head = head
        self.over = ""  # why there can be no further append
        self.names = (log_key(key), meta_key(key))
        self._appends = appends
        self.busy = False  # an append is under way

    async def append(
        self,
        first: int,
        frames: list[bytes],
        *,
        record: bytes | None = None,
        end: bool = False,
        release: bool = False,
    ) -> None:
        """Append ``frames``, numbered from ``first``; see the contract."""
        flags = (END if end else 0) | (RELEASE if release else 0)
        await self._begin(first, frames, record, flags)

    def begin(self, first: int, frames: list[bytes]) -> "asyncio.Future[None]":
        """Begin to append plain ``frames``."""
        return self._begin(first, frames, None, 0)

    def _begin(
        self, first: int, frames: list[bytes], record: bytes | None, flags: int
    ) -> "_Append":
        if self.over:
            raise FencedError(self.over)
        if first != self.head + 1 or self.busy:
            raise ServerError("server_error", reason="append is not the next")
        self.busy = True
        return self._appends.begin(self, first, frames, record, flags)


Appended: TypeAlias = Callable[[RedisWriter, int, list[bytes], bool], None]
"""Told of frames that are in the log now: writer, number of the first, frames, end of the log."""


class _Append(asyncio.Future[None]):
    """One append under way, and the future of its outcome.

    It cannot be cancelled: it is wanted to its end, also by a task that is cancelled meanwhile.
    """

    wanted = True

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        writer: RedisWriter,
        first: int,
        frames: list[bytes],
        record: bytes | None,
        flags: int,
    ) -> None:
        super().__init__(loop=loop)
        self.size = sum(map(len, frames)) + len(record or b"")
        self.since = 0.0
        self.writer = writer
        self.first = first
        self.frames = frames
        self.record = record
        self.flags = flags

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for an answer."""
        return not self.done()

    def cancel(self, msg: Any | None = None) -> bool:
        """Refuse, so that the waiting task keeps its cancellation for later."""
        del msg
        return False

    def fail(self, error: Exception) -> None:
        """Hand a failure over."""
        if not self.done():
            self.writer.busy = False
            self.set_exception(error)

    def succeed(self) -> None:
        """Let who waits go on."""
        if not self.done():
            self.writer.busy = False
            self.set_result(None)


class Appends(Rounds[_Append]):
    """The appends of this process.

    Args:
        links: used by nobody else.
        retention: seconds that a finished log is kept.
        appended: called when frames are in the log.
        fenced: called when a writer is told that it has no right any more.
    """

    def __init__(
        self,
        links: list[Link],
        retention: float,
        appended: Appended,
        fenced: Callable[[RedisWriter], None],
    ) -> None:
        super().__init__(links, MAX_APPENDS, LINGER_SECONDS)
        self._lifetimes = (
            int(retention * 1000),
            int((retention + TOMBSTONE_SECONDS) * 1000),
            int(LIVE_SECONDS * 1000),
        )
        self._appended = appended
        self._fenced = fenced

    def begin(
        self, writer: RedisWriter, first: int, frames: list[bytes], record: bytes | None, flags: int
    ) -> _Append:
        """Begin one append."""
        if record is not None:
            flags |= RECORD
        loop = asyncio.get_running_loop()
        request = _Append(loop, writer, first, frames, record, flags)
        self.put(request)
        return request

    def pack(self, requests: list[_Append]) -> tuple[bytes, int]:
        """Return the one command, packed, and that it gets one reply."""
        words: list[Any] = ["EVALSHA", APPEND.sha, 2 * len(requests)]
        for request in requests:
            words += request.writer.names
        words += self._lifetimes
        for request in requests:
            frames = request.frames
            words += (request.writer.epoch, request.first, request.flags, len(frames))
            if request.record is not None:
                words.append(request.record)
            words += frames
        return pack(words), 1

    def settle(self, requests: list[_Append], replies: list[Any]) -> str | None:
        """Tell of each append whether it counted."""
        reply = replies[0]
        if isinstance(reply, ResponseError):
            return f"Redis refused: {reply}"
        for request, status in zip(requests, reply, strict=True):
            writer = request.writer
            if status < 0:
                writer.over = REFUSALS[status]
                self._fenced(writer)
                request.fail(FencedError(writer.over))
                continue
            ended = bool(request.flags & END)
            writer.head = request.first + len(request.frames) - 1
            if ended:
                writer.over = "the stream has ended"
            self._appended(writer, request.first, request.frames, ended)
            request.succeed()
        return None
