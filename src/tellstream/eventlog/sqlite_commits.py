"""Group commit: one thread writes, and each transaction takes all that was asked for meanwhile.

The queue and every decision belong to the event loop; the thread gets a batch, runs it as one
transaction and reports back. At most one batch is under way, so when the next one is put together
all earlier operations are applied.
"""

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from itertools import chain
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from tellstream.eventlog.base import LogUnavailableError
from tellstream.eventlog.sqlite_operations import FrameRow, Operation

GATHER_SECONDS: Final = 0.004
"""Between the beginnings of two transactions on average, if few operations wait: a transaction
costs about as much CPU as twenty appends."""
BURST_SECONDS: Final = 0.064
"""What a pause may save up: so many seconds' worth of transactions begin without waiting, which is
all of a short stream when there are few."""
GATHER_OPERATIONS: Final = 32
"""With so many waiting a transaction begins at once."""
BATCH_OPERATIONS: Final = 512
"""In one transaction. The rest waits for the next; the queue itself is bounded by its users, since
each stream has one writer, which waits for its append."""
STATEMENT_ROWS: Final = 128
"""Of frames, inserted by one statement: each statement makes the two threads hand the interpreter's
lock over twice, which under load takes longer than the work itself. The oldest SQLite allows 999
values, and a row has five."""

_INSERT: Final = "INSERT INTO frames (place, stream, first, count, data) VALUES "
_INSERTS: Final = [
    _INSERT + ", ".join(["(?, ?, ?, ?, ?)"] * rows) for rows in range(STATEMENT_ROWS + 1)
]
_Batch = list[Operation[Any]]
_Result = TypeVar("_Result")


class Commits:
    """The writer of one file.

    Args:
        open_connection: gives a connection; again after each failure, for one that has failed is
            not trusted any more.
        loop: the event loop, whose thread calls everything here.
        crowded: whether there are so many writers that it pays to let operations gather.

    Attributes:
        transactions: committed so far.
    """

    def __init__(
        self,
        open_connection: Callable[[], sqlite3.Connection],
        loop: asyncio.AbstractEventLoop,
        crowded: Callable[[], bool] = lambda: True,
    ) -> None:
        self.transactions = 0
        self._open = open_connection
        self._loop = loop
        self._crowded = crowded
        self._connection: sqlite3.Connection | None = None  # the thread's
        self._waiting: deque[Operation[Any]] = deque()
        self._under_way = False
        self._soon = False  # the next batch is put together in this turn of the loop
        self._timer: asyncio.Handle | None = None
        self._next = 0.0  # loop's time at which the next transaction is due
        self._closed = False
        self._stopped = False
        self._drained = asyncio.Event()
        self._batches: SimpleQueue[_Batch | None] = SimpleQueue()
        # A daemon: what is acknowledged is committed, so nothing is lost if the process ends
        # without close().
        self._thread = threading.Thread(target=self._work, name="eventlog-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def close(self) -> None:
        """Wait until all that was submitted is written, then stop the thread."""
        self._closed = True
        self._drained.clear()
        try:
            if self._under_way or self._waiting:
                await self._drained.wait()
        finally:
            self._stopped = True
            self._batches.put(None)
            self._thread.join()  # at most for the transaction under way

    def submit(self, operation: Operation[_Result]) -> Operation[_Result]:
        """Have an operation written, after those submitted before; wait for the result."""
        if self._closed:
            operation.set_exception(LogUnavailableError("the event log is closed"))
            return operation
        self._waiting.append(operation)
        if not self._under_way and not self._soon:
            self._schedule()
        return operation

    def _schedule(self) -> None:
        pause = self._next - self._loop.time()
        full = len(self._waiting) >= GATHER_OPERATIONS
        if pause <= 0 or full or self._closed or not self._crowded():
            self._soon = True
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_soon(self._begin)
        elif self._timer is None:
            self._timer = self._loop.call_later(pause, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._soon = False
        batch = self._admitted()
        if batch and self._stopped:  # close() was cancelled
            self._done(batch, RuntimeError("the event log is closed"))
        elif batch:
            self._under_way = True
            # An interval after this one was due. Those that many waiting operations brought forward
            # are not made up for: the next one is due an interval from now at the latest.
            now = self._loop.time()
            self._next = min(max(self._next, now - BURST_SECONDS), now) + GATHER_SECONDS
            self._batches.put(batch)
        else:
            self._drained.set()

    def _admitted(self) -> _Batch:
        """Take the next batch out of the queue."""
        waiting = self._waiting
        batch: _Batch = []
        while waiting and len(batch) < BATCH_OPERATIONS:
            operation = waiting[0]
            if operation.alone and batch:
                break
            del waiting[0]
            if operation.admit():
                batch.append(operation)
                if operation.alone:
                    break
        return batch

    def _done(self, batch: _Batch, error: Exception | None) -> None:
        self._under_way = False
        if error is None:
            self.transactions += 1
            for operation in batch:
                try:
                    operation.apply()
                except Exception as failure:  # noqa: BLE001 - of a subscriber: its writer is told
                    operation.set_exception(failure)
        else:
            for operation in batch:
                operation.fail(error)
        if self._waiting:
            self._schedule()
        else:
            self._drained.set()

    def _work(self) -> None:
        while (batch := self._batches.get()) is not None:
            error = self._commit(batch)
            try:
                self._loop.call_soon_threadsafe(self._done, batch, error)
            except RuntimeError:  # the loop was closed: nobody waits any more
                break
        self._disconnect()

    def _commit(self, batch: _Batch) -> Exception | None:
        try:
            if self._connection is None:
                self._connection = self._open()
            connection = self._connection
            rows = [operation.row for operation in batch if operation.row is not None]
            others = [operation for operation in batch if not operation.plain]
            if not others and len(rows) <= STATEMENT_ROWS:
                _insert(connection, rows)  # a statement is a transaction by itself
                return None
            connection.execute("BEGIN IMMEDIATE")
            for operation in others:
                operation.write(connection)
            for start in range(0, len(rows), STATEMENT_ROWS):
                _insert(connection, rows[start : start + STATEMENT_ROWS])
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - told to everybody in the batch
            self._disconnect()
            return error
        return None

    def _disconnect(self) -> None:
        """Close the connection, which rolls back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _insert(connection: sqlite3.Connection, rows: list[FrameRow]) -> None:
    connection.execute(_INSERTS[len(rows)], tuple(chain.from_iterable(rows)))
