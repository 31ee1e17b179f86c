"""A real server in front of the simulator."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.server import Running, tellstream
from tellstream.providers.simulator import Simulator

SCRIPTS = {
    "sim-fast": "sim:words=30",
    "sim-long": "sim:words=4000,delay_ms=5",
    "paced": "sim:words=150,delay_ms=2",
    "thinks": "sim:words=40,think=20,delay_ms=1",
    "cut": "sim:words=80,fault=eof,at=60",
}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def server(tmp_path: Path, simulator: Simulator) -> AsyncIterator[Running]:
    tables: dict[str, Any] = {
        "providers": {
            "sim": {
                "dialect": "openai-chat", "api_key": "none", "base_url": f"{simulator.url}/v1",
            },
        },
        "models": {name: {"targets": [f"sim/{script}"]} for name, script in SCRIPTS.items()},
        "tenants": {"1": {"name": "Acme", "model": "sim-fast"}},
        "streams": {"commit_seconds": 0.2, "heartbeat_seconds": 0.2, "detach_seconds": 20.0},
        "retries": {"max": 0},
    }  # fmt: skip
    async with tellstream(tmp_path, **tables) as server:
        yield server
