"""Commands that a page tells its reader to start and to leave running."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tellstream.providers.hosts import HOSTS

START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 30.0


def environment(**variables: str) -> dict[str, str]:
    """Build an environment with the commands of this installation, and without provider keys."""
    foreign = {variable for host in HOSTS.values() for variable in (host.key_env, host.address_env)}
    kept = {
        variable: value
        for variable, value in os.environ.items()
        if variable not in foreign and not variable.startswith("TELLSTREAM_")
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path} | variables


class Program:
    """A command in a shell, left running; may be stopped and started again.

    Args:
        command: of a shell.
        folder: where it runs; its output is in ``log`` there.
        port: where it listens when it is ready.
        variables: its environment.
        host: the address of the port.
    """

    def __init__(
        self,
        command: str,
        folder: Path,
        port: int,
        variables: Mapping[str, str],
        host: str = "127.0.0.1",
    ) -> None:
        self.port = port
        self.host = host
        self._command = command
        self._folder = folder
        self._variables = variables
        self._log = folder / f"program-{host}-{port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", f"exec {self._command}"], cwd=self._folder, env=self._variables,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not listens(self.port, self.host):
            assert self._process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def stop(self) -> None:
        """End it as Ctrl-C does, and wait."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            finally:
                self._process.kill()
                self._process.wait(STOP_SECONDS)
                self._process = None

    def kill(self) -> None:
        """End it without warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
            self._process = None


def listens(port: int, host: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


@contextmanager
def running(
    command: str,
    folder: Path,
    port: int,
    variables: Mapping[str, str],
    host: str = "127.0.0.1",
) -> Iterator[Program]:
    """Run a program; it is killed in the end."""
    program = Program(command, folder, port, variables, host)
    try:
        program.start()
        yield program
    finally:
        program.kill()
