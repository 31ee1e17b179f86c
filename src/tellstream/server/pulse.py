"""What a response waits for: new events, a moment in time, or the client's leaving."""

import asyncio

from tellstream.server.asgi import Receive
from tellstream.server.pipe import Pipe


class Pulse:
    """Wake-ups of one response. Start inside a running loop; ``close`` at the end.

    Args:
        receive: ASGI; tells that the client left,
        pipe: unless this does, which needs no task.

    One timer serves all waits: it is armed when none runs, and re-armed only when it fires before
    the moment that is waited for. So a wait costs no timer as long as events keep coming.

    Attributes:
        gone: whether the client left.
    """

    __slots__ = ("_loop", "_missed", "_pipe", "_timer", "_until", "_waiter", "_watcher", "gone")

    def __init__(self, receive: Receive, pipe: Pipe | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._missed = False  # woken while nobody waited: the next wait returns at once
        self._timer: asyncio.TimerHandle | None = None
        self._until: float | None = None
        self.gone = False
        self._pipe = pipe
        self._watcher: asyncio.Task[None] | None = None
        if pipe is None:
            self._watcher = self._loop.create_task(self._watch(receive))
        else:
            pipe.when_gone(self._leave)

    @property
    def waiting(self) -> bool:
        """Whether somebody waits, and was not woken yet."""
        return self._waiter is not None and not self._waiter.done()

    def wake(self) -> None:
        """End the current or the next wait."""
        waiter = self._waiter
        if waiter is None:
            self._missed = True
        elif not waiter.done():
            waiter.set_result(None)

    async def wait(self, until: float | None = None) -> None:
        """Wait for a wake-up, at most until the loop time ``until``.

        ``until`` must not lie before that of an earlier wait.
        """
        if self._missed:
            self._missed = False
            return
        self._waiter = self._loop.create_future()
        self._until = until
        if until is not None and self._timer is None:
            self._timer = self._loop.call_at(until, self._tick)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def close(self) -> None:
        """Stop watching the client."""
        if self._watcher is not None:
            self._watcher.cancel()
        if self._pipe is not None:
            self._pipe.when_gone(None)
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self._timer = None
        if self._waiter is None or self._until is None:
            return
        if self._loop.time() < self._until:
            self._timer = self._loop.call_at(self._until, self._tick)
        else:
            self.wake()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        self.gone = True
        self.wake()
