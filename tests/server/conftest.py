"""A real server with two tenants, in front of the simulator and of a replaying provider."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.redis import redis_server
from support.replay import ReplayProvider
from support.server import Running, tellstream
from tellstream.providers.simulator import Simulator

# Every event log there is: how to get the address of an empty one.
LOGS: dict[str, Callable[[pytest.FixtureRequest], str]] = {
    "memory": lambda _request: "memory",
    "sqlite": lambda _request: "sqlite",
    "redis": lambda request: str(request.getfixturevalue("redis_url")),
}
SCRIPTS = {
    "plain": "sim:words=5",
    "paced": "sim:words=400,delay_ms=10",
    "endless": "sim:fault=endless,delay_ms=5",
    "slow-first": "sim:words=3,first_ms=400",
    "silent": "sim:words=3,fault=stall,at=0",
    "stalls": "sim:words=9,fault=stall,at=4",
    "busy": "sim:status=429,retry_after=7",
    "bad-key": "sim:status=401",
    "down": "sim:status=503",
    "html": "sim:body=html",
    "redirect": "sim:redirect=1",
    "gzip": "sim:gzip=1",
    "no-head": "sim:words=3,fault=stall,at=-1",
    "huge": "sim:words=3,fault=hugeevent,at=3",
    "no-done": "sim:words=3,done=0",
    "hangs-after-finish": "sim:words=3,fault=stall,at=99",
    "mark-a": "sim:mark=a,words=60,delay_ms=2",
    "mark-b": "sim:mark=b,words=60,delay_ms=2",
    "echo": "sim:echo=1",
}
PATIENT = {"connect": 10.0, "headers": 10.0, "first_token": 10.0, "idle": 10.0, "total": 60.0}
"""Seconds that a provider may take: longer than it takes on a busy machine."""
HASTY = {"connect": 0.5, "headers": 0.5, "first_token": 0.6, "idle": 0.5, "total": 20.0}
"""For tests in which a provider says nothing until a timer runs out."""


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def replay() -> AsyncIterator[ReplayProvider]:
    async with ReplayProvider() as provider:
        yield provider


def tables(simulator: Simulator, replay: ReplayProvider, **changes: Any) -> dict[str, Any]:
    """Build the configuration of the test server; ``changes`` replace whole tables."""
    models: dict[str, Any] = {name: {"targets": [f"sim/{s}"]} for name, s in SCRIPTS.items()}
    models["replay"] = {"targets": ["replay/recorded"]}
    models["falls-back"] = {"targets": ["sim/sim:status=503", "gone/x", "sim/sim:words=2"]}
    generic = {"dialect": "openai-chat", "api_key": "none"}
    return {
        "public_url": "http://127.0.0.1:8000",
        "providers": {
            "sim": {**generic, "base_url": f"{simulator.url}/v1"},
            "replay": {**generic, "base_url": replay.url},
            "gone": {**generic, "base_url": "http://127.0.0.1:1/v1"},
        },
        "models": models,
        "tenants": {
            "1": {"name": "Acme", "model": "plain", "system": "Be brief."},
            "2": {"name": "Beta", "model": "plain", "models": ["plain", "mark-*"]},
        },
        "streams": {"commit_seconds": 0.2, "heartbeat_seconds": 0.2, "detach_seconds": 0.2},
        "retries": {"max": 0},
        "timeouts": PATIENT,
        **changes,
    }  # fmt: skip


@pytest.fixture
async def server(
    tmp_path: Path, simulator: Simulator, replay: ReplayProvider
) -> AsyncIterator[Running]:
    async with tellstream(tmp_path, **tables(simulator, replay)) as server:
        yield server


@pytest.fixture
async def hasty(
    tmp_path: Path, simulator: Simulator, replay: ReplayProvider
) -> AsyncIterator[Running]:
    async with tellstream(tmp_path, **tables(simulator, replay, timeouts=HASTY)) as server:
        yield server
