"""Idempotency-Key: one provider call per key and body, however often it is asked."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.conftest import LOGS, tables
from support.chat import Reply, ask
from support.replay import ReplayProvider
from support.server import Running, tellstream
from tellstream.providers.simulator import Simulator

KEY = {"Idempotency-Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"'}


async def twenty(server: Running, body: dict[str, Any]) -> list[Reply]:
    return await asyncio.gather(*(ask(server, body, headers=KEY) for _ in range(20)))


@pytest.mark.parametrize("log", LOGS)
async def test_twenty_at_once_make_one_provider_call(
    tmp_path: Path,
    simulator: Simulator,
    replay: ReplayProvider,
    log: str,
    request: pytest.FixtureRequest,
) -> None:
    eventlog = {"url": LOGS[log](request)}
    # One slot is enough: those who attach take none.
    tenants = {"1": {"model": "plain", "limits": {"concurrent_streams": 1}}}
    configuration = tables(simulator, replay, eventlog=eventlog, tenants=tenants)
    async with tellstream(tmp_path, **configuration) as server:
        replies = await twenty(server, {"prompt": "x", "model": "mark-a"})
        assert {reply.status for reply in replies} == {200}
        assert len({reply.headers["X-Stream-Id"] for reply in replies}) == 1
        assert len({reply.body for reply in replies}) == 1
        later = await ask(server, {"model": "mark-a", "prompt": "x"}, headers=KEY)  # other order
        assert later.body == replies[0].body
        assert len(simulator.requests()) == 1


async def test_another_body_is_422_and_starts_nothing(
    server: Running, simulator: Simulator
) -> None:
    await ask(server, {"prompt": "x"}, headers=KEY)
    refused = await ask(server, {"prompt": "y"}, headers=KEY)
    assert refused.status == 422
    assert refused.json["error"] == "validation_error"
    assert refused.json["details"][0]["field"] == "Idempotency-Key"
    assert len(simulator.requests()) == 1


async def test_quotes_make_no_difference(server: Running, simulator: Simulator) -> None:
    one = await ask(server, {"prompt": "x"}, headers={"Idempotency-Key": '"abc"'})
    other = await ask(server, {"prompt": "x"}, headers={"Idempotency-Key": "abc"})
    assert one.body == other.body
    assert len(simulator.requests()) == 1


async def test_keys_are_scoped_to_tenant_subject_and_route(
    server: Running, simulator: Simulator
) -> None:
    body = {"prompt": "x", "model": "plain"}
    first = await ask(server, body, headers=KEY)
    tenant = await ask(server, body, headers=KEY, tenant=2)
    subject = await ask(server, body, headers={**KEY, **server.headers(subject="other")})
    route = await ask(server, body, headers=KEY, path="/v1/chat")
    alias = await ask(server, body, headers=KEY, path="/api/v1/flexy-chat/stream")
    streams = [reply.headers["X-Stream-Id"] for reply in (first, tenant, subject, route, alias)]
    assert len(set(streams[:4])) == 4
    assert streams[4] == streams[0]
    assert len(simulator.requests()) == 4


async def test_the_whole_answer_is_given_again_too(server: Running, simulator: Simulator) -> None:
    one = await ask(server, {"prompt": "x"}, headers=KEY, path="/v1/chat")
    other = await ask(server, {"prompt": "x"}, headers=KEY, path="/v1/chat")
    assert one.json == other.json
    assert len(simulator.requests()) == 1


async def test_an_attached_request_may_say_what_it_has(server: Running) -> None:
    first = await ask(server, {"prompt": "x"}, headers=KEY)
    body = json.dumps({"prompt": "x"})
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            server.url + "/v1/chat/stream",
            data=body,
            headers={
                **server.headers(), **KEY, "Last-Event-ID": "3", "Content-Type": "application/json",
            },
        ) as response,
    ):  # fmt: skip
        rest = await response.read()
    assert rest == b"".join(frame + b"\n\n" for frame in first.body.split(b"\n\n")[3:-1])


async def test_a_request_that_failed_before_any_content_may_be_made_again(
    server: Running, simulator: Simulator
) -> None:
    body = {"prompt": "x", "model": "down"}
    replies = await twenty(server, body)
    assert {reply.status for reply in replies} == {503}
    calls = len(simulator.requests())
    again = await ask(server, body, headers=KEY)
    assert again.status == 503
    assert len(simulator.requests()) == calls + 1


@pytest.mark.parametrize("key", ['"', "", '""', "a b", '"a\tb"', "x" * 256, "é"])
async def test_a_malformed_key_is_400(server: Running, simulator: Simulator, key: str) -> None:
    refused = await ask(server, {"prompt": "x"}, headers={"Idempotency-Key": key})
    assert (refused.status, refused.json["error"]) == (400, "invalid_request")
    assert simulator.requests() == []


@pytest.mark.parametrize("key", [{}, KEY], ids=["without a key", "with a key"])
async def test_a_position_that_is_none_is_refused_before_anything_starts(
    server: Running, key: dict[str, str]
) -> None:
    for malformed in ("x", "-1", "1e3", "9" * 10):
        headers = key | {"Last-Event-ID": malformed}
        reply = await ask(server, {"prompt": "x", "model": "plain"}, headers=headers)
        assert (reply.status, reply.json["error"]) == (400, "invalid_request")
    assert server.services.streams.running == 0
