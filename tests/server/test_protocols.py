"""A stream can be followed in any protocol, whichever started it."""

from typing import Any

import aiohttp
import pytest

from protocols.checkers import CHECKERS
from support.chat import ask, parse
from support.server import Running
from tellstream.protocols.table import PROTOCOLS

HELLO = {"role": "user", "content": "Hello?"}
STARTS: dict[str, tuple[str, dict[str, Any]]] = {
    "native": ("/v1/chat/stream", {"prompt": "Hello?", "model": "plain"}),
    "openai": ("/v1/chat/completions", {"model": "plain", "messages": [HELLO], "stream": True}),
    "ui": (
        "/v1/ui/chat",
        {
            "id": "chat-1",
            "model": "plain",
            "messages": [{"role": "user", "parts": [{"type": "text", "text": "Hello?"}]}],
        },
    ),
    "ag-ui": (
        "/v1/ag-ui",
        {
            "threadId": "t",
            "runId": "r",
            "messages": [{"id": "1", **HELLO}],
            "forwardedProps": {"model": "plain"},
        },
    ),
}


async def fetch(server: Running, path: str, **headers: str) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(server.url + path, headers={**server.headers(), **headers}) as response,
    ):
        return response.status, await response.read()


async def begin(server: Running, name: str, **changes: Any) -> tuple[str, bytes]:
    """Start a stream in a protocol; returns its id and what was answered."""
    path, body = STARTS[name]
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            server.url + path, headers=server.headers(), json={**body, **changes}
        ) as response,
    ):
        said = await response.read()
        assert response.status == 200, said
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store, no-transform"
        assert response.headers["X-Accel-Buffering"] == "no"
        return response.headers["X-Stream-Id"], said


@pytest.mark.parametrize("first", PROTOCOLS)
async def test_a_stream_of_any_protocol_can_be_read_in_every_other(
    server: Running, first: str
) -> None:
    stream, said = await begin(server, first)
    for name in PROTOCOLS:
        status, body = await fetch(server, f"/v1/streams/{stream}/events?protocol={name}")
        assert status == 200
        if name == "native":
            events, _ = parse(body)
            assert [event.type for event in events][-1] == "stream_end"
            assert body == (await fetch(server, f"/v1/streams/{stream}/events"))[1]
        else:
            CHECKERS[name](body)
        if name == first and name not in {"ui", "ag-ui"}:  # those name things of their request
            assert body == said
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.url}/v1/streams/{stream}", headers=server.headers()) as response,
    ):
        assert (await response.json())["data"]["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("name", CHECKERS)
async def test_a_reader_of_any_protocol_comes_back_after_each_event(
    server: Running, name: str
) -> None:
    stream, _ = await begin(server, "native")
    path = f"/v1/streams/{stream}/events?protocol={name}"
    _, whole = await fetch(server, path)
    last = len(parse((await fetch(server, f"/v1/streams/{stream}/events"))[1])[0])
    for after in range(1, last):
        status, rest = await fetch(server, path, **{"Last-Event-ID": str(after)})
        assert status == 200
        assert whole.endswith(rest)
        head = whole.removesuffix(rest)
        assert not head or max(_ids(head)) <= after < min(_ids(rest))
        assert rest == (await fetch(server, f"{path}&after={after}&snapshot=1"))[1]
    assert (await fetch(server, path, **{"Last-Event-ID": str(last)}))[0] == 204
    assert (await fetch(server, path, **{"Last-Event-ID": str(last + 1)}))[0] == 409


def _ids(body: bytes) -> list[int]:
    return [int(line[4:]) for line in body.split(b"\n") if line.startswith(b"id: ")]


@pytest.mark.parametrize("query", ["protocol=", "protocol=x", "protocol=ui&protocol=ui"])
async def test_an_unknown_protocol_is_400(server: Running, query: str) -> None:
    reply = await ask(server, {"prompt": "x"})
    path = f"/v1/streams/{reply.headers['X-Stream-Id']}/events?{query}"
    assert (await fetch(server, path))[0] == 400


@pytest.mark.parametrize("name", CHECKERS)
async def test_a_running_stream_is_followed_live_with_keep_alives(
    server: Running, name: str
) -> None:
    """The first token takes longer than the heartbeat: the comment is a line, never a block."""
    _, said = await begin(server, name, **_with_model(name, "slow-first"))
    assert b": keep-alive\n" in said
    assert b": keep-alive\n\n" not in said
    CHECKERS[name](said)


def _with_model(name: str, model: str) -> dict[str, Any]:
    return {"forwardedProps": {"model": model}} if name == "ag-ui" else {"model": model}


@pytest.mark.parametrize("name", CHECKERS)
async def test_an_early_failure_keeps_its_status(server: Running, name: str) -> None:
    path, body = STARTS[name]
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            server.url + path, headers=server.headers(), json={**body, **_with_model(name, "down")}
        ) as response,
    ):
        assert response.status == 503
        assert int(response.headers["Retry-After"]) >= 1
        error = (await response.json())["error"]
    assert (error["code"] if name == "openai" else error) == "provider_unavailable"


@pytest.mark.parametrize("name", CHECKERS)
async def test_the_same_key_and_body_attach_to_the_same_stream(server: Running, name: str) -> None:
    path, body = STARTS[name]
    said = []
    async with aiohttp.ClientSession(headers=server.headers()) as session:
        for _ in range(2):
            async with session.post(
                server.url + path, headers={"Idempotency-Key": '"k"'}, json=body
            ) as response:
                said.append((response.headers["X-Stream-Id"], await response.read()))
    assert said[0] == said[1]
