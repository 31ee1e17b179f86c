"""The examples of the how-tos for other clients run as they are written."""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from clients.test_official_clients import NODE, PYTHON, SECONDS
from support.server import Running, tellstream

DOCS = Path(__file__).parents[2] / "docs/howto"
PAGES = ("openai-sdk", "vercel-ai-sdk", "ag-ui", "event-source")
FENCE = re.compile(r"^```(js|python|sh) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Example(NamedTuple):
    """One block of one page."""

    page: str
    language: str
    file: str
    text: str


EXAMPLES = [
    Example(page, *found)
    for page in PAGES
    for found in FENCE.findall((DOCS / f"{page}.md").read_text(encoding="utf-8"))
]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with tellstream(tmp_path, tenants={"1": {"name": "Acme"}}) as server:
        yield server


def command(example: Example, folder: Path) -> list[str]:
    """Say how to run an example; skips where its client is not installed."""
    if example.language == "sh":
        return ["bash", "-euc", example.text.replace("curl ", "curl -sf ")]
    file = folder / example.file
    file.write_text(example.text, encoding="utf-8")
    if example.language == "python":
        if not PYTHON.exists():
            pytest.skip("the clients in Python are not installed: make clients")
        return [str(PYTHON), str(file)]
    node = shutil.which("node")
    if node is None or not (NODE / "node_modules").is_dir():
        pytest.skip("node, or the clients in Node, are not installed: make clients")
    (folder / "node_modules").symlink_to((NODE / "node_modules").resolve())
    return [node, str(file)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.page}-{e.file or e.language}")
async def test_an_example_runs(example: Example, server: Running, tmp_path: Path) -> None:
    folder = tmp_path / "example"
    folder.mkdir()
    environment = {**os.environ, "URL": server.url, "TOKEN": server.token(1)}
    process = await asyncio.create_subprocess_exec(
        *command(example, folder), env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(SECONDS):
        said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said
    if example.language != "sh":
        assert len(said.split()) > 3, "it shows the answer"


def test_every_page_has_an_example() -> None:
    assert {example.page for example in EXAMPLES} == set(PAGES)
