"""The provider cut at every byte: one grammatical stream, truncated unless the finish was seen."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from conformance.expected import ROOT
from support.chat import parse
from support.replay import Answer, ReplayProvider
from support.server import Running, tellstream
from tellstream.core.transcript import fold

RECORDINGS = (
    "openai-chat/openrouter-anthropic-claude-4.6-sonnet-20-openrouter-cache-streaming-e2e.sse",
    "openai-chat/xai-grok-4-with-tools-responses-1.sse",
    "openai-chat/copilot-gpt-4o-2024-11-20-streaming-tools-raw-stream-surfaces-two-distin.sse",
)
AT_ONCE = 32  # requests in flight


@pytest.fixture
async def replay() -> AsyncIterator[ReplayProvider]:
    async with ReplayProvider() as provider:
        yield provider


@pytest.fixture
async def server(tmp_path: Path, replay: ReplayProvider) -> AsyncIterator[Running]:
    provider = {"dialect": "openai-chat", "base_url": replay.url, "api_key": "none"}
    names = {f"cut{number}": {"targets": [f"replay/{number}"]} for number in range(6000)}
    async with tellstream(
        tmp_path, providers={"replay": provider}, models=names,
        tenants={"1": {"name": "one"}},
    ) as server:  # fmt: skip
        yield server


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_a_cut_at_every_byte_ends_once_and_tells_the_truth(
    name: str, reset: bool, replay: ReplayProvider, server: Running
) -> None:
    if not (ROOT / name).exists():
        pytest.skip(f"no recorded provider streams at {ROOT} (set TELLSTREAM_RECORDINGS)")
    body = (ROOT / name).read_bytes()
    for cut in range(len(body) + 1):
        replay.answers[str(cut)] = Answer(body, cut=cut, reset=reset)
    gate = asyncio.Semaphore(AT_ONCE)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=AT_ONCE), headers=server.headers()
    ) as session:

        async def one(cut: int) -> None:
            url = server.url + "/v1/chat/stream"
            request = {"prompt": "x", "model": f"cut{cut}"}
            async with gate, session.post(url, json=request) as response:
                payload = await response.read()
                check(body, cut, response.status, payload)

        await asyncio.gather(*(one(cut) for cut in range(len(body) + 1)))
    assert server.services.streams.running == 0


def finish_seen(prefix: bytes) -> bool:
    """Whether a whole event with a finish reason, or the end marker, is in the prefix."""
    complete = prefix[: prefix.rfind(b"\n\n") + 2]
    return bool(re.search(rb'"finish_reason": ?"', complete)) or b"data: [DONE]\n\n" in complete


def check(body: bytes, cut: int, status: int, payload: bytes) -> None:
    if status != 200:
        assert (status, b'"upstream_truncated"' in payload) == (502, True)
        assert not finish_seen(body[:cut])
        return
    events, _ = parse(payload)
    transcript = fold(events)
    if finish_seen(body[:cut]):
        assert transcript.error is None
        assert transcript.finish_reason in {"Stop", "ToolCalls", "Length"}
    else:
        assert transcript.finish_reason == "Error"
        assert transcript.error is not None
        assert transcript.error.error_type == "upstream_truncated"
