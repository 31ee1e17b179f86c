"""A provider that replays bytes; status, body and chunking are chosen by model name."""

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

Chunking = Callable[[bytes], Iterator[bytes]]


def whole(body: bytes) -> Iterator[bytes]:
    if body:
        yield body


def single_bytes(body: bytes) -> Iterator[bytes]:
    for position in range(len(body)):
        yield body[position : position + 1]


def lines(body: bytes) -> Iterator[bytes]:
    yield from body.splitlines(keepends=True)


def random_cuts(body: bytes) -> Iterator[bytes]:
    source = random.Random(len(body))
    position = 0
    while position < len(body):
        size = source.choice((1, 2, 3, 5, 17, 100, 1000, 5000))
        yield body[position : position + size]
        position += size


@dataclass
class Answer:
    """What the provider sends. ``cut``: drop the connection after so many bytes of the body."""

    body: bytes
    status: int = 200
    content_type: str = "text/event-stream"
    headers: dict[str, str] = field(default_factory=dict)
    chunking: Chunking = whole
    cut: int | None = None
    reset: bool = False
    hold: bool = False  # keep the connection open and silent after the body
    pause: float = 0.0  # seconds between chunks
    gate: asyncio.Semaphore | None = None  # lets a chunk through when it is released


class ReplayProvider:
    """Answers each request with ``answers[model]``."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[dict[str, object]] = []
        self.open = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 22)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = json.loads(body)
        self.requests.append({"head": head, "headers": headers, "body": request})
        # Gemini names the model in the path: …/models/NAME:streamGenerateContent
        named = head.split(" ", 2)[1].rpartition("/")[2].partition(":")[0]
        answer = self.answers[request.get("model", named)]
        extra = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        writer.write(
            f"HTTP/1.1 {answer.status} X\r\nContent-Type: {answer.content_type}\r\n{extra}"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        payload = answer.body if answer.cut is None else answer.body[: answer.cut]
        for chunk in answer.chunking(payload):
            if answer.gate:
                await writer.drain()
                await answer.gate.acquire()
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            if answer.pause:
                await asyncio.sleep(answer.pause)
        if answer.hold:
            await writer.drain()
            await reader.read()  # until the client leaves
            return False
        if answer.reset:
            await writer.drain()
            writer.transport.abort()
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True
