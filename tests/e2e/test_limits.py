"""Limits over real processes: exact under a rush, in one process and over workers of one Redis."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from support.processes import Server, Servers, servers
from support.redis import RedisServer, redis_server
from tellstream.providers.simulator import Simulator

RUSH = 300
LIMIT = 20
LEASE = 1.0
PATIENCE = 40.0


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_server(folder) as server:
        yield server


@asynccontextmanager
async def limited(folder: Path, limits: Any, **tables: Any) -> AsyncIterator[Servers]:
    async with Simulator() as simulator:
        chat = {"dialect": "openai-chat", "base_url": f"{simulator.url}/v1", "api_key": "none"}
        async with servers(
            folder,
            providers={"sim": chat},
            models={
                "endless": {"targets": ["sim/sim:fault=endless,delay_ms=50"]},
                "quick": {"targets": ["sim/sim:fault=endless,delay_ms=10"]},
                "short": {"targets": ["sim/sim:words=1"]},
            },
            tenants={"1": {"model": "endless", "limits": limits}},
            streams={"lease_seconds": LEASE, "on_disconnect": "cancel"},
            **tables,
        ) as processes:
            yield processes


class Rush:
    """Many requests at once; those that pass are held open."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.open: list[aiohttp.ClientResponse] = []

    async def __call__(
        self, count: int, *on: Server, model: str = "endless"
    ) -> tuple[Counter[str], list[int]]:
        """Returns what became of them, and what the refused were advised."""
        found: Counter[str] = Counter()
        advised: list[int] = []

        async def one(number: int) -> None:
            response = await self._session.post(
                on[number % len(on)].url + "/v1/chat/stream", json={"prompt": "x", "model": model}
            )
            if response.status == 200:
                found["passed"] += 1
                self.open.append(response)
                return
            assert response.status == 429
            found[(await response.json())["error"]] += 1
            advised.append(int(response.headers["Retry-After"]))

        await asyncio.gather(*(one(number) for number in range(count)))
        return found, advised

    async def cancel(self, server: Server) -> None:
        """Cancel what is open, at any server."""
        for response in self.open:
            path = f"{server.url}/v1/streams/{response.headers['X-Stream-Id']}/cancel"
            async with self._session.post(path) as cancelled:
                assert cancelled.status == 202
            await response.read()
        self.open.clear()

    def leave(self) -> None:
        for response in self.open:
            response.close()
        self.open.clear()


@asynccontextmanager
async def rushing(processes: Servers) -> AsyncIterator[Rush]:
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(headers=processes.headers(), connector=connector) as session:
        rush = Rush(session)
        try:
            yield rush
        finally:
            rush.leave()


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "redis, two workers"])
async def test_of_three_hundred_at_once_exactly_twenty_pass(
    tmp_path: Path, redis: RedisServer, shared: bool
) -> None:
    tables = {"eventlog": {"url": redis.url}} if shared else {}
    async with limited(tmp_path, {"concurrent_streams": LIMIT}, **tables) as processes:
        server = await processes.start(*(("--workers", "2") if shared else ()))
        async with rushing(processes) as rush:
            for count, give_back in ((RUSH, "cancel"), (3 * LIMIT, "leave")):
                found, advised = await rush(count, server)
                assert found == {
                    "passed": LIMIT, "concurrency_limit_exceeded": count - LIMIT
                }  # fmt: skip
                assert set(advised) == {1}
                if shared:
                    assert redis.ask("ZCARD", "tellstream:{t:1}:leases") == LIMIT
                if give_back == "cancel":
                    await rush.cancel(server)
                else:
                    rush.leave()
                    await until_nothing_runs(rush, server)
            assert (await rush(3 * LIMIT, server))[0]["passed"] == LIMIT


async def until_nothing_runs(rush: Rush, server: Server) -> None:
    """Wait for the places of those that left: as many pass at once as may."""
    async with asyncio.timeout(PATIENCE):
        while (await rush(LIMIT, server))[0]["passed"] < LIMIT:
            await rush.cancel(server)
            await asyncio.sleep(0.1)
    await rush.cancel(server)


async def test_requests_are_counted_exactly_over_two_workers(
    tmp_path: Path, redis: RedisServer
) -> None:
    limits = {"requests_per_minute": 12}  # one in five seconds, once the twelve are used
    async with limited(tmp_path, limits, eventlog={"url": redis.url}) as processes:
        pair = await processes.start(), await processes.start()
        async with rushing(processes) as rush:
            began = time.monotonic()
            found, advised = await rush(60, *pair, model="short")
            late = int((time.monotonic() - began) / 5)
            assert 12 <= found["passed"] <= 12 + late
            assert found["passed"] + found["rate_limit_exceeded"] == 60
            wait = advised[-1]
            assert 1 <= wait <= 5
            await asyncio.sleep(wait)
            found, _ = await rush(10, *pair, model="short")
            assert found["passed"] >= 1
            assert found["passed"] <= 1 + int((time.monotonic() - began) / 5)


async def test_places_of_a_killed_worker_come_back(tmp_path: Path, redis: RedisServer) -> None:
    limits = {"concurrent_streams": 4}
    async with limited(tmp_path, limits, eventlog={"url": redis.url}) as processes:
        lost, kept = await processes.start(), await processes.start()
        async with rushing(processes) as rush:
            assert (await rush(12, lost))[0]["passed"] == 4
            assert (await rush(4, kept))[0]["passed"] == 0
            killed_at = time.monotonic()
            await lost.kill()
            rush.leave()
            while not (await rush(1, kept))[0]["passed"]:
                assert time.monotonic() < killed_at + LEASE + PATIENCE
                await asyncio.sleep(0.1)
            async with asyncio.timeout(PATIENCE):
                while len(rush.open) < 4:
                    await rush(4 - len(rush.open), kept)
            assert (await rush(12, kept))[0] == {"concurrency_limit_exceeded": 12}


async def test_a_tenant_of_two_workers_stops_at_its_cap(tmp_path: Path, redis: RedisServer) -> None:
    cap = 600
    limits = {"tokens_per_day": cap}
    async with limited(tmp_path, limits, eventlog={"url": redis.url}) as processes:
        pair = await processes.start(), await processes.start()
        async with rushing(processes) as rush:
            found, _ = await rush(8, *pair, model="quick")
            assert found["passed"] >= 2
            for response in rush.open:
                assert b'"quota_exceeded"' in await response.read()
            rush.open.clear()
            found, _ = await rush(4, *pair)
            assert found == {"quota_exceeded": 4}
        async with (
            aiohttp.ClientSession(headers=processes.headers()) as session,
            session.get(f"{pair[1].url}/v1/usage?by=day") as answer,
        ):
            (row,) = (await answer.json())["data"]
        used = row["prompt_tokens"] + row["completion_tokens"]
        assert cap - 20 <= used <= cap + 8 * 20  # a read of each, of a word in 10 ms
