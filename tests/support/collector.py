"""A collector of traces: takes what is exported over HTTP, and keeps it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Collector:
    """Takes what is exported over HTTP.

    Attributes:
        received: the requests, heads included.
        url: where it listens.
    """

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.url = ""
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self.url

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        self.received.append(head + await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """Run one on a free port."""
    made = Collector()
    await made.start()
    try:
        yield made
    finally:
        await made.close()
