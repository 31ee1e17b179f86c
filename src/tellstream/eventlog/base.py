"""The contract of an event log, with its guarantees.

A log holds the native frames of each stream, in order: frame n of a stream has sequence number n,
counted from 1. Guarantees that every implementation gives:

- **Atomic**: the frames of one ``append`` become visible together or not at all.
- **Durable before visible**: a reader sees a frame only after it is as durable as this log makes
  it; when ``append`` returns, it is.
- **Gap-free**: ``append`` names the sequence number of its first frame; any other number than the
  next one is refused.
- **Ended once**: after the append with ``end=True`` every further append is refused.
- **Never trimmed while live**: frames go only after the end, by retention or for want of space, and
  always a whole stream at once.

Readers pull; a slow reader costs nothing but its own position. ``subscribe`` only says "there is
more": a callback per append, never a queue.
"""

from collections.abc import Callable
from typing import Final, Protocol

MAX_STREAM_BYTES: Final = 4 * 1024 * 1024
MAX_STREAM_EVENTS: Final = 20_000
"""A stream that grows beyond either is ended with ``stream_too_large``; a model's longest answers
stay below half of both."""
READ_BYTES: Final = 64 * 1024
"""What one ``read`` returns at most (and at least one frame): a writer's high-water mark."""


class LogReader(Protocol):
    """One reader of one stream.

    Attributes:
        ended: the log is closed and everything was read.
    """

    @property
    def ended(self) -> bool:
        """Whether the log is closed and everything was read."""

    async def read(self) -> list[bytes]:
        """Return the next frames, at once; empty if there are none now."""

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` after each append from now on, also for those not read yet."""

    def close(self) -> None:
        """Forget the subscription."""


class EventLog(Protocol):
    """Logs of many streams."""

    async def create(self, stream_id: str) -> None:
        """Open an empty log.

        Raises:
            ServerError: the id exists.
        """

    async def append(self, stream_id: str, first: int, frames: list[bytes], *, end: bool) -> None:
        """Append ``frames``, numbered from ``first``; ``end`` closes the log.

        Raises:
            ServerError: the log is unknown or closed, or ``first`` is not the next number.
        """

    async def reader(self, stream_id: str, after: int = 0) -> LogReader:
        """Open a reader of the frames after sequence number ``after``.

        Raises:
            RequestError: ``not_found``, there is no such log; ``conflict``, ``after`` is beyond
                its head.
        """
