"""R15: a token that expires during a stream ends nothing, and begins nothing any more."""

import time
from pathlib import Path
from typing import Any

import aiohttp

from support.chat import parse
from support.server import Running, tellstream
from tellstream.core.events import StreamEnd
from tellstream.core.usage import FinishReason
from tellstream.providers.simulator import Simulator

LEEWAY = 30
LIFETIME = 3600


def tables(simulator: Simulator) -> dict[str, Any]:
    local = {"dialect": "openai-chat", "api_key": "none", "base_url": f"{simulator.url}/v1"}
    return {
        "providers": {"sim": local},
        "models": {"paced": {"targets": ["sim/sim:words=60,delay_ms=10"]}},
        "tenants": {"1": {"name": "Acme"}},
    }


async def statuses(server: Running, stream: str, headers: dict[str, str]) -> list[int]:
    """Try everything that begins something: a new stream, a resume, a state, a cancel."""
    routes = [
        ("POST", "/v1/chat"), ("GET", f"/v1/streams/{stream}/events"),
        ("GET", f"/v1/streams/{stream}"), ("POST", f"/v1/streams/{stream}/cancel"),
    ]  # fmt: skip
    found = []
    async with aiohttp.ClientSession(headers=headers) as session:
        for method, path in routes:
            body = {"prompt": "x"} if path == "/v1/chat" else None
            async with session.request(method, server.url + path, json=body) as answer:
                await answer.read()
                found.append(answer.status)
    return found


async def test_r15_a_stream_outlives_its_token_and_all_else_needs_a_valid_one(
    tmp_path: Path,
) -> None:
    async with Simulator() as simulator, tellstream(tmp_path, **tables(simulator)) as server:
        old = server.headers()
        async with (
            aiohttp.ClientSession(headers=old) as session,
            session.post(server.url + "/v1/chat/stream", json={"prompt": "x"}) as response,
        ):
            assert response.status == 200
            stream = response.headers["X-Stream-Id"]
            begun = await response.content.readany()
            later = time.time() + LIFETIME + LEEWAY + 1
            server.services.clock = lambda: later
            assert await statuses(server, stream, old) == [401] * 4
            assert b"stream_end" not in begun
            events, _ = parse(begun + await response.read())
        assert isinstance(events[-1], StreamEnd)
        assert events[-1].finish_reason == FinishReason.STOP
        server.services.clock = time.time
        fresh = server.headers()
        assert await statuses(server, stream, fresh) == [200, 200, 200, 202]
