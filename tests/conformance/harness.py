"""Replaying a recording over real HTTP through a real server, and comparing what comes out.

A wire's test module defines the fixtures with ``replaying`` and calls ``check_recording`` with its
own normalisation (``Norms``).
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from conformance import expected
from conformance.expected import Recording
from support.chat import ask
from support.replay import Answer, Chunking, ReplayProvider, random_cuts, single_bytes, whole
from support.server import Running, tellstream
from tellstream.core.events import Citation

CHUNKINGS: dict[str, Chunking] = {
    "whole": whole,
    "single bytes": single_bytes,
    "random cuts": random_cuts,
}


@dataclass(frozen=True)
class Norms:
    """How the values of one wire are normalised, written apart from the decoders.

    Attributes:
        usage: the provider's last usage object to our five counts.
        finish_reason: the recording's finish reason, error and calls to ours.
        error_code: of an HTTP error body or a failed stream, our code; None: any.
        cited: what the manifest lists of a citation; None: nothing.
    """

    usage: Callable[[dict[str, Any]], dict[str, Any]]
    finish_reason: Callable[[Recording], str]
    error_code: Callable[[Recording], str]
    cited: Callable[[Citation], str | int | None] = lambda citation: citation.source


@dataclass(frozen=True)
class Replaying:
    """A server in front of a provider that replays."""

    provider: ReplayProvider
    server: Running


@asynccontextmanager
async def replaying(folder: Path, dialect: str) -> AsyncIterator[Replaying]:
    async with ReplayProvider() as provider:
        replay = {"dialect": dialect, "base_url": provider.url, "api_key": "none"}
        async with tellstream(
            folder,
            providers={"replay": replay},
            models={"recorded": {"targets": ["replay/recorded"]}},
            retries={"max": 0},
        ) as server:
            yield Replaying(provider, server)


async def check_recording(
    replaying: Replaying, recording: Recording, chunking: str, norms: Norms
) -> None:
    """Replay ``recording`` in a chunking of ``CHUNKINGS`` and compare everything."""
    replaying.provider.answers["recorded"] = Answer(
        recording.body,
        status=recording.status,
        content_type=recording.content_type,
        chunking=CHUNKINGS[chunking],
    )
    reply = await ask(replaying.server, {"prompt": "x"})
    if reply.status != 200:
        assert recording.expected["error"], reply.json
        code = norms.error_code(recording)
        assert (reply.json["error"], reply.status) == (code, expected.STATUS[code])
        assert (recording.expected["error"]["message"] or "\0") not in str(reply.json)
        return
    transcript = reply.transcript
    text, thinking = expected.speech(recording)
    assert transcript.text == text
    assert transcript.thinking == thinking
    assert transcript.tool_calls == expected.tool_calls(recording)
    assert transcript.finish_reason == norms.finish_reason(recording)
    assert len(transcript.citations) == recording.expected["citations_count"]
    cited = dict.fromkeys(map(norms.cited, transcript.citations))
    assert [name for name in cited if name is not None] == list(
        dict.fromkeys(recording.expected.get("citation_urls") or [])
    )
    ran = [call["name"] for call in recording.expected.get("server_tool_calls") or []]
    assert [key.split(".")[1] for key in transcript.provider_tools if ".completed" in key] == ran
    raw = recording.expected.get("usage")
    if raw:
        assert msgspec.to_builtins(transcript.usage) == norms.usage(raw)
    assert (transcript.error is None) == (recording.expected.get("error") is None)
