"""The newest frames of one stream, kept in this process and shared by all its readers here.

A tail is a window that ends at the head of the log. Readers that keep up are served from it without
touching the store; one that fell behind, or starts early, fetches older frames until it is within
the window again. So memory is bounded per stream, not per reader.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar

from tellstream.eventlog.base import READ_BYTES

WINDOW_BYTES: Final = 256 * 1024
"""Kept of a stream that runs: several seconds of the fastest model, a whole answer of most."""

Load: TypeAlias = Callable[[int], Awaitable[list[bytes]]]
"""Fetch the frames after a sequence number from the store: at least one, about READ_BYTES."""
_Value = TypeVar("_Value")


class Tail:
    """A window on one stream.

    Args:
        base: sequence number of the frame before the window.
        window: bytes to keep; None keeps everything.

    Attributes:
        ended: no frame will follow.
        subscribers: called after each append.
    """

    __slots__ = ("_base", "_frames", "_size", "_window", "ended", "subscribers")

    def __init__(self, base: int = 0, window: int | None = WINDOW_BYTES) -> None:
        self._base = base
        self._frames: list[bytes] = []
        self._size = 0
        self._window = window
        self.ended = False
        self.subscribers: list[Callable[[], None]] = []

    @property
    def head(self) -> int:
        """Sequence number of the last frame."""
        return self._base + len(self._frames)

    @property
    def frames(self) -> list[bytes]:
        """What the window holds; not to be changed."""
        return self._frames

    def extend(self, frames: list[bytes], *, end: bool) -> None:
        """Take frames that are in the log now, and wake the readers."""
        self._frames += frames
        if self._window is not None:
            self._size += sum(map(len, frames))
            if self._size > 2 * self._window:  # cut half at a time, not a frame at a time
                self._trim(self._window)
        self.ended = self.ended or end
        for wake in tuple(self.subscribers):  # waking may unsubscribe
            wake()

    def since(self, position: int) -> list[bytes] | None:
        """Return frames after ``position``, READ_BYTES at most; None if they left the window."""
        start = position - self._base
        if start < 0:
            return None
        frames = self._frames[start:]
        if len(frames) > 1:
            size = 0
            for number, frame in enumerate(frames):
                size += len(frame)
                if size > READ_BYTES and number:
                    return frames[:number]
        return frames

    def _trim(self, keep: int) -> None:
        drop = 0
        while self._size > keep and drop < len(self._frames) - 1:
            self._size -= len(self._frames[drop])
            drop += 1
        del self._frames[:drop]
        self._base += drop


class TailReader:
    """A position in a stream that is read through its tail.

    Args:
        tail: shared with other readers.
        after: sequence number of the last frame that the reader has.
        load: fetches what is no longer in the window.
        left: called once, when the reader is closed.
    """

    __slots__ = ("_left", "_load", "_position", "_tail", "_wake")

    def __init__(
        self, tail: Tail, after: int, load: Load, left: Callable[[], None] | None = None
    ) -> None:
        self._tail = tail
        self._position = after
        self._load = load
        self._left = left
        self._wake: Callable[[], None] | None = None

    @property
    def ended(self) -> bool:
        """Whether the log is closed and everything was read."""
        return self._tail.ended and self._position >= self._tail.head

    @property
    def behind(self) -> bool:
        """Whether there is more to read now."""
        return self._position < self._tail.head

    async def read(self) -> list[bytes]:
        """Return the next frames, at once; empty if there are none now."""
        frames = self.take()
        if frames is None:
            frames = await self._load(self._position)
            self._position += len(frames)
        return frames

    def take(self) -> list[bytes] | None:
        """Return the next frames if they are at hand, without waiting; None: they must be read."""
        frames = self._tail.since(self._position)
        if frames is not None:
            self._position += len(frames)
        return frames

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` after each append from now on."""
        self._wake = wake
        self._tail.subscribers.append(wake)

    def close(self) -> None:
        """Forget the subscription. May be called again."""
        if self._wake is not None:
            self._tail.subscribers.remove(self._wake)
            self._wake = None
        if self._left is not None:
            left, self._left = self._left, None
            left()


async def outcome(future: "asyncio.Future[_Value]") -> _Value:
    """Wait for ``future`` to its end even when the waiting task is cancelled meanwhile.

    For work that goes on regardless, such as an append that others already see: the cancellation is
    raised afterwards. Whoever completes the future must do so in bounded time.

    Raises:
        CancelledError: the task was cancelled while waiting.
    """
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception:  # noqa: BLE001 - raised by result() below
            break
    if cancelled is not None:
        future.exception()  # seen: not reported as never retrieved
        raise cancelled
    return future.result()
