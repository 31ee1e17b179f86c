"""Every recorded answer, said in every protocol: valid there, and saying the same."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from conformance.expected import Recording, recordings
from conformance.harness import Replaying, replaying
from protocols.checkers import CHECKERS
from support.chat import ask
from support.replay import Answer
from tellstream.core.transcript import Transcript
from tellstream.server.dialects import DIALECTS

pytestmark = pytest.mark.asyncio(loop_scope="module")

RECORDED = [
    pytest.param(dialect, *one.values, marks=one.marks, id=f"{dialect}-{one.id}")
    for dialect in DIALECTS
    for one in recordings(dialect)
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replayed(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[dict[str, Replaying]]:
    async with AsyncExitStack() as stack:
        yield {
            dialect: await stack.enter_async_context(
                replaying(tmp_path_factory.mktemp("server"), dialect)
            )
            for dialect in DIALECTS
        }


def openai(chunks: list[dict[str, Any]]) -> tuple[str, str, Counter[str]]:
    deltas = [c["choices"][0]["delta"] for c in chunks if c.get("choices")]
    calls: dict[int, str] = {}
    names: dict[int, str] = {}
    for call in (call for delta in deltas for call in delta.get("tool_calls", ())):
        at = call["index"]
        calls[at] = calls.get(at, "") + call["function"]["arguments"]
        names.setdefault(at, call["function"].get("name", ""))
    text = "".join(delta.get("content") or "" for delta in deltas)
    thinking = "".join(delta.get("reasoning_content") or "" for delta in deltas)
    return text, thinking, Counter(names.values())


def ui(chunks: list[dict[str, Any]]) -> tuple[str, str, Counter[str]]:
    said = {kind: "".join(c["delta"] for c in chunks if c["type"] == f"{kind}-delta")
            for kind in ("text", "reasoning")}  # fmt: skip
    calls = Counter(c["toolName"] for c in chunks if c["type"] == "tool-input-start")
    return said["text"], said["reasoning"], calls


def ag_ui(events: list[dict[str, Any]]) -> tuple[str, str, Counter[str]]:
    said = {kind: "".join(e["delta"] for e in events if e["type"] == f"{kind}_MESSAGE_CONTENT")
            for kind in ("TEXT", "REASONING")}  # fmt: skip
    calls = Counter(e["toolCallName"] for e in events if e["type"] == "TOOL_CALL_START")
    return said["TEXT"], said["REASONING"], calls


SAID = {"openai": openai, "ui": ui, "ag-ui": ag_ui}


@pytest.mark.parametrize(("dialect", "recording"), RECORDED)
async def test_a_recorded_answer_says_the_same_in_every_protocol(
    dialect: str, recording: Recording, replayed: dict[str, Replaying]
) -> None:
    here = replayed[dialect]
    here.provider.answers["recorded"] = Answer(
        recording.body, status=recording.status, content_type=recording.content_type
    )
    reply = await ask(here.server, {"prompt": "x"})
    if reply.status != 200:
        return  # refused before the head; test_protocols.py looks at that
    transcript: Transcript = reply.transcript
    calls = Counter(call["tool_name"] for call in transcript.tool_calls)
    path = f"{here.server.url}/v1/streams/{reply.headers['X-Stream-Id']}/events"
    async with aiohttp.ClientSession(headers=here.server.headers()) as session:
        for name, check in CHECKERS.items():
            async with session.get(f"{path}?protocol={name}") as response:
                said = check(await response.read())
            assert SAID[name](said) == (transcript.text, transcript.thinking, calls)
