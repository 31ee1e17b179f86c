"""docs/howto/providers.md: every block goes where the page says, and is answered there."""

import re
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
import pytest

from support.pages import ROOT, blocks
from tellstream.config import load_settings
from tellstream.core.chat import ChatRequest
from tellstream.providers.hosts import HOSTS
from tellstream.providers.http import Timeouts, Upstream
from tellstream.providers.simulator import Simulator
from tellstream.server.dialects import build_offer, load_dialect
from tellstream.server.tenancy import Tenancy
from tellstream.streams.probe import probe
from tellstream.streams.target import Target

PAGE: Final = ROOT / "docs/howto/providers.md"
TEXT: Final = PAGE.read_text(encoding="utf-8")
KEY: Final = "not-a-real-key"
NO_KEY: Final = "no key"
SECONDS: Final = 30.0


class Example(NamedTuple):
    """A block, and what the line behind it says of its first model's requests."""

    toml: str
    url: str
    header: str


def examples() -> list[Example]:
    tomls = [block.text for block in blocks(PAGE) if block.language == "toml"]
    told = re.findall(r"^```\n\n`POST (\S+)`, (`\S+`|no key)$", TEXT, re.MULTILINE)
    assert len(tomls) == len(told), "each block is followed by where it goes"
    return [
        Example(toml, url, header.strip("`"))
        for toml, (url, header) in zip(tomls, told, strict=True)
    ]


def targets(example: Example, folder: Path) -> list[Target]:
    (folder / "tellstream.toml").write_text(example.toml, encoding="utf-8")
    environ = dict.fromkeys(re.findall(r"env:(\w+)", example.toml), KEY)
    settings = load_settings(None, environ, folder)
    catalog = build_offer(settings, environ)
    offered = Tenancy(catalog, load_dialect)
    assert set(catalog.models) == set(settings.models), "the block names its models"
    return [target for model in catalog.models for target in offered.targets(model)]


def test_every_known_host_has_a_block() -> None:
    named = re.findall(r"^\[providers\.([a-z-]+)\]", TEXT, re.MULTILINE)
    assert set(named) >= set(HOSTS)
    for before, after in pairwise(named):
        assert before != after or before in ("gemini", "ollama")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.mark.parametrize("example", examples(), ids=lambda e: e.url)
async def test_a_block_calls_its_host_and_understands_the_answer(
    example: Example, tmp_path: Path, simulator: Simulator
) -> None:
    upstream = Upstream(Timeouts(connect=10, headers=10, first_token=10, idle=10, total=SECONDS))
    await upstream.start()
    try:
        for target in targets(example, tmp_path):
            request = target.dialect.request(target.endpoint, target.model, ChatRequest("x"))
            assert request.url == example.url
            holding = [name for name, value in request.headers.items() if KEY in value]
            assert holding == ([] if example.header == NO_KEY else [example.header])
            finding = await probe(upstream, moved(target, simulator), SECONDS)
            assert finding.error is None
            assert finding.deltas >= 3
    finally:
        await upstream.close()
    for record in simulator.requests():
        # The simulator notes that there was a key, not which one.
        held = [name for name, value in record.headers.items() if value == "…"]
        assert held == ([] if example.header == NO_KEY else [example.header.lower()])


def moved(target: Target, simulator: Simulator) -> Target:
    """The same at the simulator, which speaks all dialects; what it says is in the model's name."""
    parts = urlsplit(target.endpoint.base_url)
    endpoint = msgspec.structs.replace(target.endpoint, base_url=simulator.url + parts.path)
    return msgspec.structs.replace(target, endpoint=endpoint, model="sim:words=3")
