"""Connections to providers, kept open for the next call.

Opens with Happy Eyeballs (RFC 8305) and verifies certificates against the system's authorities.
Never uses proxies from the environment.
"""

import asyncio
import socket
import ssl
from collections import deque
from typing import Final, NamedTuple

import aiohappyeyeballs

from tellstream.providers.exchange import Connection

MAX_CONNECTIONS: Final = 10_000
"""Of one process; calls beyond it wait for the connect timer."""
MAX_IDLE: Final = 256
"""Kept per origin; more are closed after use."""
IDLE_SECONDS: Final = 15.0
"""For which a connection is kept: less than providers' own limits, which are a minute or more."""
NEXT_ADDRESS_SECONDS: Final = 0.25
"""After which the next address of a name is tried as well (RFC 8305, section 8)."""


class Origin(NamedTuple):
    """Where a connection leads."""

    host: str
    port: int
    tls: bool


class Pool:
    """The connections of one process. Make it inside a running loop, close it at the end."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle: dict[Origin, deque[tuple[Connection, asyncio.TimerHandle]]] = {}
        self._open: set[Connection] = set()
        self._room = asyncio.Semaphore(MAX_CONNECTIONS)
        self._tls: ssl.SSLContext | None = None

    async def acquire(self, origin: Origin) -> Connection:
        """Give an idle connection or open one; bound this by a timeout.

        Raises:
            OSError: it cannot be opened; TLS failures too.
        """
        idle = self._idle.get(origin)
        while idle:
            connection, timer = idle.pop()  # the one used last is the one most surely alive
            timer.cancel()
            if not connection.closed:
                return connection
            self._forget(connection)
        await self._room.acquire()
        try:
            connection = await self._connect(origin)
        except BaseException:
            self._room.release()
            raise
        self._open.add(connection)
        return connection

    def release(self, origin: Origin, connection: Connection) -> None:
        """Take a connection back: to be used again if that is possible."""
        idle = self._idle.setdefault(origin, deque())
        if not connection.reusable() or len(idle) >= MAX_IDLE:
            connection.close()
            self._forget(connection)
            return
        timer = self._loop.call_later(IDLE_SECONDS, self._expire, origin, connection)
        idle.append((connection, timer))

    async def close(self) -> None:
        """Close all connections."""
        for idle in self._idle.values():
            for _, timer in idle:
                timer.cancel()
        self._idle.clear()
        for connection in self._open:
            connection.close()
        self._open.clear()
        await asyncio.sleep(0)  # the transports close in the loop's next round

    async def _connect(self, origin: Origin) -> Connection:
        addresses = await self._loop.getaddrinfo(
            origin.host, origin.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
        opened = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=1
        )
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            _, connection = await self._loop.create_connection(
                Connection,
                sock=opened,
                ssl=self._context() if origin.tls else None,
                server_hostname=origin.host if origin.tls else None,
            )
        except BaseException:
            opened.close()
            raise
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:  # reading the authorities takes some milliseconds
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def _expire(self, origin: Origin, connection: Connection) -> None:
        idle = self._idle[origin]
        for place, (other, _) in enumerate(idle):
            if other is connection:
                del idle[place]
                break
        connection.close()
        self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        if connection in self._open:
            self._open.discard(connection)
            self._room.release()
