"""docs/howto/two-workers.md, from its first to its last command, on one machine."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from support import nginx as proxy
from support.chat import parse
from support.nginx import NAME, NGINX, Nginx
from support.pages import ROOT, block, blocks
from support.ports import free_ports
from support.postgres import postgres_server
from support.programs import Program, environment, running
from support.redis import redis_server
from tellstream.core.transcript import fold

pytestmark = [
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]
PAGE: Final = ROOT / "docs/howto/two-workers.md"
SECONDS: Final = 60
LEASE: Final = "lease_seconds = 10"
LINES: Final = '\nprintf \'\\n%s=%s\' TOKEN "$TOKEN" STREAM "${STREAM:-}" > exported'


class Machines:
    """The four machines of the page, as four places on this one.

    Attributes:
        one: the first server, and where the reader's terminal is.
        two: the second one.
    """

    def __init__(self, folder: Path, replaced: dict[str, str], variables: dict[str, str]) -> None:
        self.folder = folder
        self.one: Program
        self.two: Program
        self._replaced = replaced
        self._variables = variables

    def here(self, text: str) -> str:
        """Say it with the addresses of this machine."""
        longest = sorted(self._replaced, key=len, reverse=True)
        pattern = "|".join(map(re.escape, longest))
        return re.sub(rf"(?:{pattern})(?!\d)", lambda found: self._replaced[found[0]], text)

    def run(self, label: str, machine: str = "one") -> str:
        """Run a block of the page; what it exports is there for the next one."""
        return self.do(block(PAGE, "sh", label), machine)

    def do(self, text: str, machine: str = "one") -> str:
        done = subprocess.run(
            ["bash", "-euc", self.here(text) + LINES], cwd=self.folder / machine,
            env={"TOKEN": "", **self._variables}, capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        exported = (self.folder / machine / "exported").read_text().split()
        self._variables |= dict(line.split("=", 1) for line in exported)
        return done.stdout

    def serve(self, label: str) -> "ExitStack":
        """Start the server of a machine."""
        command = self.here(block(PAGE, "sh", label)).strip()
        found = re.fullmatch(r"tellstream serve --host (\S+) --port (\d+)", command)
        assert found
        stack = ExitStack()
        folder, port = self.folder / label, int(found[2])
        program = running(command, folder, port, self._variables, found[1])
        setattr(self, label, stack.enter_context(program))
        return stack


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    for name in ("data", "one", "two", "bin"):
        (tmp_path / name).mkdir()
    settings = [line.split(" ", 1) for line in block(PAGE, "conf", "redis.conf").splitlines()]
    options = [word for name, value in settings for word in (f"--{name}", value)]
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(tmp_path / "data", *options))
        postgres = stack.enter_context(postgres_server())
        for statement in block(PAGE, "sql").split(";")[:-1]:
            postgres.ask(statement)
        (port,) = free_ports(1)
        replaced = {
            "10.0.0.10:6379": f"127.0.0.1:{redis.port}",
            "10.0.0.10:5432": f"127.0.0.1:{postgres.port}",
            "10.0.0.1": "127.0.0.101",
            "10.0.0.2": "127.0.0.102",
            "8000": str(port),
            LEASE: "lease_seconds = 2",
        }
        made = Machines(tmp_path, replaced, environment(CURL_HOME=str(tmp_path)))
        (machine,) = re.findall(r"'(.+)'", made.here(block(PAGE, "sh", "environment")))
        made._variables["TELLSTREAM_STORE__URL"] = machine
        made._variables["PATH"] = f"{tmp_path / 'bin'}:{made._variables['PATH']}"
        toml = block(PAGE, "toml")
        assert LEASE in toml
        for name in ("one", "two"):
            (tmp_path / name / "tellstream.toml").write_text(made.here(toml))
        script = block(PAGE, "python", "follow.py")
        (tmp_path / "one/follow.py").write_text(made.here(script))
        front = Nginx(tmp_path / "front", upstream(made), {})
        stack.callback(front.stop)
        front.start()
        (tmp_path / ".curlrc").write_text(
            f'cacert = "{tmp_path}/front/certificate.pem"\n'
            f'connect-to = "{NAME}:443:127.0.0.1:{front.port}"\n'
        )
        yield made


def upstream(machines: Machines) -> str:
    """Give the servers of the page's upstream; the rest of it is that of the page for one."""
    given = [line.strip() for line in block(PAGE, "nginx", "upstream").splitlines()]
    whole = [line.strip() for line in proxy.block("nginx").splitlines()]
    begin = whole.index(given[0])
    assert [line for line in given if not line.startswith("server ")] == [
        line for line in whole[begin : begin + 5] if not line.startswith("server ")
    ]
    servers = [machines.here(line) for line in given if line.startswith("server ")]
    assert len(servers) == 2
    return " ".join(servers)


def test_every_command_of_the_page_works(machines: Machines) -> None:
    folder = machines.folder
    machines.run("migrate")
    with machines.serve("one"):
        assert "admin@" in machines.one.log or "password" in machines.one.log
        # scp has nobody to copy from here: both machines are folders.
        copy = folder / "bin/scp"
        copy.write_text(
            f'#!/bin/sh\nmkdir -p "$(dirname "$2")"\ncp "{folder}/${{1%%:*}}/${{1#*:}}" "$2"\n'
        )
        copy.chmod(0o755)
        machines.run("copy", "two")
        with machines.serve("two"):
            assert machines.two.log.count("password") == 0, "the administrator is there already"
            machines.run("token")
            machines.run("ask")
            begun = (folder / "one/begun.txt").read_bytes()
            assert b"event: stream_start\n" in begun
            assert b"event: stream_end\n" not in begun
            assert '"finish_reason":"Stop"' in machines.run("compare")
            whole = (folder / "one" / f"{machines.here('10.0.0.1')}.txt").read_bytes()
            assert whole.startswith(begun[: begun.rfind(b"\n\n") + 2])
            assert re.fullmatch(
                r"(\d+) events, the last one is number \1\n", machines.run("follow")
            )
            check_that_the_other_one_ends_what_is_left_behind(machines)


def check_that_the_other_one_ends_what_is_left_behind(machines: Machines) -> None:
    direct = block(PAGE, "sh", "ask").replace(f"https://{NAME}", "http://10.0.0.1:8000")
    machines.do(direct)
    machines.one.kill()
    machines.do(
        f'curl -sN "https://{NAME}/v1/streams/$STREAM/events" -o rest.txt '
        '-H "Authorization: Bearer $TOKEN" -H "X-Tenant: 1"'
    )
    body = (machines.folder / "one/rest.txt").read_bytes().replace(b": keep-alive\n", b"")
    begun = (machines.folder / "one/begun.txt").read_bytes()
    assert body.startswith(begun[: begun.rfind(b"\n\n") + 2])
    told = fold(parse(body)[0])
    assert told.error is not None
    assert told.error.error_type == "worker_lost"
    assert told.finish_reason == "Error"


def test_no_block_is_left_out() -> None:
    labels = {block.label for block in blocks(PAGE) if block.language == "sh"}
    run = {"migrate", "copy", "token", "ask", "compare", "follow"}
    assert labels == run | {"environment", "one", "two"}
