"""A server with the pages, somebody to sign in, and a browser."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.async_api import Browser, BrowserContext

from support.people import CHROMIUM, add_person, chromium
from support.replay import ReplayProvider
from support.server import Running, tellstream
from support.wire import Wire, wire
from tellstream.providers.simulator import Simulator

MARKDOWN = (Path(__file__).parent / "answer.md").read_text()
SCRIPTS = {
    "writer": f"sim:text={quote(MARKDOWN, safe='')},delay_ms=4,think=60",
    "quick": "sim:words=12",
    "paced": "sim:words=400,delay_ms=15",
    "echo": "sim:echo=1",
    "breaks": "sim:words=40,fault=eof,at=12",
    "refuses": "sim:refusal=1,text=I%27m sorry%2C but I cannot help with that.",
    "short": "sim:words=30,finish=length",
    "busy": "sim:status=429,retry_after=2",
}


@pytest.fixture
async def replay() -> AsyncIterator[ReplayProvider]:
    async with ReplayProvider() as provider:
        yield provider


@pytest.fixture
async def network() -> AsyncIterator[Wire]:
    async with wire() as made:
        yield made


@pytest.fixture
async def server(tmp_path: Path, replay: ReplayProvider, network: Wire) -> AsyncIterator[Running]:
    """A server that is reached through a network that can be lost; its ``url`` is that."""
    async with Simulator() as simulator:
        generic = {"dialect": "openai-chat", "api_key": "none"}
        models = {name: {"targets": [f"sim/{script}"]} for name, script in SCRIPTS.items()}
        async with tellstream(
            tmp_path,
            public_url=network.url,
            providers={
                "sim": {**generic, "base_url": f"{simulator.url}/v1"},
                "replay": {**generic, "base_url": replay.url},
            },
            models={**models, "replay": {"targets": ["replay/recorded"]}},
            tenants={
                "1": {"name": "Acme", "model": "quick", "limits": {"requests_per_minute": 10000}},
                "2": {"name": "Beta", "model": "quick", "models": ["quick", "echo"]},
            },
            retries={"max": 0},
            streams={"commit_seconds": 0.3, "heartbeat_seconds": 1.0},
        ) as running:
            network.upstream = int(running.url.rpartition(":")[2])
            running.url = network.url
            await add_person(running, tenants=(1, 2))
            yield running


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    async with chromium() as launched:
        yield launched


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    made = await browser.new_context(viewport={"width": 1280, "height": 800})
    yield made
    await made.close()
