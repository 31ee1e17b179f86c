"""A network between a browser and a server that can be lost and come back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Wire:
    """A TCP proxy.

    Attributes:
        url: where it listens.
        upstream: the port it leads to.
        connections: that were made through it.
    """

    def __init__(self) -> None:
        self.url = ""
        self.upstream = 0
        self.connections = 0
        self._up = True
        self._tasks: set[asyncio.Task[None]] = set()

    async def lose(self) -> None:
        """Break all connections off, and refuse new ones."""
        self._up = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def restore(self) -> None:
        """Let connections through again."""
        self._up = True

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            if not self._up:
                return
            self.connections += 1
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
            writers.append(up_writer)
            ways = [
                asyncio.create_task(self._copy(reader, up_writer)),
                asyncio.create_task(self._copy(up_reader, writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except ConnectionError:
            pass  # one of the two left
        finally:
            for each in writers:
                each.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        await writer.drain()


@asynccontextmanager
async def wire() -> AsyncIterator[Wire]:
    """Run one; its ``upstream`` is to be set."""
    made = Wire()
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        await made.lose()
        await server.wait_closed()
