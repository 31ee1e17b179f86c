"""Resume at every event of recorded streams, over every event log, among other readers.

Byte for byte exactly the suffix: while the stream runs, and after its end; with two other readers
attached, one of which reads slowly.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from conformance.expected import ROOT
from server.conftest import LOGS
from support.chat import parse
from support.replay import Answer, ReplayProvider, lines
from support.server import Running, tellstream

RECORDINGS = {
    "openai-chat/xai-grok-3-mini-xai-text.sse": "openai-chat",
    "openai-responses/"
    "openai-gpt-4.1-mini-2025-04-14-canstreambackgroundresponsesasync.sse": "openai-responses",
}


@asynccontextmanager
async def serving(folder: Path, url: str, recording: str) -> AsyncIterator[Running]:
    """A server whose model ``recorded`` replays a recording, a line at a time."""
    async with ReplayProvider() as provider:
        body = (ROOT / recording).read_bytes()
        provider.answers["recorded"] = Answer(body, chunking=lines, pause=0.002)
        replay = {"dialect": RECORDINGS[recording], "base_url": provider.url, "api_key": "none"}
        async with tellstream(
            folder,
            providers={"replay": replay},
            models={"recorded": {"targets": ["replay/recorded"]}},
            eventlog={"url": url},
        ) as server:
            yield server


async def resumed(session: aiohttp.ClientSession, url: str, after: int) -> tuple[int, bytes]:
    async with session.get(url, headers={"Last-Event-ID": str(after)}) as response:
        return response.status, await response.read()


def read_slowly(server: Running, path: str) -> bytes:
    """Read a stream through a small window, with pauses; returns the body, still chunked."""
    host, port = server.url.removeprefix("http://").split(":")
    received = b""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect((host, int(port)))
        head = "".join(f"{name}: {value}\r\n" for name, value in server.headers().items())
        client.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n".encode()
        )
        client.settimeout(20)
        pause = 0.005
        while chunk := client.recv(1024):
            received += chunk
            if len(received) < 40_000:
                time.sleep(pause)
    return received


def unchunked(response: bytes) -> bytes:
    body, rest = b"", response.partition(b"\r\n\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body, rest = body + rest[:length], rest[length + 2 :]
    return body


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda name: name.partition("/")[0])
@pytest.mark.parametrize("log", LOGS)
async def test_every_position_gives_exactly_the_suffix(
    tmp_path: Path, log: str, recording: str, request: pytest.FixtureRequest
) -> None:
    if not (ROOT / recording).exists():
        pytest.skip(f"no recorded provider streams at {ROOT} (set TELLSTREAM_RECORDINGS)")
    async with (
        serving(tmp_path, LOGS[log](request), recording) as server,
        aiohttp.ClientSession(
            headers=server.headers(), connector=aiohttp.TCPConnector(limit=0)
        ) as session,
    ):
        running: list[asyncio.Task[Any]] = []
        async with session.post(server.url + "/v1/chat/stream", json={"prompt": "x"}) as response:
            stream_id = response.headers["X-Stream-Id"]
            path = f"/v1/streams/{stream_id}/events"
            slow = asyncio.create_task(asyncio.to_thread(read_slowly, server, path))
            body = b""
            async for line in response.content:
                body += line
                if line == b"\n":
                    seen = body.count(b"\n\n")
                    task = resumed(session, server.url + path, seen)
                    running.append(asyncio.create_task(task))
        live = await asyncio.gather(*running)
        ended = await asyncio.gather(
            *(resumed(session, server.url + path, after) for after in range(len(running) + 1))
        )
        slowly = unchunked(await slow)
    events, _ = parse(body)
    assert len(events) >= 200
    frames = [frame + b"\n\n" for frame in body.split(b"\n\n")[:-1]]
    suffixes = [(200, b"".join(frames[after:])) for after in range(len(frames))]
    assert ended == [*suffixes, (204, b"")]
    assert slowly == body
    # The last ones may have been asked for when the end was in the log already.
    assert [given for given in live if given != (204, b"")] == suffixes[1:]
