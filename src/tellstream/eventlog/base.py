"""The contract of an event log, with its guarantees.

A log holds the native frames of each stream, in order: frame n of a stream has sequence number n,
counted from 1; and beside them the stream's record, which is opaque here. Guarantees that every
implementation gives:

- **Atomic**: the frames of one ``append`` become visible together or not at all, and the record
  that comes with them in the same moment.
- **Durable before visible**: a reader sees a frame only after it is as durable as this log makes
  it; when ``append`` returns, it is.
- **Gap-free**: ``append`` names the sequence number of its first frame; any other number than the
  next one is refused.
- **Ended once**: after the append with ``end=True`` every further append is refused.
- **One writer**: the right to append is a ``LogWriter``. ``claim`` hands it over and from then on
  every append of the former writer is refused, also one that was under way: each hand-over raises
  the stream's epoch, and an append counts only with the newest.
- **Never trimmed while live**: frames go only after the end, by retention or for want of space, and
  always a whole stream at once. The record outlives them for a while, as a tombstone.
- **Cancel-safe**: cancelling a task inside ``append`` does not tear the append; the call returns
  (with ``CancelledError``) only when the append has happened or has failed.

Readers pull; a slow reader costs nothing but its own position. ``subscribe`` only says "there is
more": a callback per append, never a queue.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from tellstream.core.errors import ServerError

MAX_STREAM_BYTES: Final = 4 * 1024 * 1024
MAX_STREAM_EVENTS: Final = 20_000
"""A stream that grows beyond either is ended with ``stream_too_large``; a model's longest answers
stay below half of both."""
READ_BYTES: Final = 64 * 1024
"""What one ``read`` returns at most (and at least one frame): a writer's high-water mark."""
TOMBSTONE_SECONDS: Final = 86_400.0
"""For which a stream's record outlives its frames: who comes back the next day is told that the
stream is gone, not that it never was."""


class StreamKey(NamedTuple):
    """Which stream. The tenant is part of every key, so that no mistake can cross tenants."""

    tenant: int
    stream_id: str


class Idempotency(NamedTuple):
    """A caller's name for one request.

    Attributes:
        name: digest of the key and of everything that scopes it (subject, route).
        body: digest of the request's body.
    """

    name: str
    body: str


class Taken(NamedTuple):
    """An idempotency name is in use: by which stream, and for which body."""

    stream_id: str
    body: str


class LogEntry(NamedTuple):
    """What a log knows of a stream apart from its frames.

    Attributes:
        record: the newest record given to ``create`` or ``append``.
        head: sequence number of the last frame.
        ended: whether the log is closed.
    """

    record: bytes
    head: int
    ended: bool


class LogUnavailableError(ServerError):
    """The log cannot be reached or written now; the same call may be made again."""

    def __init__(self, reason: str) -> None:
        super().__init__("service_unavailable", retry_after=1, reason=reason)


class FencedError(ServerError):
    """The right to append was handed over, or somebody else has ended the stream."""

    def __init__(self, reason: str) -> None:
        super().__init__("worker_lost", reason=reason)


class LogReader(Protocol):
    """One reader of one stream.

    Attributes:
        ended: the log is closed and everything was read.
    """

    @property
    def ended(self) -> bool:
        """Whether the log is closed and everything was read."""

    @property
    def behind(self) -> bool:
        """Whether there is more to read now."""

    async def read(self) -> list[bytes]:
        """Return the next frames, at once; empty if there are none now.

        Raises:
            LogUnavailableError: older frames cannot be fetched.
        """

    def take(self) -> list[bytes] | None:
        """Return the next frames if they are at hand, without waiting; None: they must be read."""

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` after each append from now on, also for those not read yet."""

    def close(self) -> None:
        """Forget the subscription. May be called again."""


class LogWriter(Protocol):
    """The right to append to one stream, until ``claim`` hands it to somebody else.

    Attributes:
        key: the stream.
        head: sequence number of the last frame that is known to be in the log.
    """

    @property
    def key(self) -> StreamKey:
        """The stream."""

    @property
    def head(self) -> int:
        """Sequence number of the last frame that is known to be in the log."""

    def begin(self, first: int, frames: list[bytes]) -> "asyncio.Future[None] | None":
        """Begin to append plain frames, as ``append``.

        Returns:
            None: they are in the log. Else what is done when they are, in bounded time; it cannot
            be cancelled, and has the errors of ``append``.
        """

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

        After a ``LogUnavailableError`` it is not known whether the frames are in the log, and
        ``head`` has not moved. The next append must begin with the very same frames, from the same
        ``first``, and may hold more: those that are there already are passed over.

        Args:
            first: must be ``head + 1``.
            frames: at least one.
            record: replaces the stream's record.
            end: closes the log.
            release: with ``end``: forget the stream's idempotency name.

        Raises:
            FencedError: the right was handed over, or the log is closed.
            LogUnavailableError: the log did not answer in time.
            ServerError: ``first`` is not the next number (a bug).
        """


class EventLog(Protocol):
    """Logs of many streams."""

    async def start(self, on_cancel: Callable[[StreamKey], None]) -> None:
        """Open the log.

        Args:
            on_cancel: called when another process asks to cancel a stream produced here.

        Raises:
            LogSetupError: it cannot be opened, or does not give the guarantees.
        """

    async def close(self) -> None:
        """Close the log, once nothing is appended or read any more."""

    async def create(
        self, key: StreamKey, record: bytes, idempotency: Idempotency | None = None
    ) -> LogWriter | Taken:
        """Open an empty log, unless the idempotency name is taken: then say by whom.

        Of any number of calls with one name, in any number of processes, exactly one opens a log.

        Raises:
            ServerError: the id exists.
            LogUnavailableError: the log did not answer in time.
        """

    async def taken(self, tenant: int, name: str) -> Taken | None:
        """Look an idempotency name up. It is kept at least as long as its stream's frames.

        Raises:
            LogUnavailableError: the log did not answer in time.
        """

    async def find(self, key: StreamKey) -> LogEntry | None:
        """Look a stream up; None if it is unknown, or was forgotten with its tombstone.

        Raises:
            LogUnavailableError: the log did not answer in time.
        """

    async def reader(self, key: StreamKey, after: int = 0) -> LogReader:
        """Open a reader of the frames after sequence number ``after``.

        Raises:
            RequestError: ``not_found``, there are no such frames (any more); ``conflict``,
                ``after`` is beyond their head.
            LogUnavailableError: the log did not answer in time.
        """

    async def orphans(self) -> list[StreamKey]:
        """Name streams that are open although their producer is gone; a portion at a time.

        Raises:
            LogUnavailableError: the log did not answer in time.
        """

    async def claim(self, key: StreamKey, *, force: bool = False) -> LogWriter | None:
        """Take over an open stream in order to end it.

        Of several claims of one orphan, one succeeds.

        Args:
            key: the stream.
            force: also when its producer is alive.

        Returns:
            The right to append, or None: the stream is unknown or closed, or its producer lives.

        Raises:
            LogUnavailableError: the log did not answer in time.
        """

    async def ask_cancel(self, key: StreamKey) -> None:
        """Tell the process that produces the stream to cancel it, if that is not this one.

        Raises:
            LogUnavailableError: the log did not answer in time.
        """

    async def followed(self, key: StreamKey) -> float | None:
        """Say how many seconds ago a reader in *another* process was last known to follow.

        None: never, or not within the last minutes.

        Raises:
            LogUnavailableError: the log did not answer in time.
        """


class LogSetupError(Exception):
    """The log cannot be used as it is set up; the message is one line and says what to do."""
