"""Resuming a stream: always exactly the suffix, while it runs and after its end."""

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.conftest import LOGS, tables
from support.chat import ask, parse
from support.replay import ReplayProvider
from support.server import Running, tellstream
from tellstream.core import events as ev
from tellstream.core import grammar
from tellstream.core.frames import KEEP_ALIVE
from tellstream.core.sse import SseDecoder
from tellstream.core.transcript import fold
from tellstream.providers.simulator import Simulator


async def events(
    server: Running,
    stream_id: str,
    *,
    query: str = "",
    headers: dict[str, str] | None = None,
    subject: str = "local",
    tenant: int = 1,
) -> tuple[int, bytes]:
    url = f"{server.url}/v1/streams/{stream_id}/events{query}"
    sent = {**server.headers(tenant, subject=subject), **(headers or {})}
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers=sent) as response,
    ):
        return response.status, said(await response.read())


def said(body: bytes) -> bytes:
    """Leave out what fills the silence: it is of this connection, and not of the stream."""
    return body.replace(KEEP_ALIVE, b"")


def suffix(body: bytes, after: int) -> bytes:
    return b"".join(frame + b"\n\n" for frame in said(body).split(b"\n\n")[after:-1])


async def test_after_the_end_every_position_gives_exactly_the_rest(server: Running) -> None:
    reply = await ask(server, {"prompt": "x", "model": "mark-a"})
    stream_id, last = reply.headers["X-Stream-Id"], len(reply.events)
    for after in range(last):
        status, body = await events(server, stream_id, query=f"?after={after}")
        assert (status, body) == (200, suffix(reply.body, after))
    status, body = await events(server, stream_id, headers={"Last-Event-ID": str(last)})
    assert (status, body) == (204, b"")


async def test_a_packed_log_gives_the_same(server: Running) -> None:
    reply = await ask(server, {"prompt": "x", "model": "mark-a"})
    await asyncio.sleep(0.3)  # finished logs are packed in the background
    for after in (0, 7):
        status, body = await events(server, reply.headers["X-Stream-Id"], query=f"?after={after}")
        assert (status, body) == (200, suffix(reply.body, after))


async def test_while_it_runs_every_position_gives_exactly_the_rest(server: Running) -> None:
    async with (
        aiohttp.ClientSession(headers=server.headers()) as session,
        session.post(
            server.url + "/v1/chat/stream", json={"prompt": "x", "model": "mark-a"}
        ) as response,
    ):
        stream_id = response.headers["X-Stream-Id"]
        first = await response.content.readany()
        seen = first.count(b"\n\n")
        resumed = await asyncio.gather(
            *(events(server, stream_id, query=f"?after={after}") for after in range(seen + 1))
        )
        body = first + await response.read()
    for after, (status, rest) in enumerate(resumed):
        assert (status, rest) == (200, suffix(body, after))


async def test_the_header_counts_before_the_query(server: Running) -> None:
    reply = await ask(server, {"prompt": "x"})
    status, body = await events(
        server, reply.headers["X-Stream-Id"], query="?after=1", headers={"Last-Event-ID": "3"}
    )
    assert (status, body) == (200, suffix(reply.body, 3))


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "", "evt_1", "9" * 10, "\u0661"])
async def test_a_malformed_position_is_400(server: Running, value: str) -> None:
    reply = await ask(server, {"prompt": "x"})
    status, _ = await events(server, reply.headers["X-Stream-Id"], query=f"?after={value}")
    assert status == 400


async def test_a_position_beyond_the_head_is_409(server: Running) -> None:
    reply = await ask(server, {"prompt": "x"})
    assert (await events(server, reply.headers["X-Stream-Id"], query="?after=999"))[0] == 409


async def test_foreign_and_unknown_streams_are_the_same_404(server: Running) -> None:
    stream_id = (await ask(server, {"prompt": "x"})).headers["X-Stream-Id"]
    foreign = await events(server, stream_id, subject="other")
    assert foreign[0] == 404
    assert foreign == await events(server, stream_id, tenant=2)
    assert foreign == await events(server, "str_00000000000000000000000000")


