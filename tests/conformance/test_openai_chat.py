"""Every recorded openai-chat answer, replayed over real HTTP through a real server."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from conformance.expected import Recording, recordings
from support.chat import ask
from support.replay import Answer, Chunking, ReplayProvider, random_cuts, single_bytes, whole
from support.server import Running, tellstream

from conformance import expected

CHUNKINGS: dict[str, Chunking] = {
    "whole": whole,
    "single bytes": single_bytes,
    "random cuts": random_cuts,
}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider() -> AsyncIterator[ReplayProvider]:
    async with ReplayProvider() as provider:
        yield provider


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    tmp_path_factory: pytest.TempPathFactory, provider: ReplayProvider
) -> AsyncIterator[Running]:
    async with tellstream(
        tmp_path_factory.mktemp("server"),
        providers={
            "replay": {"dialect": "openai-chat", "base_url": provider.url, "api_key": "none"}
        },
        models={"recorded": {"targets": ["replay/recorded"]}},
    ) as server:
        yield server


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("recording", recordings("openai-chat"))
async def test_a_recorded_answer_comes_out_as_expected(
    recording: Recording, chunking: str, provider: ReplayProvider, server: Running
) -> None:
    provider.answers["recorded"] = Answer(
        recording.body,
        status=recording.status,
        content_type=recording.content_type,
        chunking=CHUNKINGS[chunking],
    )
    reply = await ask(server, {"prompt": "x"})
    if recording.is_error:
        check_refused(recording, reply.status, reply.json)
        return
    assert reply.status == 200
    transcript = reply.transcript
    text, thinking = expected.speech(recording)
    assert transcript.text == text
    assert transcript.thinking == thinking
    assert transcript.tool_calls == expected.tool_calls(recording)
    assert transcript.finish_reason == expected.finish_reason(recording)
    cited = [citation.source for citation in transcript.citations]
    assert cited == (recording.expected.get("citation_urls") or [])
    assert len(cited) == recording.expected["citations_count"]
    ran = [call["name"] for call in recording.expected.get("server_tool_calls") or []]
    assert [key.split(".")[1] for key in transcript.provider_tools if ".completed" in key] == ran
    raw = recording.expected.get("usage")
    if raw:
        assert msgspec.to_builtins(transcript.usage) == expected.openai_chat_usage(raw)
    assert (transcript.error is None) == (recording.expected.get("error") is None)


def check_refused(recording: Recording, status: int, body: Any) -> None:
    message = recording.expected["error"]["message"]
    code = expected.HTTP_CODES[recording.status]
    if "context length" in message:
        code = "context_length_exceeded"
    assert (body["error"], status) == (code, expected.STATUS[code])
    assert message not in str(body)
