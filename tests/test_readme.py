"""The README is true: every command in it runs, and its transcript is what a server says."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from e2e.test_cli import serving, url_of
from support.server import tellstream
from tellstream.config import load_settings

ROOT: Final = Path(__file__).parents[1]
README: Final = (ROOT / "README.md").read_text()
BIN: Final = Path(sys.executable).parent
# How each command is shown to work. `make test` is this very run.
COMMANDS: Final = {
    "make demo": "test_make_demo_succeeds",
    "make test": "the run that contains this test",
    '.venv/bin/tellstream chat "What is a server-sent event?"': "test_the_commands_run",
    ".venv/bin/tellstream token --tenant 1": "test_the_commands_run",
    ".venv/bin/tellstream simulate --help": "test_the_commands_run",
}

MESSAGE: Final = {"id": "m1", "role": "user"}
BODIES: Final = {
    "/v1/chat/stream": {"prompt": "Hello"},
    "/v1/chat/completions": {
        "model": "sim-fast",
        "stream": True,
        "messages": [{"role": "user", "content": "Hello"}],
    },
    "/v1/ui/chat": {
        "id": "chat-1",
        "trigger": "submit-message",
        "messages": [{**MESSAGE, "parts": [{"type": "text", "text": "Hello"}]}],
    },
    "/v1/ag-ui": {
        "threadId": "t1",
        "runId": "r1",
        "messages": [{**MESSAGE, "content": "Hello"}],
        "tools": [],
        "context": [],
        "state": {},
        "forwardedProps": {},
    },
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def masked(text: str) -> str:
    """Hide what differs from run to run: ids and times."""
    text = re.sub(r"evt_[0-9A-Z]{26}", "evt_X", text)
    return re.sub(r'"timestamp":[0-9]+', '"timestamp":0', text)


def test_every_command_is_accounted_for() -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert set(lines) == set(COMMANDS)


def test_make_demo_succeeds(tmp_path: Path) -> None:
    """In the installed environment; a clean clone is .ci/run's business."""
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    recipe = subprocess.run(
        ["make", "-n", "-C", str(ROOT), "demo"], capture_output=True, text=True, check=True
    ).stdout
    assert ".venv/bin/tellstream demo" in recipe
    done = subprocess.run(
        [BIN / "tellstream", "demo"], cwd=tmp_path, capture_output=True, text=True, check=False,
        timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_transcript_is_what_a_server_says(tmp_path: Path) -> None:
    (shown,) = blocks("console")
    command, _, frames = shown.partition("}'\n")
    command = command.removeprefix("$ ") + "}'"
    with serving(tmp_path) as (_, banner):
        command = command.replace("http://127.0.0.1:8000", url_of(banner))
        command = command.replace(".venv/bin/tellstream", str(BIN / "tellstream"))
        answer = subprocess.run(
            ["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True,
            timeout=120,
        ).stdout  # fmt: skip
    said = masked(answer).strip().split("\n\n")
    before, elision, after = re.split(r"\[(\d+) more text_delta frames\]", masked(frames))
    first, last = before.strip().split("\n\n"), after.strip().split("\n\n")
    assert said[: len(first)] == first
    assert said[-len(last) :] == last
    middle = said[len(first) : -len(last)]
    assert len(middle) == int(elision)
    assert all("\nevent: text_delta\n" in frame for frame in middle)


def test_the_commands_run(tmp_path: Path) -> None:
    commands = [c for c, how in COMMANDS.items() if how == "test_the_commands_run"]
    with serving(tmp_path) as (_, banner):
        for command in commands:
            here = command.replace(".venv/bin/tellstream", str(BIN / "tellstream"))
            environment = {
                "PATH": str(BIN), "HOME": str(tmp_path), "LANG": "C.UTF-8",
                "TELLSTREAM_PUBLIC_URL": "http://127.0.0.1:8000",
            }  # fmt: skip
            if " chat " in here:
                here += f" --url {url_of(banner)}"
            done = subprocess.run(
                here, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True,
                timeout=120, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert done.stdout.strip()


async def test_every_address_of_the_table_answers(tmp_path: Path) -> None:
    rows = re.findall(r"^\| [^|]*\| `(GET|POST) (/\S*)` \|", README, re.MULTILINE)
    assert {path for method, path in rows if method == "POST"} == set(BODIES)
    assert len(rows) == len(BODIES) + 3
    async with (
        tellstream(tmp_path, tenants={"1": {"name": "Acme", "model": "sim-fast"}}) as server,
        aiohttp.ClientSession(headers=server.headers()) as session,
    ):
        for method, path in rows:
            body = BODIES.get(path)
            async with session.request(method, server.url + path, json=body) as response:
                assert response.status == 200, path
                streams = response.content_type == "text/event-stream"
                assert streams == (method == "POST"), path
                assert await response.read()
                id_ = response.headers.get("X-Stream-Id")
            if method == "POST":  # any of them can follow what another one started
                follow = f"{server.url}/v1/streams/{id_}/events"
                async with session.get(follow) as response:
                    assert b"event: stream_end\n" in await response.read()


def test_the_configuration_loads(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    file = tmp_path / "tellstream.toml"
    file.write_text(text)
    settings = load_settings(file, {"XAI_API_KEY": "k"}, tmp_path)
    assert settings.tenants[1].name == "Acme"
