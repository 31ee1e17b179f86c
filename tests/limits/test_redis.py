"""Limits of several processes over a real Redis: exact, fail closed, back after crashes."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.admissions import admission, caller, until
from support.redis import RedisServer, redis_server
from tellstream.core.errors import RequestError
from tellstream.limits.base import LimitsUnavailableError, Need
from tellstream.limits.redis import RedisCounters

SMALL = Need(5, 10)
ADMISSION_SECONDS = 2.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(Path(tmp_path_factory.mktemp("redis"))) as running:
        yield running


@pytest.fixture
def server(shared: RedisServer) -> RedisServer:
    shared.ask("FLUSHALL")
    return shared


@asynccontextmanager
async def worker(server: RedisServer, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is killed at the end, if not before."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "support.limits_worker", server.url, *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return (await process.stdout.readline()).decode().strip()


def tell(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"\n")


async def test_two_processes_with_three_hundred_at_once_let_exactly_twenty_through(
    server: RedisServer,
) -> None:
    async with (
        worker(server, "10", "burst", "a", "150") as first,
        worker(server, "10", "burst", "b", "150") as second,
    ):
        assert [await line(first), await line(second)] == ["ready", "ready"]
        tell(first)
        tell(second)
        found = [[int(word) for word in (await line(p)).split()] for p in (first, second)]
        assert [sum(column) for column in zip(*found, strict=True)] == [20, 20]
        assert server.ask("ZCARD", "tellstream:{t:1}:leases") == 20
        tell(first)
        tell(second)
        assert [await first.wait(), await second.wait()] == [0, 0]
    assert server.ask("ZCARD", "tellstream:{t:1}:leases") == 0


async def test_the_leases_of_a_killed_process_are_free_again_and_those_of_a_living_stay(
    server: RedisServer,
) -> None:
    lease = 1.0
    async with (
        worker(server, str(lease), "hold", "dead", "3") as dead,
        worker(server, str(lease), "hold", "alive", "5") as alive,
        admission(RedisCounters(server.url, lease)) as limits,
    ):
        assert [await line(dead), await line(alive)] == ["held", "held"]
        who = caller(concurrent_streams=6)
        dead.kill()
        grants: list[Any] = []
        with pytest.raises(RequestError):
            await limits.admit(who, "s1", SMALL)

        async def again() -> None:
            async with asyncio.timeout(15):
                while not grants:
                    try:
                        grants.append(await limits.admit(who, "s1", SMALL))
                    except RequestError:
                        await asyncio.sleep(0.05)

        await again()
        with pytest.raises(RequestError):  # five are alive
            await limits.admit(who, "s2", SMALL)
        # The reservations of the dead wait for whoever ends its streams.
        assert server.ask("HGET", "tellstream:{t:1}:held", "#tokens") == b"815"
        for n in range(3):
            await limits.settle(1, "ann", f"dead-{n}", 42, 7)
        grants[0].release()
        await until(lambda: server.ask("HGET", "tellstream:{t:1}:held", "#tokens") == b"500")
        assert server.ask("HGET", "tellstream:{t:1}:spent", "tokens") == b"126"


async def test_reservations_that_nobody_settles_are_swept(server: RedisServer) -> None:
    async with admission(RedisCounters(server.url, 0.1, lapsed=0.1)) as limits:
        lost = await limits.admit(caller(tokens_per_day=100), "lost", Need(5, 64))
        lost.release(lost=True)
        await asyncio.sleep(0.25)
        grant = await limits.admit(caller(tokens_per_day=100), "s1", Need(40, 50))
        kept = set(server.ask("HKEYS", "tellstream:{t:1}:held"))
        assert kept == {b"#tokens", b"#cost", b"s1"}
        grant.release()


async def test_every_key_belongs_to_a_tenant_and_dies_by_itself(server: RedisServer) -> None:
    who = caller(requests_per_minute=5, subject_requests_per_minute=5, subject_concurrent_streams=2)
    async with admission(RedisCounters(server.url)) as limits:
        await limits.take_request(who)
        grant = await limits.admit(who, "s1", SMALL)
        keys = server.ask("KEYS", "*")
        assert len(keys) == 6
        assert all(key.startswith(b"tellstream:{t:1}:") for key in keys)
        assert all(server.ask("PTTL", key) > 0 for key in keys)
        grant.release()


async def test_without_redis_admission_answers_soon_and_running_streams_go_on(
    tmp_path: Path,
) -> None:
    with redis_server(tmp_path) as server:
        who = caller(requests_per_minute=100, tokens_per_day=5000)
        async with admission(RedisCounters(server.url), renew=0.1) as limits:
            grant = await limits.admit(who, "s1", SMALL)
            server.kill()
            began = time.monotonic()
            for call in (limits.take_request(who), limits.admit(who, "s2", SMALL)):
                with pytest.raises(LimitsUnavailableError):
                    await call
            assert time.monotonic() - began < ADMISSION_SECONDS
            assert await limits.rate_headers(who) == {}
            assert await grant.extend(300)
            await grant.settle(305, 0)
            grant.release()
            assert limits.running == 0
            server.start()
            await until(lambda: not limits.due)
            assert (await limits.take_request(who)).refusal is None
            assert server.ask("HGET", "tellstream:{t:1}:spent", "tokens") == b"305"


async def test_a_redis_that_hangs_keeps_nobody_waiting(server: RedisServer) -> None:
    who = caller(requests_per_minute=1000)
    async with admission(RedisCounters(server.url)) as limits:
        await limits.take_request(who)
        server.pause()
        try:
            waits = []

            async def ask(n: int) -> None:
                await asyncio.sleep(n * 0.05)
                began = time.monotonic()
                with pytest.raises(LimitsUnavailableError):
                    await limits.admit(who, f"s{n}", SMALL)
                waits.append(time.monotonic() - began)

            await asyncio.gather(*(ask(n) for n in range(30)))
            assert max(waits) < ADMISSION_SECONDS
        finally:
            server.resume()
        assert (await limits.take_request(who)).refusal is None


async def test_a_restarted_redis_is_found_again_at_once(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--appendfsync", "always") as server:
        who = caller(requests_per_minute=2, concurrent_streams=1)
        async with admission(RedisCounters(server.url)) as limits:
            await limits.take_request(who)
            grant = await limits.admit(who, "s1", SMALL)
            server.stop()
            server.start()  # without our scripts, and our connection is closed
            assert (await limits.take_request(who)).headers["X-RateLimit-Remaining"] == "0"
            with pytest.raises(RequestError, match="concurrency_limit_exceeded"):
                await limits.admit(who, "s2", SMALL)
            grant.release()


async def test_flushed_scripts_are_loaded_again(server: RedisServer) -> None:
    async with admission(RedisCounters(server.url)) as limits:
        await limits.take_request(caller(requests_per_minute=3))
        server.ask("SCRIPT", "FLUSH")
        found = await asyncio.gather(
            *(limits.take_request(caller(requests_per_minute=3)) for _ in range(9))
        )
        assert sum(decision.refusal is None for decision in found) == 2


async def test_a_refusal_of_redis_is_an_outage_and_no_permission(server: RedisServer) -> None:
    server.ask("SET", "tellstream:{t:1}:leases", "not a sorted set")
    async with admission(RedisCounters(server.url)) as limits:
        with pytest.raises(LimitsUnavailableError, match="service_unavailable"):
            await limits.admit(caller(concurrent_streams=5), "s1", SMALL)
        other = await limits.admit(caller(tenant=2, concurrent_streams=5), "s1", SMALL)
        other.release()
        server.ask("DEL", "tellstream:{t:1}:leases")


async def test_cancelled_calls_never_get_the_answers_of_others(server: RedisServer) -> None:
    async with admission(RedisCounters(server.url)) as limits:

        async def ask(tenant: int) -> None:
            who = caller(tenant=tenant, requests_per_minute=100 + tenant)
            decision = await limits.take_request(who)
            assert decision.headers["X-RateLimit-Limit"] == str(100 + tenant)
            assert decision.headers["X-RateLimit-Remaining"] == str(99 + tenant)

        tasks = [asyncio.create_task(ask(n + 1)) for n in range(200)]
        await asyncio.sleep(0.002)
        for task in tasks[::3]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [one for one in found if isinstance(one, Exception)] == []


async def test_a_cancelled_admission_leaves_nothing_in_redis(server: RedisServer) -> None:
    async with admission(RedisCounters(server.url)) as limits:
        (await limits.admit(caller(), "first", SMALL)).release()
        task = asyncio.create_task(limits.admit(caller(), "s1", SMALL))
        await asyncio.sleep(0)  # it is on its way to Redis
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert limits.running == 0
    assert server.ask("ZCARD", "tellstream:{t:1}:leases") == 0
    assert server.ask("HGET", "tellstream:{t:1}:held", "#tokens") == b"0"


async def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="redis"):
        RedisCounters("http://127.0.0.1/")
