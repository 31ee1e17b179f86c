"""Connections to providers, kept open for the next call.

Opens with Happy Eyeballs (RFC 8305) and verifies certificates against the system's authorities, or
those of ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``. Never uses proxies from the environment.
"""

import asyncio
import socket
import ssl
from collections import deque
from typing import Final, NamedTuple

import aiohappyeyeballs

from tellstream.providers.exchange import BrokenConnectionError, Connection
from tellstream.providers.names import Names

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


def _trusting() -> ssl.SSLContext:
    """Read the authorities: some 50 ms, in which every stream of the process would stand still."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Pool:
    """The connections of one process. Make it inside a running loop, close it at the end."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle: dict[Origin, deque[tuple[Connection, asyncio.TimerHandle]]] = {}
        self._open: set[Connection] = set()
        self._room = asyncio.Semaphore(MAX_CONNECTIONS)
        self._tls: asyncio.Task[ssl.SSLContext] | None = None
        self._names = Names()
        self._closed = False

    def idle(self, origin: Origin) -> Connection | None:
        """Give an idle connection, if there is one."""
        while origin in self._idle:
            # The one used last is the one most surely alive.
            connection = self._take(origin, last=True)
            if not connection.closed:
                return connection
            self._forget(connection)
        return None

    async def acquire(self, origin: Origin, *, fresh: bool = False) -> Connection:
        """Give an idle connection or open one; bound this by a timeout.

        Args:
            origin: where it leads.
            fresh: open one in any case.

        Raises:
            OSError: it cannot be opened; TLS failures too.
        """
        connection = None if fresh else self.idle(origin)
        if connection is not None:
            return connection
        if self._room.locked() and self._idle:
            self._drop(self._take(next(iter(self._idle)), last=False))
        await self._room.acquire()
        try:
            connection = await self._connect(origin)
        except BaseException:
            self._room.release()
            raise
        self._open.add(connection)
        if self._closed:
            self._drop(connection)
            raise BrokenConnectionError("the pool is closed")
        return connection

    def release(self, origin: Origin, connection: Connection) -> None:
        """Take a connection back: to be used again if that is possible."""
        idle = self._idle.get(origin, ())
        if (
            self._closed
            or not connection.reusable()
            or len(idle) >= MAX_IDLE
            or self._room.locked()  # somebody waits, perhaps for another origin
        ):
            self._drop(connection)
            return
        timer = self._loop.call_later(IDLE_SECONDS, self._expire, origin, connection)
        self._idle.setdefault(origin, deque()).append((connection, timer))

    async def close(self) -> None:
        """Close all connections; who waits for one is refused."""
        self._closed = True
        for idle in self._idle.values():
            for _, timer in idle:
                timer.cancel()
        self._idle.clear()
        for connection in tuple(self._open):
            self._drop(connection)
        await self._names.close()
        if self._tls is not None:
            await asyncio.wait({self._tls})  # a thread cannot be stopped
        await asyncio.sleep(0)  # the transports close in the loop's next round

    async def _connect(self, origin: Origin) -> Connection:
        if self._closed:
            raise BrokenConnectionError("the pool is closed")
        addresses = await self._names.look_up(origin.host, origin.port)
        context = await self._context() if origin.tls else None
        try:
            opened = await aiohappyeyeballs.start_connection(
                addresses, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=1
            )
        except RuntimeError as error:  # of uvloop, for some addresses
            raise OSError(str(error)) from error
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            _, connection = await self._loop.create_connection(
                Connection,
                sock=opened,
                ssl=context,
                # A root's dot is part of names, but not of those in certificates.
                server_hostname=origin.host.rstrip(".") if origin.tls else None,
            )
        except BaseException:
            opened.close()
            raise
        return connection

    async def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = self._loop.create_task(asyncio.to_thread(_trusting))
        if not self._tls.done():
            await asyncio.wait({self._tls})  # who gives up does not take it from the others
        return self._tls.result()

    def _take(self, origin: Origin, *, last: bool) -> Connection:
        """Take an idle connection: the one used last, or the one idle for longest."""
        idle = self._idle[origin]
        connection, timer = idle.pop() if last else idle.popleft()
        timer.cancel()
        if not idle:
            del self._idle[origin]
        return connection

    def _expire(self, origin: Origin, connection: Connection) -> None:
        idle = self._idle[origin]
        for place, (other, _) in enumerate(idle):  # nearly always the first one
            if other is connection:
                del idle[place]
                break
        if not idle:
            del self._idle[origin]
        self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        connection.close()
        self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        if connection in self._open:
            self._open.discard(connection)
            self._room.release()
