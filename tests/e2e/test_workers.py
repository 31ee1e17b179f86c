"""Several processes on one Redis: a stream is everybody's, and outlives the one that made it."""

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from e2e.test_restart import get, read_some
from support.chat import parse
from support.processes import Server, Servers, servers
from support.redis import RedisServer, redis_server
from tellstream.core.transcript import fold
from tellstream.providers.simulator import Simulator

LEASE = 1.0


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


@asynccontextmanager
async def sharing(
    folder: Path, redis: RedisServer, simulator: Simulator, **streams: Any
) -> AsyncIterator[Servers]:
    sim = {"dialect": "openai-chat", "base_url": f"{simulator.url}/v1", "api_key": "none"}
    async with servers(
        folder,
        eventlog={"url": redis.url},
        streams={"lease_seconds": LEASE, "heartbeat_seconds": 0.5, **streams},
        providers={"sim": sim},
        models={
            "long": {"targets": ["sim/sim:words=4000,delay_ms=5"]},
            "short": {"targets": ["sim/sim:words=200,delay_ms=5"]},
            "silent": {"targets": ["sim/sim:words=3,fault=stall,at=0"]},
        },
        tenants={"1": {"model": "long"}},
    ) as processes:
        yield processes


@asynccontextmanager
async def asking(
    server: Server, headers: Any, model: str = "long", **more: str
) -> AsyncIterator[aiohttp.ClientResponse]:
    async with (
        aiohttp.ClientSession(headers={**headers, **more}) as session,
        session.post(
            server.url + "/v1/chat/stream", json={"prompt": "x", "model": model}
        ) as response,
    ):
        assert response.status == 200, await response.text()
        yield response


async def resume(server: Server, headers: Any, stream_id: str, after: int) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(
            f"{server.url}/v1/streams/{stream_id}/events", headers={"Last-Event-ID": str(after)}
        ) as response,
    ):
        return response.status, await response.read()


async def cancel(server: Server, headers: Any, stream_id: str) -> Any:
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{server.url}/v1/streams/{stream_id}/cancel") as response,
    ):
        assert response.status == 202
        return (await response.json())["data"]


def without_retry(body: bytes) -> bytes:
    """A stream without the advice of a server that stops."""
    return re.sub(rb"(^|\n)retry: \d+\n", rb"\1", body)


async def test_started_on_one_it_is_read_on_the_other_while_it_runs_and_after(
    tmp_path: Path, redis: RedisServer, simulator: Simulator
) -> None:
    async with sharing(tmp_path, redis, simulator) as processes:
        a, b = await processes.start(), await processes.start()
        headers = processes.headers()
        async with asking(a, headers, "short") as response:
            stream_id = response.headers["X-Stream-Id"]
            body = await read_some(response, 30)
            following = [
                asyncio.create_task(resume(b, headers, stream_id, after)) for after in range(31)
            ]
            assert (await get(b, headers, f"/v1/streams/{stream_id}"))["state"] == "running"
            body += await response.read()
        parse(body)
        frames = [frame + b"\n\n" for frame in body.split(b"\n\n")[:-1]]
        for after, (status, rest) in enumerate(await asyncio.gather(*following)):
            assert (status, rest) == (200, b"".join(frames[after:]))
        for after in (0, 17, len(frames) - 1):
            assert await resume(b, headers, stream_id, after) == (200, b"".join(frames[after:]))
        assert await resume(b, headers, stream_id, len(frames)) == (204, b"")
        state = await get(b, headers, f"/v1/streams/{stream_id}")
        assert (state["state"], state["finish_reason"]) == ("finished", "Stop")
        assert state == await get(a, headers, f"/v1/streams/{stream_id}")


