"""What is written to a SQLite event log, one class each; what is deleted: ``sqlite_sweep.py``.

An operation is decided, written and applied in three steps: ``admit`` on the loop, in its turn,
when all earlier ones are applied; ``write`` in the writer's thread, inside a transaction; ``apply``
on the loop again, after the commit. Nothing in memory changes before ``apply``.
"""

import asyncio
import sqlite3
from abc import abstractmethod
from typing import Any, ClassVar, TypeAlias, TypeVar

from tellstream.core.errors import ServerError
from tellstream.eventlog.base import (
    FencedError,
    Idempotency,
    LogUnavailableError,
    StreamKey,
    Taken,
)
from tellstream.eventlog.sqlite_streams import LiveStream, LiveStreams

FrameRow: TypeAlias = tuple[int, int, int, int, bytes]
"""Of the table ``frames``: place, stream, first, count, data."""
_Result = TypeVar("_Result")


class Operation(asyncio.Future[_Result]):
    """Something to write, and the future of its own outcome.

    It cannot be cancelled, for others may see what it does. A task that waits for it and is
    cancelled waits on, and has its CancelledError when the outcome is there; that takes one
    transaction at most.

    Attributes:
        alone: whether it has a transaction for itself.
        plain: whether ``row`` is all there is to write.
        row: a row of frames that goes in with it.
    """

    __slots__ = ()
    alone: ClassVar[bool] = False
    plain: ClassVar[bool] = False
    row: FrameRow | None = None

    def cancel(self, msg: Any | None = None) -> bool:
        """Refuse, so that the waiting task keeps its cancellation for later."""
        del msg
        return False

    def admit(self) -> bool:
        """Say whether there is something to write; if not, the outcome is set."""
        return True

    def write(self, connection: sqlite3.Connection) -> None:
        """Write all but ``row``."""

    @abstractmethod  # for the type checker: a Future takes no other metaclass
    def apply(self) -> None:
        """Note in memory what was committed, and set the outcome."""

    def fail(self, error: Exception) -> None:
        """Set the outcome of a transaction that was rolled back."""
        failure = LogUnavailableError(f"{type(error).__name__}: {error}")
        failure.__cause__ = error
        self.set_exception(failure)