@pytest.mark.parametrize("log", LOGS)
async def test_an_expired_stream_is_410_for_its_owner(
    tmp_path: Path,
    simulator: Simulator,
    replay: ReplayProvider,
    log: str,
    request: pytest.FixtureRequest,
) -> None:
    eventlog = {"url": LOGS[log](request), "retention_seconds": 0.2}
    async with tellstream(tmp_path, **tables(simulator, replay, eventlog=eventlog)) as server:
        stream_id = (await ask(server, {"prompt": "x"})).headers["X-Stream-Id"]
        deadline = time.monotonic() + 20
        while (await events(server, stream_id))[0] != 410:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert (await events(server, stream_id, subject="other"))[0] == 404
        assert (await state(server, stream_id))["finish_reason"] == "Stop"  # from the tombstone


async def state(server: Running, stream_id: str) -> Any:
    async with (
        aiohttp.ClientSession(headers=server.headers()) as session,
        session.get(f"{server.url}/v1/streams/{stream_id}") as response,
    ):
        return (await response.json())["data"]


async def test_a_snapshot_says_the_same_in_fewer_events(server: Running) -> None:
    reply = await ask(server, {"prompt": "x", "model": "mark-a"})
    stream_id = reply.headers["X-Stream-Id"]
    status, body = await events(server, stream_id, query="?snapshot=1")
    assert status == 200
    decoded = [ev.decode(frame.event, frame.data) for frame in SseDecoder().feed(body)]
    grammar.check(decoded)
    assert fold(decoded) == reply.transcript
    assert len(decoded) < 10 < len(reply.events)
    status, rest = await events(server, stream_id, query="?snapshot=1&after=20")
    assert rest.startswith(b"id: ")
    folded = SseDecoder().feed(rest)
    assert int(folded[0].id) > 21
    assert folded[-1].id == str(len(reply.events))


async def test_a_snapshot_of_a_running_stream_goes_on_live_without_gap_or_repeat(
    server: Running,
) -> None:
    async with (
        aiohttp.ClientSession(headers=server.headers()) as session,
        session.post(
            server.url + "/v1/chat/stream", json={"prompt": "x", "model": "mark-a"}
        ) as response,
    ):
        stream_id = response.headers["X-Stream-Id"]
        seen = b""
        while seen.count(b"\n\n") < 20:
            seen += await response.content.readany()
        _, body = await events(server, stream_id, query="?snapshot=1")
        seen += await response.content.read()
    frames = SseDecoder().feed(body)
    numbers = [int(frame.id) for frame in frames]
    assert numbers == sorted(set(numbers))
    assert len(numbers) < seen.count(b"\n\n")
    decoded = [ev.decode(frame.event, frame.data) for frame in frames]
    grammar.check(decoded)
    assert fold(decoded) == fold(parse(seen)[0])
    assert seen.endswith(body[-200:])  # the live part is the log, byte for byte


@pytest.mark.parametrize("value", ["2", "x", "", "true"])
async def test_another_value_of_snapshot_is_400(server: Running, value: str) -> None:
    stream_id = (await ask(server, {"prompt": "x"})).headers["X-Stream-Id"]
    assert (await events(server, stream_id, query=f"?snapshot={value}"))[0] == 400


async def test_head_tells_of_a_running_stream_and_ends_at_once(server: Running) -> None:
    async with (
        aiohttp.ClientSession(headers=server.headers()) as session,
        session.post(
            f"{server.url}/v1/chat/stream", json={"prompt": "x", "model": "endless"}
        ) as started,
    ):
        url = f"{server.url}/v1/streams/{started.headers['X-Stream-Id']}"
        async with asyncio.timeout(5), session.head(f"{url}/events") as response:
            assert response.status == 200
            assert response.content_type == "text/event-stream"
        await (await session.post(f"{url}/cancel")).read()