@pytest.mark.parametrize("model", ["long", "silent"])
async def test_cancelled_on_the_other_it_ends_well_for_all_and_the_provider_is_left(
    tmp_path: Path, redis: RedisServer, simulator: Simulator, model: str
) -> None:
    async with sharing(tmp_path, redis, simulator, commit_seconds=0.2) as processes:
        a, b = await processes.start(), await processes.start()
        headers = processes.headers()
        async with asking(a, headers, model) as response:
            stream_id = response.headers["X-Stream-Id"]
            body = await read_some(response, 30) if model == "long" else b""
            following = asyncio.create_task(resume(b, headers, stream_id, 0))
            await asyncio.sleep(0.1)
            started = time.monotonic()
            state = await cancel(b, headers, stream_id)
            while simulator.requests()[0].state != "client_closed":
                assert time.monotonic() < started + 5
                await asyncio.sleep(0.01)
            body += await response.read()
        assert (state["state"], state["finish_reason"]) == ("finished", "Cancelled")
        transcript = fold(parse(body.replace(b": keep-alive\n", b""))[0])
        assert transcript.finish_reason == "Cancelled"
        assert transcript.usage is not None
        assert (await following)[1].replace(b": keep-alive\n", b"") == body.replace(
            b": keep-alive\n", b""
        )
        assert await cancel(a, headers, stream_id) == state  # idempotent
        (row,) = await get(b, headers, "/v1/usage?by=stream")
        assert row["completion_tokens"] == transcript.usage.completion_tokens


async def test_killed_the_other_seals_it_within_the_lease(
    tmp_path: Path, redis: RedisServer, simulator: Simulator
) -> None:
    async with sharing(tmp_path, redis, simulator) as processes:
        a, b = await processes.start(), await processes.start()
        headers = processes.headers()
        async with asking(a, headers) as response:
            stream_id = response.headers["X-Stream-Id"]
            seen = await read_some(response, 30)
            following = asyncio.create_task(resume(b, headers, stream_id, 0))
            await asyncio.sleep(0.2)
            started = time.monotonic()
            await a.kill()
        status, body = await following
        assert time.monotonic() < started + LEASE + 2 + 3  # and some for a busy machine
        assert status == 200
        assert body.startswith(seen)
        transcript = fold(parse(body.replace(b": keep-alive\n", b""))[0])
        assert transcript.error is not None
        assert transcript.error.error_type == "worker_lost"
        assert transcript.finish_reason == "Error"
        (row,) = await get(b, headers, "/v1/usage?by=stream")
        assert row["estimated_streams"] == 1
        assert transcript.usage is not None
        assert row["completion_tokens"] == transcript.usage.completion_tokens > 0


async def test_a_paused_producer_cannot_append_any_more(
    tmp_path: Path, redis: RedisServer, simulator: Simulator
) -> None:
    async with sharing(tmp_path, redis, simulator) as processes:
        a, b = await processes.start(), await processes.start()
        headers = processes.headers()
        async with asking(a, headers) as response:
            stream_id = response.headers["X-Stream-Id"]
            await read_some(response, 30)
            a.process.send_signal(signal.SIGSTOP)
            sealed = await resume(b, headers, stream_id, 0)
            a.process.send_signal(signal.SIGCONT)
            whole = without_retry(await resume_until_end(a, headers, stream_id))
        body = sealed[1].replace(b": keep-alive\n", b"")
        assert fold(parse(body)[0]).finish_reason == "Error"
        assert whole.replace(b": keep-alive\n", b"") == body
        assert "stream.fenced" in a.errors
        rows = await get(b, headers, "/v1/usage?by=stream")
        assert len(rows) == 1


async def resume_until_end(server: Server, headers: Any, stream_id: str) -> bytes:
    status, body = await resume(server, headers, stream_id, 0)
    assert status == 200
    return body


async def test_equal_keys_on_two_processes_make_one_provider_call(
    tmp_path: Path, redis: RedisServer, simulator: Simulator
) -> None:
    async with sharing(tmp_path, redis, simulator) as processes:
        pair = await processes.start(), await processes.start()
        headers = processes.headers()

        async def ask(server: Server) -> bytes:
            async with asking(server, headers, "short", **{"Idempotency-Key": '"k"'}) as response:
                return await response.read()

        bodies = await asyncio.gather(*(ask(pair[n % 2]) for n in range(20)))
        assert len(set(bodies)) == 1
        assert len(simulator.requests()) == 1


