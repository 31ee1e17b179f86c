"""Group commit: what many tasks write meanwhile is written together, by one thread.

While the thread writes, entries gather; the next write takes all of them. One entry that the
database refuses does not spoil the others: they are then written one by one.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

from tellstream.core.errors import ServerError
from tellstream.storage.base import LedgerUnavailableError
from tellstream.storage.outcome import Outcome

MAX_PENDING: Final = 10_000
"""Entries that wait to be written; a second's work, and 10 MB. More are refused at once."""
GROUP_SECONDS: Final = 0.008
"""At most this long, from the beginning of one write to that of the next, entries gather: a write
costs as much as five more rows in it would. The first entry after a rest waits for nothing."""
REST: Final = 10
"""They gather for so many times what the last write took, if that is less: the more there is to do
the larger the groups, and the thread is busy for a tenth of the time, or has large groups."""

_Entry = TypeVar("_Entry")
_Result = TypeVar("_Result")


class GroupCommit(Generic[_Entry, _Result]):
    """Writes entries in groups.

    Args:
        write: writes a group and returns a result or an error for each entry; runs in the thread.
        translate: makes the error that a caller sees of one that ``write`` raised.
        stopped: called in the thread when nothing will be written any more.
    """

    def __init__(
        self,
        write: Callable[[list[_Entry]], list[_Result | ServerError]],
        translate: Callable[[Exception], ServerError],
        stopped: Callable[[], None],
    ) -> None:
        self._write = write
        self._translate = translate
        self._stopped = stopped
        self._queue: SimpleQueue[tuple[_Entry, Outcome[_Result], bool] | None] = SimpleQueue()
        self._pending = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: Outcome[None] | None = None

    def start(self) -> None:
        """Start the thread, for the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._over = Outcome(loop=self._loop)
        # A daemon: a process that dies without closing must not hang on this.
        threading.Thread(target=self._run, name="tellstream-ledger", daemon=True).start()

    def submit(self, entry: _Entry, *, at_once: bool = False) -> "asyncio.Future[Any]":
        """Write ``entry``.

        Args:
            entry: what to write.
            at_once: there is nobody with whom it could be written together.

        Returns:
            What to await: it is done when the entry is written, also if the task is cancelled
            meanwhile.

        Raises:
            LedgerUnavailableError: it could not be written, or too many wait already.
            ServerError: the database refused it.
        """
        if self._loop is None:
            raise LedgerUnavailableError("the ledger is not open")
        if self._pending >= MAX_PENDING:
            raise LedgerUnavailableError(f"{MAX_PENDING} entries wait to be written")
        future: Outcome[_Result] = Outcome(loop=self._loop)
        self._pending += 1
        self._queue.put((entry, future, at_once))
        return future

    async def close(self) -> None:
        """Write what waits, then stop. May be called again, and if it was never started."""
        if self._over is None:
            return
        if self._loop is not None:
            self._loop = None
            self._queue.put(None)
        await self._over

    def _run(self) -> None:
        """Write until the end is asked for; the only code here that runs in the thread."""
        loop, over = self._loop, self._over
        assert loop is not None
        assert over is not None
        next_at = 0.0
        last = False
        while not last:
            waiting = self._queue.get()
            pause = next_at - time.monotonic()
            if pause > 0 and waiting is not None and not waiting[2]:
                time.sleep(pause)
            began = time.monotonic()
            group = []
            while waiting is not None:
                group.append(waiting)
                if self._queue.empty():
                    break
                waiting = self._queue.get()
            last = waiting is None
            if group:
                _call(loop, self._deliver, group, self._results([entry for entry, *_ in group]))
            next_at = began + min(GROUP_SECONDS, REST * (time.monotonic() - began))
        try:
            self._stopped()
        finally:
            _call(loop, _finish, over)

    def _results(self, entries: list[_Entry]) -> list[_Result | ServerError]:
        try:
            return self._write(entries)
        except Exception as error:  # noqa: BLE001 - each caller gets it, translated
            failure = self._translate(error)
            if len(entries) == 1:
                return [failure]
            if isinstance(failure, LedgerUnavailableError):
                # An error of its own for each: raising one adds to it.
                return [self._translate(error) for _ in entries]
        return [result for entry in entries for result in self._results([entry])]

    def _deliver(
        self,
        group: list[tuple[_Entry, "Outcome[_Result]", bool]],
        results: list[_Result | ServerError],
    ) -> None:
        self._pending -= len(group)
        for (_, future, _), result in zip(group, results, strict=True):
            if isinstance(result, ServerError):
                future.set_exception(result)
            else:
                future.set_result(result)


def _finish(over: "Outcome[None]") -> None:
    over.set_result(None)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *values: object) -> None:
    try:
        loop.call_soon_threadsafe(function, *values)
    except RuntimeError:
        if not loop.is_closed():  # else nobody waits any more
            raise
