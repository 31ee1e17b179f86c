"""A server with the pages, somebody to sign in, and a browser: one of each for all tests.

Starting them takes as long as most of the tests; what a test leaves behind is its own: each has a
browser context without a past, and those that look at sums have a tenant for themselves. So tests
with a browser run in one event loop, that of the session, to which these things belong.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, expect

from support.people import CHROMIUM, add_person, chromium
from support.replay import ReplayProvider
from support.server import Running, tellstream
from support.wire import Wire, wire
from tellstream.providers.simulator import Simulator

MARKDOWN = (Path(__file__).parent / "answer.md").read_text()
SCRIPTS = {
    "writer": f"sim:text={quote(MARKDOWN, safe='')},delay_ms=4,think=60",
    "quick": "sim:words=12",
    "echo": "sim:echo=1",
    "breaks": "sim:words=40,fault=eof,at=12",
    "refuses": "sim:refusal=1,text=I%27m sorry%2C but I cannot help with that.",
    "short": "sim:words=30,finish=length",
    "busy": "sim:status=429,retry_after=2",
}


PATIENCE = 30_000
"""Milliseconds that the page has for what takes one or two seconds on a free machine."""
SUMMED = (3, 4, 5, 6)
"""Tenants for tests that look at sums; a test takes those it needs and no other does."""

_shared = pytest_asyncio.fixture(scope="session", loop_scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests that use the browser in the loop of the session."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents and "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@_shared
async def _provider() -> AsyncIterator[ReplayProvider]:
    async with ReplayProvider() as provider:
        yield provider


@pytest.fixture
def replay(_provider: ReplayProvider) -> Iterator[ReplayProvider]:
    yield _provider
    _provider.answers.clear()


@_shared
async def _wire() -> AsyncIterator[Wire]:
    async with wire() as made:
        yield made


@pytest.fixture
def network(_wire: Wire) -> Iterator[Wire]:
    yield _wire
    _wire.restore()


@_shared
async def server(
    tmp_path_factory: pytest.TempPathFactory, _provider: ReplayProvider, _wire: Wire
) -> AsyncIterator[Running]:
    """A server that is reached through a network that can be lost; its ``url`` is that."""
    async with Simulator() as simulator:
        generic = {"dialect": "openai-chat", "api_key": "none"}
        models = {name: {"targets": [f"sim/{script}"]} for name, script in SCRIPTS.items()}
        async with tellstream(
            tmp_path_factory.mktemp("pages"),
            public_url=_wire.url,
            providers={
                "sim": {**generic, "base_url": f"{simulator.url}/v1"},
                "replay": {**generic, "base_url": _provider.url},
            },
            models={**models, "replay": {"targets": ["replay/recorded"]}},
            tenants={
                "1": {"name": "Acme", "model": "quick", "limits": {"requests_per_minute": 10000}},
                "2": {"name": "Beta", "model": "quick", "models": ["quick", "echo"]},
                **{str(number): {"name": f"Tenant {number}"} for number in SUMMED},
            },
            retries={"max": 0},
            timeouts={"first_token": 110.0, "idle": 110.0},  # a test may hold an answer
            streams={"commit_seconds": 0.3, "heartbeat_seconds": 1.0},
        ) as running:
            _wire.upstream = int(running.url.rpartition(":")[2])
            running.url = _wire.url
            await add_person(running, tenants=(1, 2))
            yield running


@_shared
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    expect.set_options(timeout=PATIENCE)
    async with chromium() as launched:
        yield launched


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    made = await browser.new_context(viewport={"width": 1280, "height": 800})
    made.set_default_timeout(PATIENCE)
    yield made
    await made.close()
