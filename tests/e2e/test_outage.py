"""PostgreSQL away in the middle of streams: they finish, nothing new begins, nothing is lost."""

import asyncio
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from support.chat import parse
from support.postgres import PostgresServer, postgres_server
from support.processes import Server, servers
from tellstream.core import events as ev
from tellstream.core.transcript import Transcript, fold
from tellstream.providers.simulator import Simulator
from tellstream.storage.postgresql import PostgresqlDatabase

AWAY_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "20"))
REFUSED_WITHIN = 6.0
"""Two seconds is how long a new stream waits for its row; the rest is for a busy machine."""
BACK_SECONDS = 40.0
RUNNING = 12
"""Streams that are cut off from their ledger: half of them end before it is back."""


async def test_streams_finish_without_postgresql_and_their_rows_arrive_later(
    tmp_path: Path,
) -> None:
    """Once it is gone, once it hangs: at the same time, since both take their time."""
    with postgres_server() as killed, postgres_server() as paused:
        async with asyncio.TaskGroup() as both:
            for name, server, stop, start in (
                ("killed", killed, killed.kill, killed.start),
                ("paused", paused, paused.pause, paused.resume),
            ):
                folder = tmp_path / name
                folder.mkdir()
                both.create_task(outage(folder, server, stop, start))


async def outage(
    folder: Path, postgres: PostgresServer, stop: Callable[[], None], start: Callable[[], None]
) -> None:
    name = postgres.database()
    await asyncio.to_thread(PostgresqlDatabase(postgres.url(name)).upgrade)
    async with Simulator() as simulator:
        chat = {"dialect": "openai-chat", "base_url": f"{simulator.url}/v1", "api_key": "none"}
        long = round(AWAY_SECONDS * 1.3 / 0.01)
        tables: dict[str, Any] = {
            "store": {"url": postgres.url(name)},
            "providers": {"sim": chat},
            "models": {
                "soon": {"targets": [f"sim/sim:words={long // 4},delay_ms=10"]},
                "late": {"targets": [f"sim/sim:words={long},delay_ms=10"]},
                "short": {"targets": ["sim/sim:words=5"]},
            },
            "tenants": {"1": {"model": "short"}},
        }
        async with (
            servers(folder, **tables) as processes,
            aiohttp.ClientSession(headers=processes.headers()) as session,
        ):
            server = await processes.start()
            models = ["soon", "late"] * (RUNNING // 2)
            running = [asyncio.create_task(whole(session, server, model)) for model in models]
            async with asyncio.timeout(BACK_SECONDS):
                while simulator.stats()["completion_tokens"] < RUNNING * 10:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            await asyncio.to_thread(stop)
            try:
                refused = await meanwhile(session, server, running)
            finally:
                await asyncio.to_thread(start)
            assert refused
            ended = dict(await asyncio.gather(*running))
            for transcript in ended.values():
                assert transcript.finish_reason == "Stop"
                assert transcript.text.count(" ") + 1 in (long // 4, long)
            new, _ = await first_that_works(session, server)
            rows = await eventually_rows(session, server, len(ended) + 1)
            assert rows.keys() == {*ended, new}
            for stream_id, transcript in ended.items():
                usage, row = transcript.usage, rows[stream_id]
                assert usage is not None
                assert row["estimated_streams"] == 0
                counted = (row["prompt_tokens"], row["completion_tokens"])
                assert counted == (usage.prompt_tokens, usage.completion_tokens)
            # Those that were refused reached no provider.
            assert simulator.stats()["requests"] == len(ended) + 1
            assert '"usage.settled_late"' in server.errors
            assert '"usage.not_settled"' not in server.errors
            assert re.search('"stream.bug"|"http.bug"', server.errors) is None


async def whole(
    session: aiohttp.ClientSession, server: Server, model: str
) -> tuple[str, Transcript]:
    """Read a stream to its end."""
    body = {"prompt": "x", "model": model}
    async with session.post(server.url + "/v1/chat/stream", json=body) as response:
        assert response.status == 200, await response.text()
        read = await response.read()
        events, _ = parse(read.replace(b": keep-alive\n", b""))
        assert sum(isinstance(event, ev.StreamEnd) for event in events) == 1
        return response.headers["X-Stream-Id"], fold(events)


async def meanwhile(
    session: aiohttp.ClientSession,
    server: Server,
    running: list[asyncio.Task[tuple[str, Transcript]]],
) -> int:
    """Ask for new streams while the database is away; returns how many were refused."""
    back_at = time.monotonic() + AWAY_SECONDS
    refused = 0
    while time.monotonic() < back_at:
        asked_at = time.monotonic()
        body = {"prompt": "nothing comes of this"}
        async with session.post(server.url + "/v1/chat/stream", json=body) as response:
            answer = await response.json()
            assert (response.status, answer["error"]) == (503, "service_unavailable")
            assert int(response.headers["Retry-After"]) >= 1
        assert time.monotonic() < asked_at + REFUSED_WITHIN
        refused += 1
        await asyncio.sleep(0.5)
    # The short ones have ended without it.
    assert sum(task.done() for task in running) == len(running) // 2
    return refused


async def first_that_works(
    session: aiohttp.ClientSession, server: Server
) -> tuple[str, dict[str, Any]]:
    """Ask again until a stream is taken, as Retry-After says."""
    async with asyncio.timeout(BACK_SECONDS):
        while True:
            async with session.post(server.url + "/v1/chat", json={"prompt": "x"}) as response:
                answer = await response.json()
                if response.status == 200:
                    return response.headers["X-Stream-Id"], answer
                assert response.status == 503, answer
                await asyncio.sleep(int(response.headers["Retry-After"]))


async def eventually_rows(
    session: aiohttp.ClientSession, server: Server, count: int
) -> dict[str, Any]:
    async with asyncio.timeout(BACK_SECONDS):
        while True:
            async with session.get(server.url + "/v1/usage?by=stream") as response:
                answer = await response.json()
            if response.status == 200 and len(answer["data"]) >= count:
                return {row["stream"]: row for row in answer["data"]}
            await asyncio.sleep(0.2)
