"""kill -9 of the only process, over the default log: nothing that was seen is lost."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from support.chat import parse
from support.processes import Server, servers
from tellstream.core.transcript import fold
from tellstream.providers.simulator import Simulator


async def read_some(response: aiohttp.ClientResponse, events: int) -> bytes:
    """Read whole events from a stream, at least so many."""
    body = b""
    async with asyncio.timeout(20):
        async for line in response.content:
            body += line
            if line == b"\n" and body.count(b"\n\n") >= events:
                return body
    raise AssertionError(body)


async def get(server: Server, headers: Any, path: str) -> Any:
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(server.url + path) as response,
    ):
        assert response.status == 200
        return (await response.json())["data"]


@pytest.mark.parametrize("seen", [1, 40])
async def test_after_kill_9_a_reader_gets_the_rest_and_the_sealed_end(
    tmp_path: Path, seen: int
) -> None:
    async with Simulator() as simulator:
        sim = {"dialect": "openai-chat", "base_url": f"{simulator.url}/v1", "api_key": "none"}
        async with servers(
            tmp_path,
            providers={"sim": sim},
            models={"slow": {"targets": ["sim/sim:words=4000,delay_ms=5"]}},
        ) as processes:
            server = await processes.start()
            headers = processes.headers()
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.post(
                    server.url + "/v1/chat/stream", json={"prompt": "hello", "metadata": {"a": "b"}}
                ) as response,
            ):
                stream_id = response.headers["X-Stream-Id"]
                body = await read_some(response, seen)
                await server.kill()
            before = body.count(b"\n\n")

            again = await processes.start(port=server.port)
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.get(
                    f"{again.url}/v1/streams/{stream_id}/events",
                    headers={"Last-Event-ID": str(before)},
                ) as response,
            ):
                assert response.status == 200
                body += await response.read()
            events, _ = parse(body)  # gap-free, grammatical, ended once
            transcript = fold(events)
            assert transcript.finish_reason == "Error"
            assert transcript.error is not None
            assert transcript.error.error_type == "worker_lost"
            assert transcript.metadata == {"a": "b"}
            assert transcript.usage is not None
            assert transcript.usage.completion_tokens > 0

            state = await get(again, headers, f"/v1/streams/{stream_id}")
            assert (state["state"], state["finish_reason"]) == ("finished", "Error")
            assert state["estimated"] is True
            (row,) = await get(again, headers, "/v1/usage?by=stream")
            assert row["stream"] == stream_id
            assert row["estimated_streams"] == 1
            assert row["finish_reasons"] == {"Error": 1}
            assert row["first_token_ms"] is None  # it went with the worker
            assert row["completion_tokens"] == transcript.usage.completion_tokens
            assert row["prompt_tokens"] == transcript.usage.prompt_tokens


async def test_a_second_process_on_the_same_data_is_refused_in_one_line(tmp_path: Path) -> None:
    async with servers(tmp_path) as processes:
        await processes.start()
        with pytest.raises(AssertionError) as caught:
            await processes.start()
        line = str(caught.value)
        assert line.startswith("tellstream: ")
        assert "eventlog.db is in use" in line
        assert "redis://" in line
        assert line.count("\n") == 1
