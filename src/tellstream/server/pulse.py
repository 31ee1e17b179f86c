"""What a response waits for: new events, a moment in time, or the client's leaving."""

import asyncio

from tellstream.server.asgi import Receive


class Pulse:
    """Wake-ups of one response. Start inside a running loop; ``close`` at the end.

    Attributes:
        gone: whether the client left.
    """

    __slots__ = ("_loop", "_missed", "_waiter", "_watcher", "gone")

    def __init__(self, receive: Receive) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._missed = False  # woken while nobody waited: the next wait returns at once
        self.gone = False
        self._watcher = self._loop.create_task(self._watch(receive))

    def wake(self) -> None:
        """End the current or the next wait."""
        waiter = self._waiter
        if waiter is None:
            self._missed = True
        elif not waiter.done():
            waiter.set_result(None)

    async def wait(self, until: float | None = None) -> None:
        """Wait for a wake-up, at most until the loop time ``until``."""
        if self._missed:
            self._missed = False
            return
        self._waiter = self._loop.create_future()
        timer = None if until is None else self._loop.call_at(until, self.wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def close(self) -> None:
        """Stop watching the client."""
        self._watcher.cancel()

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self.wake()
