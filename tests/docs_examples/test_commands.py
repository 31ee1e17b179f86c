"""The commands of the how-tos work as they are written, in their order, and show what they say."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from support.pages import ROOT, Block, blocks, commands, shown
from support.server import Running, tellstream
from support.terminal import Terminal, command_worker
from tellstream.providers.simulator import Simulator

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
HOWTO: Final = ROOT / "docs/howto"
PASSWORD: Final = "a-long-password-for-the-tests"
RUNNING: Final = ("tellstream serve", "tellstream simulate", "export ")
"""What runs already when the commands begin: the server of the fixture."""
ASK: Final = """-H "Authorization: Bearer $TOKEN" -H "X-Tenant: 1" \\
  -H "Content-Type: application/json" -d '{"prompt": "x", "model": "sim-fast"}'"""
OPENAI: Final = {"openai": {"api_key": "not-a-real-key"}}


@pytest.fixture(scope="module")
def worker() -> Iterator["subprocess.Popen[str]"]:
    with command_worker() as process:
        yield process


class Reader:
    """Somebody who follows a page, with a server."""

    def __init__(self, folder: Path, server: Running, worker: "subprocess.Popen[str]") -> None:
        self.server = server
        self.terminal = Terminal(folder, server.url, worker)
        self.terminal.variables |= {
            "TOKEN": server.token(1, scope="chat usage admin"),
            "PASSWORD": PASSWORD,
        }

    async def follow(self, page: str) -> None:
        """Run all consoles and shell blocks of a page."""
        told = [block for block in blocks(HOWTO / f"{page}.md") if is_run(block)]
        assert told
        for block in told:
            if block.language == "console":
                pairs = commands(block.text)
            else:
                pairs = [(block.text.strip(), "")]
            for command, shows in pairs:
                if not command.startswith(RUNNING):
                    await self.run(command, shows)

    async def run(self, command: str, shows: str = "") -> str:
        code, said = await asyncio.to_thread(self.terminal.type, command)
        fails = shows.startswith("tellstream: ")
        assert (code != 0) == fails, f"{command}\n{said}"
        assert shown(shows, said), f"{command}\n{said}"
        return said


def is_run(block: Block) -> bool:
    """Tell whether a block is for the shell and says all of a command."""
    return block.language == "console" or (block.language == "sh" and " …" not in block.text)


@pytest.fixture
async def opened() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def reader(
    opened: AsyncExitStack, folder: Path, worker: "subprocess.Popen[str]", **tables: Any
) -> Reader:
    server = await opened.enter_async_context(tellstream(folder, **tables))
    return Reader(folder, server, worker)


async def test_administer(
    opened: AsyncExitStack, tmp_path: Path, worker: "subprocess.Popen[str]"
) -> None:
    here = await reader(
        opened, tmp_path, worker, auth={"operator_tenant": 1}, providers=OPENAI,
        models={"grok-test": {"targets": ["openai/gpt-6-luna"]}},
    )  # fmt: skip
    (tmp_path / "key").write_text("sk-of-the-tenant-1234")
    (tmp_path / "key.json").write_text(
        '{"key": "sk-of-acme-which-is-long-enough-b8d4", "label": "production"}'
    )
    token = here.server.token(7, scope="admin")
    here.terminal.variables["TOKEN"] = token
    for block in blocks(HOWTO / "administer.md"):
        if block.language != "console":
            continue
        for command, shows in commands(block.text):
            if "curl" in command:
                await settled(here)
            await here.run(command, shows)


async def settled(here: Reader) -> None:
    """The server follows a change within five seconds."""
    ask = (
        'curl -o seen "$URL/v1/admin/tenants/7" -H "Authorization: Bearer $TOKEN" -H "X-Tenant: 7"'
    )
    deadline = asyncio.get_running_loop().time() + 30
    while (await asyncio.to_thread(here.terminal.type, ask))[0] != 0:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.2)


async def test_get_tokens(
    opened: AsyncExitStack, tmp_path: Path, worker: "subprocess.Popen[str]"
) -> None:
    here = await reader(opened, tmp_path, worker, tenants={"1": {}, "2": {}})
    (tmp_path / "password.txt").write_text(PASSWORD)
    await here.follow("get-tokens")
    # And the same in Python.
    (_, example) = [b.text for b in blocks(HOWTO / "get-tokens.md") if b.language == "python"]
    known = here.terminal.variables
    here_is = example.replace("http://127.0.0.1:8000", here.server.url)
    here_is = here_is.replace("8d5a…", known["CLIENT_ID"]).replace("hM0v…", known["CLIENT_SECRET"])
    names: dict[str, str] = {}
    await asyncio.to_thread(exec, here_is, names)
    assert names["token"].count(".") == 2


async def test_a_client_of_authlib_begins_as_the_page_says() -> None:
    (example, _) = [b.text for b in blocks(HOWTO / "get-tokens.md") if b.language == "python"]
    names: dict[str, object] = {}
    exec(example, names)
    client = names["client"]
    url, _ = client.create_authorization_url(  # type: ignore[attr-defined]
        "https://chat.example.com/oauth/authorize", code_verifier="v" * 43
    )
    assert "code_challenge_method=S256" in url
    assert "scope=chat" in url
    client.close()  # type: ignore[attr-defined]


async def test_limit_and_bill_and_resume_and_cancel(
    opened: AsyncExitStack, tmp_path: Path, worker: "subprocess.Popen[str]"
) -> None:
    here = await reader(opened, tmp_path, worker, tenants={"1": {}})
    whole = await here.run(f'curl -N "$URL/v1/chat/stream" -D head.txt {ASK}')
    head = (tmp_path / "head.txt").read_text()
    (here.terminal.variables["STREAM"],) = re.findall("(?i)x-stream-id: (.*)", head)
    resume, cancel = (b.text for b in blocks(HOWTO / "resume-and-cancel.md") if is_run(b))
    assert await here.run(resume.strip()) == whole[whole.index("id: 18\n") :]
    assert '"state":"finished"' in await here.run(cancel.strip())
    by_model, as_csv = (b.text for b in blocks(HOWTO / "limit-and-bill.md") if b.language == "sh")
    assert '"data":[' in await here.run(by_model.strip())
    await here.run(as_csv.strip())
    (line,) = (tmp_path / "usage.csv").read_text().splitlines()[1:]
    assert line.startswith("local,")


async def test_the_key_of_a_request_attaches_to_its_stream(
    opened: AsyncExitStack, tmp_path: Path, worker: "subprocess.Popen[str]"
) -> None:
    here = await reader(opened, tmp_path, worker, tenants={"1": {}})
    (short,) = [b.text for b in blocks(HOWTO / "resume-and-cancel.md") if " …" in b.text]
    command = short.strip().replace("4f1c…", "4f1c").replace(" …", f" {ASK}")
    assert await here.run(command) == await here.run(command)


async def test_the_simulator(
    opened: AsyncExitStack, tmp_path: Path, worker: "subprocess.Popen[str]"
) -> None:
    here = await reader(opened, tmp_path, worker)
    await here.follow("test-with-the-simulator")
    (example,) = [
        b.text for b in blocks(HOWTO / "test-with-the-simulator.md") if b.language == "python"
    ]
    await asyncio.to_thread(exec, example, {})


async def test_check_a_provider(
    opened: AsyncExitStack, tmp_path: Path, worker: "subprocess.Popen[str]"
) -> None:
    simulator = {"dialect": "openai-chat", "api_key": "none"}
    names = ("quick", "example-small")
    made = await opened.enter_async_context(Simulator())
    here = await reader(
        opened, tmp_path, worker, tenants={"1": {}},
        providers={"sim": {**simulator, "base_url": f"{made.url}/v1"}},
        models={name: {"targets": ["sim/sim:words=20,delay_ms=5"]} for name in names},
    )  # fmt: skip
    for page in ("configure-a-provider", "providers"):
        await here.follow(page)
    await here.run('tellstream chat --model example-small "Hello"')
    assert 'tellstream chat --model example-small "Hello"' in (HOWTO / "add-a-host.md").read_text()
