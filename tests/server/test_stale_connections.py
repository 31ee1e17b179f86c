"""Providers that close idle connections just when they are used again: nobody notices."""

from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

from support.chat import Reply, ask
from support.raw_provider import RawProvider, Visit
from support.server import Running, tellstream

STREAMS = 25  # more than a breaker needs to open
ANSWER = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n'
BODY = ANSWER + b"data: [DONE]\n\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


def configuration(provider: RawProvider) -> dict[str, Any]:
    return {
        "providers": {"p": {"dialect": "openai-chat", "base_url": provider.url}},
        "models": {"m": {"targets": ["p/m"]}},
        "tenants": {"1": {"model": "m"}},
        "streams": {"commit_seconds": 15},
    }


async def attempts(server: Running, reply: Reply) -> list[Any]:
    path = f"{server.url}/v1/streams/{reply.headers['X-Stream-Id']}"
    async with (
        aiohttp.ClientSession(headers=server.headers()) as session,
        session.get(path) as response,
    ):
        found: list[Any] = (await response.json())["data"]["attempts"]
        return found


async def test_a_stream_on_a_closing_connection_is_no_retry_and_no_failure(tmp_path: Path) -> None:
    async def play(visit: Visit) -> None:
        await visit.request()
        await visit.send(RESPONSE)
        await visit.request()
        visit.reset()

    async with (
        RawProvider(play) as provider,
        tellstream(tmp_path, **configuration(provider)) as server,
    ):
        for _ in range(STREAMS):
            reply = await ask(server, {"prompt": "x"})
            assert reply.transcript.finish_reason == "Stop"
            assert [attempt["error"] for attempt in await attempts(server, reply)] == [None]
        assert len(provider.visits) == STREAMS
        states = server.services.streams.readings().breakers
        assert states == Counter({("host", "closed"): 1, ("credential", "closed"): 1})


async def test_a_new_connection_that_is_lost_is_a_failure_that_is_tried_again(
    tmp_path: Path,
) -> None:
    async def play(visit: Visit) -> None:
        await visit.request()
        if visit.number == 1:
            visit.reset()
            return
        await visit.send(RESPONSE)

    async with (
        RawProvider(play) as provider,
        tellstream(tmp_path, **configuration(provider)) as server,
    ):
        reply = await ask(server, {"prompt": "x"})
        assert reply.transcript.finish_reason == "Stop"
        errors = [attempt["error"] for attempt in await attempts(server, reply)]
        assert errors == ["provider_unavailable", None]
