"""A stream outlives its connection, and a client that leaves leaves nothing behind."""

import asyncio
import gc
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.conftest import tables
from support.chat import ask, parse
from support.replay import ReplayProvider
from support.server import Running, tellstream
from tellstream.core.transcript import fold
from tellstream.providers.simulator import Simulator


async def until(condition: Any, seconds: float = 5.0) -> None:
    """Wait until ``condition()`` holds; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        await asyncio.sleep(0.01)


async def leave_early(server: Running, session: aiohttp.ClientSession, model: str) -> str:
    """Start a stream, read its first bytes, drop the connection; returns the stream's id."""
    async with session.post(
        server.url + "/v1/chat/stream", json={"prompt": "x", "model": model},
        headers=server.headers(),
    ) as response:  # fmt: skip
        await response.content.readany()
        response.close()
        return response.headers["X-Stream-Id"]


async def test_a_stream_outlives_the_connection_that_started_it(
    tmp_path: Path, simulator: Simulator, replay: ReplayProvider
) -> None:
    streams = {"detach_seconds": 60}
    async with tellstream(tmp_path, **tables(simulator, replay, streams=streams)) as server:
        async with aiohttp.ClientSession() as session:
            stream_id = await leave_early(server, session, "mark-a")
        await until(lambda: server.services.streams.running == 0)
        async with (
            aiohttp.ClientSession(headers=server.headers()) as session,
            session.get(f"{server.url}/v1/streams/{stream_id}") as response,
        ):
            state = (await response.json())["data"]
        assert state["state"] == "finished"
        assert state["finish_reason"] == "Stop"
        assert state["usage"]["completion_tokens"] == 60


async def test_nobody_attached_for_the_detach_time_cancels_the_provider(
    server: Running, simulator: Simulator
) -> None:
    async with aiohttp.ClientSession() as session:
        await leave_early(server, session, "endless")
    await until(lambda: server.services.streams.running == 0)
    await until(lambda: simulator.requests()[0].state == "client_closed", 1.0)


@pytest.mark.parametrize("model", ["endless", "silent", "no-head", "stalls"])
async def test_cancel_closes_the_provider_connection_within_a_second(
    server: Running, simulator: Simulator, model: str
) -> None:
    async with (
        aiohttp.ClientSession(headers=server.headers()) as session,
        session.post(
            server.url + "/v1/chat/stream", json={"prompt": "x", "model": model}
        ) as response,
    ):
        stream_id = response.headers.get("X-Stream-Id")
        if stream_id is None:  # failed before the head; nothing to cancel
            return
        path = f"{server.url}/v1/streams/{stream_id}/cancel"
        for _ in range(2):  # idempotent
            async with session.post(path) as cancelled:
                assert cancelled.status == 202
        await until(lambda: simulator.requests()[0].state != "running", 1.0)
        events, _ = parse(await response.read())
    transcript = fold(events)
    assert transcript.finish_reason == "Cancelled"
    assert transcript.usage is not None
    assert transcript.error is None


async def test_clients_that_leave_leave_no_task_socket_or_stream(
    server: Running, simulator: Simulator
) -> None:
    async with aiohttp.ClientSession() as session:
        await leave_early(server, session, "endless")
    await until(lambda: server.services.streams.running == 0)
    await asyncio.sleep(0.3)  # whatever lingers by design is gone
    gc.collect()
    connections = simulator.stats()["open_connections"]

    def others() -> int:
        """Tasks apart from the simulator's, which has one per connection that is kept alive."""
        return len(asyncio.all_tasks()) - simulator.stats()["open_connections"]

    tasks = others()
    for _ in range(5):
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(
                *(leave_early(server, session, m) for m in ("endless", "paced", "mark-a") * 4)
            )
    await until(lambda: server.services.streams.running == 0)
    await until(lambda: others() <= tasks)
    await until(lambda: simulator.stats()["running"] == 0)
    # Kept-alive connections are reused, so a few may stay; cancelled ones must not.
    assert simulator.stats()["open_connections"] <= connections + 12
    assert server.services.admission.running == 0


async def test_after_many_cancelled_requests_plain_ones_still_work(server: Running) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(20):
            await asyncio.gather(*(leave_early(server, session, "endless") for _ in range(10)))
    replies = await asyncio.gather(*(ask(server, {"prompt": "x"}) for _ in range(50)))
    assert {reply.transcript.finish_reason for reply in replies} == {"Stop"}


async def test_on_disconnect_cancel_stops_at_once(
    tmp_path: Path, simulator: Simulator, replay: ReplayProvider
) -> None:
    streams = {"on_disconnect": "cancel", "detach_seconds": 60}
    async with tellstream(tmp_path, **tables(simulator, replay, streams=streams)) as server:
        async with aiohttp.ClientSession() as session:
            await leave_early(server, session, "endless")
        await until(lambda: simulator.requests()[0].state == "client_closed", 1.0)


async def test_two_tenants_streaming_at_once_never_mix(server: Running) -> None:
    async def one(tenant: int, mark: str) -> None:
        body = {"prompt": f"I am {mark}", "model": f"mark-{mark}"}
        reply = await ask(server, body, tenant=tenant, headers=server.headers(tenant))
        other = {"a": "b", "b": "a"}[mark]
        words = reply.transcript.text.split()
        assert words == [f"{mark}{n}" for n in range(1, 61)]
        assert other not in reply.transcript.text

    await asyncio.gather(*(one(*pair) for pair in [(1, "a"), (2, "b")] * 25))


async def test_the_prompt_of_each_tenant_reaches_only_its_own_answer(server: Running) -> None:
    async def one(number: int) -> None:
        prompt = f"secret-{number} of request {number}"
        reply = await ask(server, {"prompt": prompt, "model": "echo"})
        assert reply.transcript.text == prompt

    await asyncio.gather(*(one(number) for number in range(60)))
