"""Reading a SQLite event log: one thread with a connection of its own, so the loop never waits."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from tellstream.eventlog.base import READ_BYTES, LogSetupError, LogUnavailableError, StreamKey
from tellstream.eventlog.sqlite_streams import LiveStream, LiveStreams
from tellstream.eventlog.tail import Tail

_Result = TypeVar("_Result")


class Stored(NamedTuple):
    """A stream as it is in the file.

    Attributes:
        id: its number there.
        head: of a stream that has ended.
        ended_at: Unix seconds; None while it runs.
        places: packed; None while it runs and when the frames are gone.
    """

    id: int
    head: int
    ended_at: float | None
    record: bytes
    places: bytes | None


class Reads:
    """The reader of one file.

    Args:
        connection: used by the thread only.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="eventlog-reader")
        self._closed = False

    async def run(
        self,
        read: Callable[[sqlite3.Connection], _Result],
    ) -> _Result:
        """Call ``read`` with the connection, in the thread.

        Raises:
            LogUnavailableError: it cannot be read, or the log is closed.
        """
        if self._closed:
            raise LogUnavailableError("the event log is closed")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._executor, read, self._connection)
        except sqlite3.Error as error:
            raise LogUnavailableError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Stop the thread after what was asked for, and close the connection."""
        self._closed = True
        self._executor.shutdown()
        self._connection.close()


def find(connection: sqlite3.Connection, key: StreamKey) -> Stored | None:
    """Look a stream up."""
    row = connection.execute(
        "SELECT id, coalesce(head, 0), ended_at, record, places FROM streams"
        " WHERE tenant = ? AND stream = ?",
        key,
    ).fetchone()
    return None if row is None else Stored(*row)


def frames(
    connection: sqlite3.Connection, stream: int, places: list[int], after: int
) -> list[bytes]:
    """Return the frames after a sequence number: at least one, otherwise READ_BYTES at most.

    Args:
        connection: to the file.
        stream: its number in the file.
        places: of rows, from the one with the first frame on.
        after: the sequence number.

    Raises:
        LogUnavailableError: they are not there any more.
    """
    found: list[bytes] = []
    size = 0
    for place in places:
        row = connection.execute(
            "SELECT first, data FROM frames WHERE place = ? AND stream = ?", (place, stream)
        ).fetchone()
        if row is None:
            break
        first, data = row
        # A frame ends with a blank line and holds none, so this is exact.
        parts = data.split(b"\n\n")[:-1]
        for part in parts[max(0, after + 1 - first) :]:
            size += len(part) + 2
            if found and size > READ_BYTES:
                return found
            found.append(part + b"\n\n")
    if not found:
        raise LogUnavailableError("the frames were dropped while they were read")
    return found


def load(connection: sqlite3.Connection, path: Path) -> LiveStreams:
    """Restore what is known in memory, when a process takes the file over.

    Raises:
        LogSetupError: the frames of a stream are not gap-free.
        sqlite3.Error: the file is damaged, or cannot be read.
    """
    streams: dict[int, LiveStream] = {}
    for number, tenant, stream, epoch, record in connection.execute(
        "SELECT id, tenant, stream, epoch, record FROM streams"
        " WHERE dropped = 0 AND ended_at IS NULL"
    ):
        found = LiveStream(StreamKey(tenant, stream), number, epoch, record)
        found.owned = False
        streams[number] = found
    for place, number, first, count in connection.execute(
        "SELECT place, stream, first, count FROM frames WHERE place > ? ORDER BY place",
        (min(streams, default=2**62),),
    ):
        if number in streams:
            stream = streams[number]
            if first != stream.head + 1:
                raise LogSetupError(
                    f"event log {path} is damaged (stream {number}: frames are missing): restore "
                    "it, or move it away to begin an empty log"
                )
            stream.places.add(first, place)
            stream.head += count
    for stream in streams.values():
        stream.tail = Tail(stream.head)
    (place,) = connection.execute(
        "SELECT max((SELECT coalesce(max(place), 0) FROM frames),"
        " (SELECT coalesce(max(id), 0) FROM streams))"
    ).fetchone()
    return LiveStreams(list(streams.values()), place)
