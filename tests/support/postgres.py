"""A private PostgreSQL server for tests: real, and killed without mercy."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from support.ports import free_port

START_SECONDS = 90.0
PASSWORD = "canary-of-the-database"
ROLE = "tellstream_app"
"""What a server connects as: an ordinary role that owns its database."""
SERVER = (
    "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
    "-c", "max_connections=60", "-c", "shared_buffers=16MB",
    "-c", "fsync=off", "-c", "deadlock_timeout=50ms", "-c", "log_min_messages=fatal",
)  # fmt: skip


def program(name: str) -> str:
    """A program of the server; without it, the test is skipped."""
    found = shutil.which(name)
    if found is not None:
        return found
    # Debian keeps them out of the path; the newest version is the last one.
    folders = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not folders:
        pytest.skip(f"PostgreSQL is not installed: there is no {name}")
    return str(folders[-1])


class PostgresServer:
    """One server on a port and in a folder of its own, which it keeps over restarts.

    Args:
        folder: for its files; made by ``postgres_server``.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self.port = free_port()

    def create(self) -> None:
        """Make the files of an empty server."""
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        command = [
            program("initdb"), "--pgdata", str(self._folder / "data"), "--username", "postgres",
            "--auth", "password", "--pwfile", str(secret), "--encoding", "UTF8",
            "--locale", "C.UTF-8", "--no-sync",
        ]  # fmt: skip
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **_as_user())
        self.start()
        self.ask(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [
            program("postgres"), "-D", str(self._folder / "data"), "-p", str(self.port), *SERVER,
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **_as_user()
        )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.ask("SELECT 1")
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, "postgres ended"
                assert time.monotonic() < deadline, "postgres does not answer"
                time.sleep(0.02)

    def ask(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute one statement as the superuser, on a connection of its own."""
        url = self.url(database, "postgres")
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def database(self) -> str:
        """Make an empty database; returns its name."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.ask(f"CREATE DATABASE {name} OWNER {ROLE}")
        return name

    def url(self, database: str, user: str = ROLE) -> str:
        return f"postgresql://{user}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def stop(self) -> None:
        """Stop it as an operator does: who is connected is thrown out."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it without warning; what was committed must be there after the next start."""
        self._end(signal.SIGQUIT)

    def pause(self) -> None:
        """Let it hang: connections stay open, and nobody answers."""
        for process in self._processes():
            process.suspend()

    def resume(self) -> None:
        """Let it go on."""
        for process in self._processes():
            process.resume()

    def _processes(self) -> list[psutil.Process]:
        assert self._process is not None
        first = psutil.Process(self._process.pid)
        return [first, *first.children(recursive=True)]

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            for process in self._processes():
                with suppress(psutil.NoSuchProcess):
                    process.resume()
            self._process.send_signal(how)
            self._process.wait(START_SECONDS)
            self._process = None


def _as_user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    user = _user()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}


def _user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("PostgreSQL is not installed: there is no user postgres")


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server."""
    program("postgres")
    # Not in pytest's folder, which only its owner may enter.
    with tempfile.TemporaryDirectory(prefix="tellstream-postgres-") as folder:
        if os.geteuid() == 0:
            os.chown(folder, _user().pw_uid, _user().pw_gid)
        server = PostgresServer(Path(folder))
        try:
            server.create()
            yield server
        finally:
            server.kill()
