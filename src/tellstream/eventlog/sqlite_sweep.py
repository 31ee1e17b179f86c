"""Retention: what a SQLite event log deletes, and when."""

import asyncio
import sqlite3
from typing import Final

from tellstream.eventlog.base import TOMBSTONE_SECONDS
from tellstream.eventlog.sqlite_operations import Operation

SWEEP_STREAMS: Final = 64
"""Whose frames, or tombstones, one sweep takes."""
SWEEP_ROWS: Final = 2000
"""Of frames that one sweep deletes: about 2 ms, for which appends wait."""


class Sweep(Operation[bool]):
    """Drop a portion of what was kept long enough; the outcome is whether there may be more.

    The pages of deleted rows are used again for new ones, so the file stays as large as it ever had
    to be. Giving space back to the system would move pages about, which costs more than it is
    worth in a file that fills again.

    Args:
        oldest: Unix seconds; streams that ended before are dropped.
    """

    __slots__ = ("_more", "_oldest")
    alone = True

    def __init__(self, oldest: float, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._oldest = oldest
        self._more = False

    def write(self, connection: sqlite3.Connection) -> None:
        """Delete: a stream's frames all at once, by forgetting where they are."""
        dropped = connection.execute(
            "UPDATE streams SET dropped = 1, name = NULL, body = NULL, places = NULL WHERE id IN"
            " (SELECT id FROM streams WHERE dropped = 0 AND ended_at < ? LIMIT ?)",
            (self._oldest, SWEEP_STREAMS),
        ).rowcount
        forgotten = connection.execute(
            "DELETE FROM streams WHERE id IN"
            " (SELECT id FROM streams WHERE dropped = 1 AND ended_at < ? LIMIT ?)",
            (self._oldest - TOMBSTONE_SECONDS, SWEEP_STREAMS),
        ).rowcount
        self._more = SWEEP_STREAMS in (dropped, forgotten)
        self._free(connection)

    def apply(self) -> None:
        """Tell the outcome."""
        self.set_result(self._more)

    def _free(self, connection: sqlite3.Connection) -> None:
        """Delete rows that lie before all that is still needed.

        So those of dropped streams wait until all older streams are dropped: as long as a stream
        can run. It is the price of rows in the order of their arrival, and deleting from one end is
        cheap.
        """
        (first,) = connection.execute("SELECT min(place) FROM frames").fetchone()
        needed = connection.execute(
            "SELECT id FROM streams INDEXED BY streams_kept WHERE dropped = 0 ORDER BY id LIMIT 1"
        ).fetchone()
        if first is None or (needed is not None and first >= needed[0]):
            return
        end = first + SWEEP_ROWS
        if needed is None or end < needed[0]:
            self._more = True
        else:
            end = needed[0]
        connection.execute("DELETE FROM frames WHERE place < ?", (end,))
