"""A provider that charges for whole answers is read on after a cancel, wherever that arrives."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from e2e.test_restart import get, read_some
from support.chat import parse
from support.processes import Server, Servers, servers
from support.redis import RedisServer, redis_server
from tellstream.core.transcript import fold
from tellstream.providers.simulator import Simulator

WORDS = 300
DELAY_MS = 10
PATIENCE = 30.0


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
async def charging(
    folder: Path, simulator: Simulator, redis: RedisServer, **streams: Any
) -> AsyncIterator[Servers]:
    script = f"words={WORDS},delay_ms={DELAY_MS}"
    async with servers(
        folder,
        providers={"groq": {"base_url": f"{simulator.url}/v1", "api_key": "none"}},
        models={
            "charged": {"targets": [f"groq/sim:{script}"]},
            "thinks": {"targets": [f"groq/sim:first_ms=2000,{script}"]},
            "endless": {"targets": ["groq/sim:fault=endless,delay_ms=20"]},
        },
        tenants={"1": {"model": "charged"}},
        eventlog={"url": redis.url},
        streams={"lease_seconds": 10, "heartbeat_seconds": 0.5, "commit_seconds": 0.2, **streams},
    ) as processes:
        yield processes


async def cancel(server: Server, headers: Any, stream_id: str) -> tuple[Any, float]:
    """Cancel; returns the state, and how long the answer took."""
    started = time.monotonic()
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{server.url}/v1/streams/{stream_id}/cancel") as response,
    ):
        assert response.status == 202
        return (await response.json())["data"], time.monotonic() - started


@asynccontextmanager
async def asking(
    server: Server, headers: Any, model: str, prompt: str = "x"
) -> AsyncIterator[aiohttp.ClientResponse]:
    body = {"prompt": prompt, "model": model}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(server.url + "/v1/chat/stream", json=body) as response,
    ):
        assert response.status == 200, await response.text()
        yield response


async def test_a_cancelled_answer_is_counted_by_the_provider_and_said_no_more(
    tmp_path: Path, redis: RedisServer, simulator: Simulator
) -> None:
    async with charging(tmp_path, simulator, redis) as processes:
        a, b = await processes.start(), await processes.start()
        headers = processes.headers()

        async def cancelled(model: str, seen: int, at: Server) -> None:
            prompt = f"{model} {at.port}"
            async with asking(a, headers, model, prompt) as response:
                stream_id = response.headers["X-Stream-Id"]
                body = await read_some(response, seen) if seen else b""
                for _ in range(2):
                    state, seconds = await cancel(at, headers, stream_id)
                    assert state["state"] == "running"
                    assert seconds < 1.0 + 3.0  # and some for a busy machine
                (record,) = [r for r in simulator.requests() if prompt in str(r.body)]
                said = record.completion_tokens
                body += await response.read()
            transcript = fold(parse(body.replace(b": keep-alive\n", b""))[0])
            assert transcript.finish_reason == "Cancelled"
            assert len(transcript.text.split()) <= said < WORDS
            assert (record.state, record.completion_tokens) == ("complete", WORDS)
            assert transcript.usage is not None
            assert transcript.usage.completion_tokens == WORDS
            state = await get(b, headers, f"/v1/streams/{stream_id}")
            assert (state["finish_reason"], state["estimated"]) == ("Cancelled", False)
            rows = await get(b, headers, "/v1/usage?by=stream")
            (row,) = [row for row in rows if row["stream"] == stream_id]
            counted = (row["prompt_tokens"], row["completion_tokens"])
            assert counted == (record.prompt_tokens, WORDS)
            assert row["estimated_streams"] == 0

        async def heard() -> None:
            """The readers see the text end at the cancel."""
            async with asking(a, headers, "endless", "heard") as response:
                body = await read_some(response, 10)
                await cancel(b, headers, response.headers["X-Stream-Id"])
                async with asyncio.timeout(PATIENCE):
                    while b"event: step_finish" not in body:
                        body += await response.content.readline()
                (record,) = [r for r in simulator.requests() if "heard" in str(r.body)]
                assert record.state == "running"
                assert b"stream_end" not in body

        kinds = [("charged", 30), ("thinks", 0)]
        await asyncio.gather(
            *(cancelled(model, seen, at) for model, seen in kinds for at in (a, b)), heard()
        )
        assert "stream.fenced" not in a.errors


async def test_a_producer_that_says_nothing_is_taken_over_although_it_would_read_on(
    tmp_path: Path, redis: RedisServer, simulator: Simulator
) -> None:
    async with charging(tmp_path, simulator, redis, lease_seconds=5) as processes:
        a, b = await processes.start(), await processes.start()
        headers = processes.headers()
        async with asking(a, headers, "charged") as response:
            silent = response.headers["X-Stream-Id"]
            await read_some(response, 10)
            a.process.send_signal(signal.SIGSTOP)
            try:
                state, seconds = await cancel(b, headers, silent)
            finally:
                a.process.send_signal(signal.SIGCONT)
        assert (state["state"], state["finish_reason"]) == ("finished", "Cancelled")
        assert state["estimated"] is True
        assert seconds < 1.0 + 3.0
        async with asking(a, headers, "endless") as response:
            dying = response.headers["X-Stream-Id"]
            await read_some(response, 10)
            state, _ = await cancel(b, headers, dying)
            assert state["state"] == "running"
            await a.kill()
        async with asyncio.timeout(PATIENCE):
            while state["state"] == "running":
                await asyncio.sleep(0.1)
                state = await get(b, headers, f"/v1/streams/{dying}")
        assert (state["finish_reason"], state["estimated"]) == ("Cancelled", True)


async def test_a_server_that_stops_does_not_wait_for_more_than_its_own_time(
    tmp_path: Path, redis: RedisServer, simulator: Simulator
) -> None:
    async with charging(tmp_path, simulator, redis, drain_seconds=1.0) as processes:
        a = await processes.start()
        headers = processes.headers()
        async with asking(a, headers, "endless") as response:
            stream_id = response.headers["X-Stream-Id"]
            body = await read_some(response, 10)
            await cancel(a, headers, stream_id)
            a.process.send_signal(signal.SIGTERM)
            started = time.monotonic()
            body += await response.read()
            assert time.monotonic() - started < 1.0 + 5.0
        assert b'"finish_reason":"Cancelled"' in body
        await a.stop()
        b = await processes.start()
        (row,) = await get(b, headers, "/v1/usage?by=stream")
        assert row["estimated_streams"] == 1
        assert row["completion_tokens"] > 10