async def test_nobody_attached_anywhere_for_the_detach_time_cancels(
    tmp_path: Path, redis: RedisServer, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sharing(tmp_path, redis, simulator, detach_seconds=1.0) as processes:
        a, b = await processes.start(), await processes.start()
        headers = processes.headers()
        async with asking(a, headers) as response:
            stream_id = response.headers["X-Stream-Id"]
            await read_some(response, 5)
            elsewhere = asyncio.create_task(resume(b, headers, stream_id, 0))
            await asyncio.sleep(0.3)
        await asyncio.sleep(3)  # followed on b alone for longer than the detach time
        assert (await get(a, headers, f"/v1/streams/{stream_id}"))["state"] == "running"
        elsewhere.cancel()
        await asyncio.wait({elsewhere})
        deadline = time.monotonic() + 30
        while (await get(b, headers, f"/v1/streams/{stream_id}"))["state"] == "running":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
        assert (await get(b, headers, "/v1/usage?by=stream"))[0]["stream"] == stream_id
        assert simulator.requests()[0].state == "client_closed"


async def test_a_server_that_stops_advises_its_readers_who_go_on_elsewhere(
    tmp_path: Path, redis: RedisServer, simulator: Simulator
) -> None:
    async with sharing(tmp_path, redis, simulator, drain_seconds=1.0) as processes:
        a, b = await processes.start(), await processes.start()
        headers = processes.headers()
        async with asking(a, headers) as response:
            stream_id = response.headers["X-Stream-Id"]
            body = await read_some(response, 10)
            elsewhere = asyncio.create_task(resume(b, headers, stream_id, 0))
            await asyncio.sleep(0.2)
            b.process.send_signal(signal.SIGTERM)  # the reader's process goes, the producer stays
            _, part = await elsewhere
            assert b"retry: 1000\n" in part
            part = without_retry(part)
            assert b"stream_end" not in part
            a.process.send_signal(signal.SIGTERM)  # now the producer's
            body += await response.read()
        assert b"retry: 1000\n" in body
        body = without_retry(body)
        transcript = fold(parse(body.replace(b": keep-alive\n", b""))[0])
        assert transcript.error is not None
        assert transcript.error.error_type == "server_draining"
        assert body.startswith(part)
        assert await a.stop() == -signal.SIGTERM
        assert await b.stop() == -signal.SIGTERM
        c = await processes.start()
        after = part.count(b"\n\n")
        rest = await resume(c, headers, stream_id, after)
        assert part + rest[1] == body


async def test_a_pool_of_workers_serves_one_port_and_replaces_the_lost(
    tmp_path: Path, redis: RedisServer, simulator: Simulator
) -> None:
    async with sharing(tmp_path, redis, simulator) as processes:
        pool = await processes.start("--workers", "2")
        headers = processes.headers()
        parent = psutil.Process(pool.process.pid)
        workers = [child.pid for child in parent.children()]
        assert len(workers) == 2
        async with asking(pool, headers) as response:
            stream_id = response.headers["X-Stream-Id"]
            seen = await read_some(response, 30)
            for worker in workers:
                os.kill(worker, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while len([c for c in parent.children() if c.pid not in workers]) < 2:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        status, body = await eventually_resume(pool, headers, stream_id)
        assert status == 200
        assert body.startswith(seen)
        parse(body.replace(b": keep-alive\n", b""))
        replaced = [child.pid for child in parent.children()]
        assert await pool.stop() == 0
        assert not [pid for pid in replaced if psutil.pid_exists(pid)]


async def eventually_resume(server: Server, headers: Any, stream_id: str) -> tuple[int, bytes]:
    """As a client does that finds nobody at first."""
    for _ in range(100):
        try:
            return await resume(server, headers, stream_id, 0)
        except aiohttp.ClientError:
            await asyncio.sleep(0.1)
    raise AssertionError


async def test_workers_end_with_their_parent(
    tmp_path: Path, redis: RedisServer, simulator: Simulator
) -> None:
    async with sharing(tmp_path, redis, simulator) as processes:
        pool = await processes.start("--workers", "2")
        workers = psutil.Process(pool.process.pid).children()
        await pool.kill()
        _, alive = await asyncio.to_thread(psutil.wait_procs, workers, 20)
        assert alive == []


async def test_redis_without_its_append_only_file_is_refused(
    tmp_path: Path, simulator: Simulator
) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_server(folder, "--appendonly", "no") as redis:
        async with sharing(tmp_path, redis, simulator) as processes:
            with pytest.raises(AssertionError) as caught:
                await processes.start()
    said = str(caught.value).splitlines()
    assert [line for line in said if not line.startswith("{")] == said[-1:]  # besides the log
    assert said[-1].startswith("tellstream: ")
    assert "appendonly yes" in said[-1]
