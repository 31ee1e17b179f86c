"""The addresses of providers' names, remembered for a moment.

Streams begin in bursts, and each new connection needs the same few addresses, while the system's
look-up is a thread and often a round trip. Calls that ask together ask once. A failure is not
remembered.
"""

import asyncio
import socket
from functools import partial
from typing import Any, Final

REMEMBER_SECONDS: Final = 10.0
"""For which addresses count; a provider that moves is found again before a breaker has opened."""


class Names:
    """What was looked up, and what is being looked up. Make it inside a running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._asked: dict[tuple[str, int], asyncio.Task[list[Any]]] = {}

    async def look_up(self, host: str, port: int) -> list[Any]:
        """Give the addresses of a name, as ``getaddrinfo`` does.

        Raises:
            OSError: it has none, or nobody knows.
            UnicodeError: it is no name.
        """
        key = (host, port)
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = self._loop.create_task(self._ask(host, port))
            task.add_done_callback(partial(self._answered, key))
        if not task.done():
            await asyncio.wait({task})  # who gives up does not take it from the others
        if task.cancelled():
            raise OSError("closed while a name was looked up")
        return task.result()

    async def close(self) -> None:
        """Forget everything, and stop asking."""
        tasks = tuple(self._asked.values())
        self._asked.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, host: str, port: int) -> list[Any]:
        return await self._loop.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )

    def _answered(self, key: tuple[str, int], task: asyncio.Task[list[Any]]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._forget(key, task)
        else:
            self._loop.call_later(REMEMBER_SECONDS, self._forget, key, task)

    def _forget(self, key: tuple[str, int], task: asyncio.Task[list[Any]]) -> None:
        if self._asked.get(key) is task:
            del self._asked[key]