class Append(Operation[None]):
    """Frames of one stream, and nothing else: made once for every delta, so it carries little.

    Args:
        stream: as its writer found it.
        place: where the frames go.
        frames: those after the head.
        loop: of the outcome.
    """

    __slots__ = ("_epoch", "_frames", "_stream", "row")
    plain = True
    row: FrameRow

    def __init__(
        self,
        stream: LiveStream,
        place: int,
        frames: list[bytes],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(loop=loop)
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        self.row = (place, stream.id, stream.head + 1, len(frames), data)
        self._stream = stream
        self._epoch = stream.epoch
        self._frames = frames

    def admit(self) -> bool:
        """Refuse if the right to append was handed over since ``append`` was called."""
        if self._epoch == self._stream.epoch:
            return True
        self.set_exception(FencedError("the stream was taken over"))
        return False

    def apply(self) -> None:
        """Show the frames to the readers."""
        self._show(end=False)

    def _show(self, *, end: bool) -> None:
        stream = self._stream
        place, _, first, count, _ = self.row
        stream.head += count
        stream.places.add(first, place)
        stream.tail.extend(self._frames, end=end)
        self.set_result(None)


class Change(Append):
    """Frames with which the stream's record changes, or which are its last.

    Args:
        live: where the stream is.
        record: the new record, or None.
        ended_at: Unix seconds of the end, or None.
        release: at the end, forget the idempotency name.
    """

    __slots__ = ("_ended_at", "_live", "_record", "_release")
    plain = False

    def __init__(
        self,
        stream: LiveStream,
        place: int,
        frames: list[bytes],
        loop: asyncio.AbstractEventLoop,
        live: LiveStreams,
        record: bytes | None,
        ended_at: float | None,
        *,
        release: bool,
    ) -> None:
        super().__init__(stream, place, frames, loop)
        self._live = live
        self._record = record
        self._ended_at = ended_at
        self._release = release

    def write(self, connection: sqlite3.Connection) -> None:
        """Write the record and the end."""
        place, stream, first, count, _ = self.row
        if self._record is not None:
            connection.execute("UPDATE streams SET record = ? WHERE id = ?", (self._record, stream))
        if self._ended_at is not None:
            # In the thread, but nothing else touches the places while this is under way.
            places = self._stream.places.pack(first, place)
            connection.execute(
                "UPDATE streams SET ended_at = ?, head = ?, places = ? WHERE id = ?",
                (self._ended_at, first + count - 1, places, stream),
            )
            if self._release:
                connection.execute(
                    "UPDATE streams SET name = NULL, body = NULL WHERE id = ?", (stream,)
                )

    def apply(self) -> None:
        """Note the change, and show the frames to the readers."""
        if self._record is not None:
            self._stream.record = self._record
        end = self._ended_at is not None
        if end:
            self._live.end(self._stream)
        self._show(end=end)


class Create(Operation[LiveStream | Taken]):
    """A new stream, unless its idempotency name is taken."""

    __slots__ = ("_found", "_live", "_name", "_stream")

    def __init__(
        self,
        live: LiveStreams,
        key: StreamKey,
        record: bytes,
        name: Idempotency | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(loop=loop)
        self._live = live
        self._stream = LiveStream(key, live.next_place(), 1, record)
        self._name = name
        self._found: Taken | ServerError | None = None

    def write(self, connection: sqlite3.Connection) -> None:
        """Insert the stream, if neither its name nor its id is there."""
        stream, name = self._stream, self._name or (None, None)
        tenant, stream_id = stream.key
        self._found = None if self._name is None else taken(connection, tenant, self._name.name)
        if self._found is None:
            done = connection.execute(
                "INSERT INTO streams (id, tenant, stream, epoch, name, body, record)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, stream) DO NOTHING",
                (stream.id, tenant, stream_id, stream.epoch, *name, stream.record),
            )
            if done.rowcount == 0:
                self._found = ServerError("server_error", reason="the stream id exists")

    def apply(self) -> None:
        """Take the stream among the running ones."""
        found = self._found
        if isinstance(found, ServerError):
            self.set_exception(found)
        elif found is not None:
            self.set_result(found)
        else:
            self._live.add(self._stream)
            self.set_result(self._stream)


class Claim(Operation[LiveStream | None]):
    """The hand-over of the right to append.

    Alone in its transaction: what was appended before is applied when its turn comes, and what
    comes after is admitted, or refused, when this is applied.
    """

    __slots__ = ("_force", "_live", "_stream")
    alone = True

    def __init__(
        self,
        live: LiveStreams,
        stream: LiveStream,
        *,
        force: bool,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(loop=loop)
        self._live = live
        self._stream = stream
        self._force = force

    def admit(self) -> bool:
        """Refuse if the stream has ended, or is somebody's."""
        if self._stream.ended or (self._stream.owned and not self._force):
            self.set_result(None)
            return False
        return True

    def write(self, connection: sqlite3.Connection) -> None:
        """Raise the epoch."""
        connection.execute(
            "UPDATE streams SET epoch = ? WHERE id = ?", (self._stream.epoch + 1, self._stream.id)
        )

    def apply(self) -> None:
        """Raise the epoch in memory too: from here on the former writer is refused."""
        self._stream.epoch += 1
        self._live.own(self._stream)
        self.set_result(self._stream)


def taken(connection: sqlite3.Connection, tenant: int, name: str) -> Taken | None:
    """Look an idempotency name up."""
    row = connection.execute(
        "SELECT stream, body FROM streams WHERE tenant = ? AND name = ?", (tenant, name)
    ).fetchone()
    return None if row is None else Taken(*row)
