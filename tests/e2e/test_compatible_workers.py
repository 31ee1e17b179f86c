"""Chats and tickets on two processes: each knows what the other one started or gave."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from e2e.test_workers import sharing
from support.redis import RedisServer, redis_server
from tellstream.providers.simulator import Simulator


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_server(folder) as server:
        yield server


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


async def test_a_chat_is_resumed_and_a_ticket_redeemed_on_another_worker(
    tmp_path: Path, redis: RedisServer, simulator: Simulator
) -> None:
    part = {"type": "text", "text": "x"}
    body = {"id": "chat", "model": "long", "messages": [{"role": "user", "parts": [part]}]}
    async with sharing(tmp_path, redis, simulator) as processes, aiohttp.ClientSession() as session:
        first, second = await processes.start(), await processes.start()
        headers = processes.headers()
        started = await session.post(f"{first.url}/v1/ui/chat", headers=headers, json=body)
        assert started.status == 200, await started.text()
        stream = started.headers["X-Stream-Id"]
        await started.content.readuntil(b"text-delta")
        again = await session.get(f"{second.url}/v1/ui/chat/chat/stream", headers=headers)
        assert (again.status, again.headers.get("X-Stream-Id")) == (200, stream)

        url = f"{first.url}/v1/streams/{stream}/tickets"
        path = (await (await session.post(url, headers=headers)).json())["data"]["url"]
        follower = await session.get(second.url + path)
        await follower.content.readuntil(b"text_delta")
        follower.close()
        assert (await session.get(first.url + path)).status == 401, "it was used there"
        reconnected = await session.get(first.url + path, headers={"Last-Event-ID": "4"})
        assert await reconnected.content.readuntil(b"\n") == b"id: 5\n"
        reconnected.close()

        stopped = await session.post(f"{second.url}/v1/ui/chat/chat/stop", headers=headers)
        assert stopped.status == 202
        for response in (started, again):
            assert (await response.read()).endswith(b"data: [DONE]\n\n")
