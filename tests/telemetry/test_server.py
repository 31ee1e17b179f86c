"""A whole server under watch: what it counts is true, and what was planted comes out nowhere."""

import asyncio
import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.canaries import contents, leaks
from support.ports import free_ports
from support.processes import NotStartedError, servers
from support.redis import redis_server
from tellstream.providers.simulator import Simulator

SECONDS: Final = 10
PARENT: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
KEY: Final = "sim-canary/key+0123456789"
PROMPT: Final = 'Tell "Kanarina" what ünd why, please \\ thanks'


async def get(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200
        return await response.text()


async def metrics(port: int) -> dict[tuple[str, ...], float]:
    """All samples, by name and label values in the order of their names."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(await get(f"http://127.0.0.1:{port}/metrics"))
        for sample in family.samples
    }


async def eventually(
    port: int, condition: Callable[[dict[tuple[str, ...], float]], bool]
) -> dict[tuple[str, ...], float]:
    """Ask until the numbers are there; an exposition is a second old at most."""
    async with asyncio.timeout(SECONDS):
        while True:
            told = await metrics(port)
            if condition(told):
                return told
            await asyncio.sleep(0.2)


async def ask(url: str, headers: Any, model: str, prompt: str = PROMPT, **more: str) -> str:
    body = {"prompt": prompt, "model": model, "history": [{"content": PROMPT * 2}]}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/chat/stream", json=body, headers={**headers, **more}) as response,
    ):
        return await response.text()


def watched(port: int, **tables: Any) -> dict[str, Any]:
    return {"metrics": {"listen": f"127.0.0.1:{port}"}, **tables}


async def test_what_a_server_counts_is_what_happened(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    async with servers(tmp_path, **watched(port)) as pool:
        server = await pool.start()
        headers = pool.headers()
        for _ in range(3):
            assert "stream_end" in await ask(server.url, headers, "sim-fast")
        assert "upstream_truncated" in await ask(server.url, headers, "sim-cut")
        assert "unauthenticated" in await ask(server.url, {"X-Tenant": "1"}, "sim-fast")
        async with aiohttp.ClientSession() as session:
            begun = asyncio.create_task(ask(server.url, headers, "sim-stall"))
            told = await eventually(port, lambda told: told["tellstream_streams_running",] == 1)
            assert told["tellstream_readers_attached",] == 1
            begun.cancel()
            async with session.get(f"{server.url}/nowhere/{PROMPT}") as response:
                assert response.status == 404
        unknown = ("tellstream_http_requests_total", "GET", "other", "404")
        told = await eventually(
            port,
            lambda told: told["tellstream_readers_attached",] == 0 and told.get(unknown) == 1,
        )
    assert told["tellstream_streams_started_total", "sim-fast"] == 3
    sim = "simulator"
    assert told["tellstream_streams_ended_total", "none", "Stop", "sim-fast", sim] == 3
    assert (
        told["tellstream_streams_ended_total", "upstream_truncated", "Error", "sim-cut", sim] == 1
    )
    assert told["tellstream_provider_attempts_total", "openai-chat", "ok", sim] == 3
    assert told["tellstream_stream_first_token_seconds_count", "sim-fast", sim] == 3
    assert told["tellstream_tokens_total", "sim-fast", sim, "prompt"] > 0
    route = "/v1/chat/stream"
    assert told["tellstream_http_requests_total", "POST", route, "200"] >= 4
    assert told["tellstream_http_requests_total", "POST", route, "401"] == 1
    assert told["tellstream_http_response_bytes_total", route] > 1000
    assert told["tellstream_eventlog_append_seconds_count",] >= 8
    assert told["tellstream_wait_seconds_count", "ledger_open"] == 5
    assert told["tellstream_wait_seconds_count", "settle"] == 4
    assert told["tellstream_wait_seconds_count", "head"] >= 4


async def indiscreet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A provider that refuses everything, and quotes all that it was told."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
    asked = json.loads(await reader.readexactly(length))["messages"]
    key = head.partition("Bearer ")[2].split()[0]
    said = f"wrong key in {head!r}, not {key}; you said {asked[-1]['content']}"
    error = {"message": said, "type": PROMPT}
    body = json.dumps({"error": error}).encode()
    answer = f"HTTP/1.1 401 No\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    writer.write(answer.encode() + body)
    await writer.drain()
    writer.close()


async def test_what_was_planted_comes_out_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_ports(1)[0]
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    leaky = await asyncio.start_server(indiscreet, "127.0.0.1", 0)
    async with Simulator() as simulator:
        urls = [simulator.url, "http://{}:{}".format(*leaky.sockets[0].getsockname())]
        providers = {
            name: {"dialect": "openai-chat", "base_url": f"{url}/v1", "api_key": KEY}
            for name, url in zip(("planted", "leaky"), urls, strict=True)
        }
        models = {
            "good": {"targets": ["planted/sim-fast"]},
            "cut": {"targets": ["planted/sim-cut"]},
            "leaky": {"targets": ["leaky/m"]},
        }
        async with servers(tmp_path, **watched(port, providers=providers, models=models)) as pool:
            server = await pool.start()
            headers = pool.headers()
            token = headers["Authorization"].partition(" ")[2]
            answers = ""
            for model in (*models, PROMPT):
                answer = await ask(server.url, headers, model, traceparent=PARENT)
                answers += "" if model == "good" else answer
            answers += await ask(server.url, {**headers, "Authorization": f"Bearer {token}x"}, "x")
            exposition = await get(f"http://127.0.0.1:{port}/metrics")
            command_line = contents([Path(f"/proc/{server.process.pid}/cmdline")])
            await server.stop()
            said = server.errors
    leaky.close()
    await leaky.wait_closed()
    assert "0af7651916cd43dd8448eb211c80319c" in said, "traces were on"
    assert "wrong key in" in said, "logs were on, with what the provider said"
    planted = {"key": KEY, "prompt": PROMPT, "token": token}
    assert leaks(planted, {"logs and traces": said, "metrics": exposition}) == []
    assert leaks(planted, command_line) == []
    assert leaks({"key": KEY, "token": token}, {"answers": answers}) == []
    # What callers said is in the event log, where it belongs; keys and tokens are in no file.
    files = contents([tmp_path / ".tellstream"])
    assert files
    assert leaks({"key": KEY, "token": token}, files) == []


async def test_a_stream_whose_process_was_killed_is_counted_by_the_next_one(
    tmp_path: Path,
) -> None:
    port = free_ports(1)[0]
    async with servers(tmp_path, **watched(port)) as pool:
        server = await pool.start()
        begun = asyncio.create_task(ask(server.url, pool.headers(), "sim-stall"))
        await eventually(port, lambda told: told["tellstream_streams_running",] == 1)
        await server.kill()
        with pytest.raises(aiohttp.ClientError):
            await begun
        await pool.start()
        ended = ("tellstream_streams_ended_total", "worker_lost", "Error", "sim-stall", "simulator")
        told = await eventually(port, lambda told: ended in told)
    assert told[ended] == 1


async def test_a_second_server_on_the_metrics_port_says_so_in_one_line(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        async with servers(tmp_path, **watched(port)) as pool:
            with pytest.raises(NotStartedError) as refused:
                await pool.start()
    # Before it are log lines: the first start has made the first administrator.
    assert str(refused.value).splitlines()[-1] == (
        f"tellstream: metrics.listen: cannot listen on 127.0.0.1:{port}: Address already in use"
    )


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
async def test_every_worker_tells_of_itself(tmp_path: Path) -> None:
    first = free_ports(2)[0]
    (tmp_path / "redis").mkdir()
    with redis_server(tmp_path / "redis") as redis:
        tables = watched(first, eventlog={"url": redis.url})
        async with servers(tmp_path, **tables) as pool:
            server = await pool.start("--workers", "2")
            for _ in range(6):
                await ask(server.url, pool.headers(), "sim-fast")
            ended = 0.0
            pids = set()
            for worker in range(2):
                told = await metrics(first + worker)
                ended += sum(n for key, n in told.items() if key[0].endswith("streams_ended_total"))
                pids.add(told["process_start_time_seconds",])
            assert ended == 6
            await server.stop()
