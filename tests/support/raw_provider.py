"""A provider that plays bytes: a test says what each of its connections does."""

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Self, TypeAlias

GREETING = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Visit:
    """One connection, seen from the provider.

    Attributes:
        number: of the connection, from 1.
        requests: heads and bodies that arrived on it.
    """

    def __init__(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.number = number
        self.requests: list[tuple[str, bytes]] = []
        self.reader = reader
        self.writer = writer

    async def request(self) -> tuple[str, bytes]:
        """Read a whole request."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        size = next(
            int(line.partition(":")[2])
            for line in head.split("\r\n")
            if line.lower().startswith("content-length:")
        )
        self.requests.append((head, await self.reader.readexactly(size)))
        return self.requests[-1]

    async def send(self, *pieces: bytes) -> None:
        """Send pieces, each in a segment of its own."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def left(self) -> None:
        """Wait until the client has left; whatever it still sends is read."""
        while await self.reader.read(65_536):
            pass

    def end(self) -> None:
        """Say, in an orderly way, that nothing follows."""
        self.writer.close()

    def vanish(self) -> None:
        """Close the socket below TLS, without a word."""
        with socket.socket(fileno=os.dup(self._socket().fileno())) as below:
            below.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Close with a reset: what was not read is refused."""
        self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def _socket(self) -> socket.socket:
        found: socket.socket = self.writer.get_extra_info("socket")
        return found


Play: TypeAlias = Callable[[Visit], Awaitable[None]]


async def greet(visit: Visit) -> None:
    """Answer every request with ``ok``."""
    while True:
        await visit.request()
        await visit.send(GREETING)


def answering(*pieces: bytes) -> Play:
    """Play the same pieces after every request."""

    async def play(visit: Visit) -> None:
        while True:
            await visit.request()
            await visit.send(*pieces)

    return play


class RawProvider:
    """Listens, and lets ``play`` handle each connection.

    Attributes:
        visits: all connections so far.
        open: those that neither side has closed.
    """

    def __init__(
        self, play: Play, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.visits: list[Visit] = []
        self.open = 0
        self._play = play
        self._tls = tls
        self._host = host
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._visit, self._host, 0, ssl=self._tls, limit=1 << 20
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http{'s' if self._tls else ''}://{host}:{self.port}/v1"

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        visit = Visit(len(self.visits) + 1, reader, writer)
        self.visits.append(visit)
        self.open += 1
        try:
            await self._play(visit)
        except (asyncio.IncompleteReadError, OSError):  # the client left
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self.open -= 1
            writer.close()
            self._tasks.discard(task)
