"""The head is held until the first content, so that early failures keep their status."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from server.conftest import tables
from support.chat import ask, parse
from support.replay import ReplayProvider
from support.server import Running, tellstream
from tellstream.providers.simulator import Simulator


@pytest.fixture
async def patient(
    tmp_path: Path, simulator: Simulator, replay: ReplayProvider
) -> AsyncIterator[Running]:
    """A server that holds its heads long enough for a busy machine."""
    streams = {"commit_seconds": 10}
    async with tellstream(tmp_path, **tables(simulator, replay, streams=streams)) as server:
        yield server


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("busy", 503, "provider_rate_limited"),
        ("bad-key", 502, "provider_auth"),
        ("down", 503, "provider_unavailable"),
        ("html", 502, "provider_protocol"),
        ("redirect", 502, "provider_protocol"),
        ("gzip", 502, "provider_protocol"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/stream", "/v1/chat"])
async def test_an_early_failure_is_an_http_error(
    patient: Running, model: str, status: int, code: str, path: str
) -> None:
    reply = await ask(patient, {"prompt": "x", "model": model}, path=path)
    assert (reply.status, reply.json["error"]) == (status, code)
    assert set(reply.json) == {"error", "message"}


async def test_a_busy_provider_becomes_503_with_its_retry_after(patient: Running) -> None:
    reply = await ask(patient, {"prompt": "x", "model": "busy"})
    assert reply.headers["Retry-After"] == "7"


async def test_a_provider_that_never_answers_is_a_timeout(hasty: Running) -> None:
    reply = await ask(hasty, {"prompt": "x", "model": "no-head"}, path="/v1/chat")
    assert (reply.status, reply.json["error"]) == (504, "provider_timeout")


async def test_after_the_commit_time_a_failure_is_a_stream_that_ends(hasty: Running) -> None:
    reply = await ask(hasty, {"prompt": "x", "model": "silent"})
    assert reply.status == 200
    assert reply.types == ["stream_start", "error", "stream_end"]
    assert reply.transcript.error is not None
    assert reply.transcript.error.error_type == "provider_timeout"
    assert reply.transcript.finish_reason == "Error"


async def test_keep_alives_fill_the_silence_between_frames_only(hasty: Running) -> None:
    reply = await ask(hasty, {"prompt": "x", "model": "stalls"})
    assert b"\n\n: keep-alive\n" in reply.body
    assert reply.body.count(b"\n\n") == len(reply.events)  # no blank line of its own
    assert reply.transcript.error is not None
    assert reply.transcript.error.error_type == "provider_timeout"


async def test_keep_alives_begin_before_the_first_token(server: Running) -> None:
    reply = await ask(server, {"prompt": "x", "model": "slow-first"})
    assert reply.body.startswith(b": keep-alive\n")
    assert reply.transcript.finish_reason == "Stop"


async def test_the_next_target_answers_while_there_is_no_content(server: Running) -> None:
    reply = await ask(server, {"prompt": "x", "model": "falls-back"})
    assert reply.transcript.finish_reason == "Stop"
    assert reply.types.count("stream_start") == 1


@pytest.mark.parametrize("model", ["no-done", "hangs-after-finish"])
async def test_a_finish_reason_proves_the_end(server: Running, model: str) -> None:
    reply = await ask(server, {"prompt": "x", "model": model})
    assert reply.transcript.finish_reason == "Stop"


async def test_an_event_beyond_the_size_cap_fails_the_stream(server: Running) -> None:
    reply = await ask(server, {"prompt": "x", "model": "huge"})
    error = reply.transcript.error
    assert error is not None
    assert error.error_type == "provider_protocol"


async def test_head_and_first_events_arrive_together(server: Running) -> None:
    reader, writer = await asyncio.open_connection(*server.url.removeprefix("http://").split(":"))
    headers = "".join(f"{k}: {v}\r\n" for k, v in server.headers().items())
    body = b'{"prompt": "x"}'
    writer.write(
        f"POST /v1/chat/stream HTTP/1.1\r\nHost: x\r\n{headers}Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        + body
    )
    first = await reader.read(65536)
    assert first.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"event: stream_start" in first
    writer.close()


async def test_a_failed_stream_is_told_to_a_late_client_too(hasty: Running) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            hasty.url + "/v1/chat/stream",
            json={"prompt": "x", "model": "silent"},
            headers=hasty.headers(),
        ) as response,
    ):
        events, _ = parse(await response.read())
    assert events[-1].type == "stream_end"
