"""A reader's terminal: the commands of a page, run in a folder, and what they show."""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from support.programs import environment

WORKER: Final = Path(__file__).parents[1] / "cli/commands_worker.py"
SECONDS: Final = 150
SAMPLE: Final = "8d5a…"
"""How the pages write the id of a client."""


class Terminal:
    """Runs commands; those of ``tellstream`` in processes that have everything loaded.

    Attributes:
        variables: of the shell; what the last new client got is among them.
    """

    def __init__(self, folder: Path, url: str, worker: "subprocess.Popen[str]") -> None:
        self.variables: dict[str, str] = {"URL": url}
        self._folder = folder
        self._url = url
        self._worker = worker

    def type(self, command: str) -> tuple[int, str]:
        """Run a command line as the page shows it; gives its exit code and all output."""
        line = re.sub(r"\\\n", " ", command).replace(SAMPLE, self.variables.get("CLIENT_ID", ""))
        line = re.sub(r"https?://(chat\.example\.com|127\.0\.0\.1:8000)", self._url, line)
        first = line.split()[0]
        if first == "tellstream" or "| tellstream " in line:
            code, said = self._tellstream(line)
        else:
            code, said = self._shell(line)
        if said.startswith('{"client_id"') and "client_secret" in said:
            made = json.loads(said)
            self.variables |= {"CLIENT_ID": made["client_id"]}
            self.variables |= {"CLIENT_SECRET": made["client_secret"]}
        return code, said

    def _shell(self, line: str) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-euc", re.sub(r"^curl ", "curl -sSf ", line)], cwd=self._folder,
            env=environment(**self.variables), capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def _tellstream(self, line: str) -> tuple[int, str]:
        """Run ``[printf … |] tellstream … [< file]``."""
        known = {**os.environ, **self.variables}
        line = re.sub(r"\$(\w+)", lambda name: known[name[1]], line)
        words = shlex.split(line, comments=True)
        given = ""
        if "|" in words:
            assert words[:2] == ["printf", "%s"], line
            given, words = words[2], words[words.index("|") + 1 :]
        if "<" in words:
            given = (self._folder / words[-1]).read_text()
            words = words[: words.index("<")]
        assert words[0] == "tellstream", line
        if words[1] == "chat":
            words += ["--url", self._url]
        return self._forked(words[1:], given)

    def _forked(self, arguments: list[str], given: str) -> tuple[int, str]:
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / name for name in ("in", "out", "err")]
            files[0].write_text(given)
            request = json.dumps([arguments, str(self._folder), [str(file) for file in files]])
            assert self._worker.stdin is not None
            assert self._worker.stdout is not None
            print(request, file=self._worker.stdin, flush=True)
            code = int(self._worker.stdout.readline())
            # The log of a command is JSON; what it says to people is not.
            errors = [line for line in files[2].read_text().splitlines() if line[:1] != "{"]
            return code, files[1].read_text() + "\n".join(errors)


@contextmanager
def command_worker() -> Iterator["subprocess.Popen[str]"]:
    """Run what the commands of all terminals are forked from."""
    path = os.pathsep.join(p for p in sys.path if p)
    with subprocess.Popen(
        [sys.executable, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env=environment(PYTHONPATH=path),
    ) as process:  # fmt: skip
        yield process
