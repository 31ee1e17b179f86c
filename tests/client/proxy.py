"""A TCP proxy that breaks connections off after some bytes of the answer."""

import asyncio
import random
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import SO_LINGER, SOL_SOCKET


class Proxy:
    """Counts what it did.

    Attributes:
        url: where it listens.
        cuts: connections that it broke off.
    """

    def __init__(self, upstream: str, seed: int, least: int, most: int, resets: float) -> None:
        self.url = ""
        self.cuts = 0
        self._host, _, self._port = upstream.removeprefix("http://").partition(":")
        self.tasks: set[asyncio.Task[None]] = set()
        self._random = random.Random(seed)
        self._range = (least, most)
        self._resets = resets

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        budget = self._random.randint(*self._range)
        reset = self._random.random() < self._resets
        up_reader, up_writer = await asyncio.open_connection(self._host, int(self._port))
        sending = asyncio.create_task(self._copy(reader, up_writer))
        try:
            while budget > 0:
                data = await up_reader.read(min(budget, 4096))
                if not data:
                    return
                budget -= len(data)
                writer.write(data)
                await writer.drain()
            self.cuts += 1
            if reset:
                sock = writer.get_extra_info("socket")
                sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        except ConnectionError:
            pass  # the client left
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            for each in (writer, up_writer):
                each.close()
                await asyncio.gather(each.wait_closed(), return_exceptions=True)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()  # the client left: so does this one


@asynccontextmanager
async def cutting(
    upstream: str, *, seed: int, least: int, most: int, resets: float = 0.5
) -> AsyncIterator[Proxy]:
    """Run a proxy that cuts each answer after ``least`` to ``most`` bytes, heads included.

    ``resets`` is the share of cuts after which the client may lose what it has not read yet, too.
    """
    proxy = Proxy(upstream, seed, least, most, resets)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*proxy.tasks)
