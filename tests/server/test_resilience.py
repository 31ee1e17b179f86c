"""Retries, fallback and breakers through the real server: before the first content only."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.conftest import tables
from support.chat import Reply, ask
from support.replay import ReplayProvider
from support.server import Running, tellstream
from tellstream.providers.simulator import Simulator

FLAKY = {
    "once-500": "sim:words=2,status=500,times=1",
    "once-429": "sim:words=2,status=429,retry_after=1,times=1",
    "once-429-date": "sim:words=2,status=429,retry_after=date:1,times=1",
    "twice-529": "sim:words=2,status=529,times=2",
    "always-503": "sim:status=503",
    "quota": "sim:status=429,code=insufficient_quota",
    "long-wait": "sim:status=429,retry_after=30",
    "refused": "sim:status=400",
    "early-reset": "sim:words=2,fault=reset,at=0,times=1",
    "late-reset": "sim:words=9,fault=reset,at=5",
}


@pytest.fixture
async def server(
    tmp_path: Path, simulator: Simulator, replay: ReplayProvider
) -> AsyncIterator[Running]:
    models: dict[str, Any] = {name: {"targets": [f"sim/{s}"]} for name, s in FLAKY.items()}
    models["second"] = {"targets": ["gone/x", "sim/sim:words=2"]}
    models["bad-key-first"] = {"targets": ["sim/sim:status=401", "sim/sim:words=2"]}
    models["slow-first"] = {"targets": ["sim/sim:fault=stall,at=-1", "sim/sim:words=2"]}
    models["cut-first"] = {"targets": ["sim/sim:words=9,fault=reset,at=5", "sim/sim:words=2"]}
    models["filtered"] = {"targets": ["sim/sim:status=400,code=content_filter", "sim/sim:words=2"]}
    tenants = {"1": {"model": "second"}, "2": {"model": "second"}}
    configuration = tables(
        simulator, replay, models=models, retries={"max": 2}, tenants=tenants,
        streams={"commit_seconds": 15}, timeouts={"headers": 2.5, "first_token": 20},
    )  # fmt: skip
    async with tellstream(tmp_path, **configuration) as server:
        yield server


async def state(server: Running, reply: Reply) -> dict[str, Any]:
    path = f"{server.url}/v1/streams/{reply.headers['X-Stream-Id']}"
    async with (
        aiohttp.ClientSession(headers=server.headers()) as session,
        session.get(path) as response,
    ):
        data: dict[str, Any] = (await response.json())["data"]
        return data


@pytest.mark.parametrize(
    ("model", "calls"),
    [
        ("once-500", 2),
        ("once-429", 2),
        ("once-429-date", 2),
        ("twice-529", 3),
        ("early-reset", 2),
    ],
)
async def test_a_temporary_failure_is_tried_again_and_recorded(
    server: Running, simulator: Simulator, model: str, calls: int
) -> None:
    reply = await ask(server, {"prompt": "x", "model": model})
    assert reply.transcript.finish_reason == "Stop"
    assert len(simulator.requests()) == calls
    attempts = (await state(server, reply))["attempts"]
    assert len(attempts) == calls
    assert [attempt["error"] is None for attempt in attempts] == [False] * (calls - 1) + [True]


async def test_there_are_at_most_three_calls(server: Running, simulator: Simulator) -> None:
    reply = await ask(server, {"prompt": "x", "model": "always-503"})
    assert (reply.status, reply.json["error"]) == (503, "provider_unavailable")
    assert len(simulator.requests()) == 3


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("quota", 502, "provider_quota"),
        ("refused", 422, "provider_rejected"),
        ("long-wait", 503, "provider_rate_limited"),
    ],
)
async def test_what_cannot_succeed_is_not_tried_again(
    server: Running, simulator: Simulator, model: str, status: int, code: str
) -> None:
    reply = await ask(server, {"prompt": "x", "model": model})
    assert (reply.status, reply.json["error"]) == (status, code)
    assert len(simulator.requests()) == 1


async def test_a_long_retry_after_is_passed_on(server: Running) -> None:
    reply = await ask(server, {"prompt": "x", "model": "long-wait"})
    assert reply.headers["Retry-After"] == "30"


@pytest.mark.parametrize("model", ["second", "bad-key-first", "slow-first"])
async def test_the_next_target_answers_and_is_named(server: Running, model: str) -> None:
    reply = await ask(server, {"prompt": "x", "model": model})
    transcript = reply.transcript
    assert transcript.finish_reason == "Stop"
    assert (transcript.provider, transcript.model) == ("sim", "sim:words=2")
    assert (await state(server, reply))["provider"] == "sim"


@pytest.mark.parametrize("model", ["late-reset", "cut-first"])
async def test_nothing_is_tried_again_after_content(
    server: Running, simulator: Simulator, model: str
) -> None:
    reply = await ask(server, {"prompt": "x", "model": model})
    assert reply.transcript.error is not None
    assert reply.transcript.error.error_type == "upstream_truncated"
    assert len(simulator.requests()) == 1


async def test_a_filtered_request_is_not_taken_to_another_target(
    server: Running, simulator: Simulator
) -> None:
    reply = await ask(server, {"prompt": "x", "model": "filtered"})
    assert (reply.status, reply.json["error"]) == (422, "content_filtered")
    assert len(simulator.requests()) == 1


async def test_a_model_that_always_fails_is_not_called_any_more(
    server: Running, simulator: Simulator
) -> None:
    for _ in range(20):
        await ask(server, {"prompt": "x", "model": "always-503"})
    before = len(simulator.requests())
    reply = await ask(server, {"prompt": "x", "model": "always-503"})
    assert (reply.status, reply.json["error"]) == (503, "provider_unavailable")
    assert int(reply.headers["Retry-After"]) >= 1
    assert len(simulator.requests()) == before
