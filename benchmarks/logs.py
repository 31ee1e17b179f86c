"""The event logs that are compared, and the redis-server that one of them needs.

Each log runs with its own server process and its own empty data folder. ``memory`` is the one that
the others are compared with: it keeps frames in lists, so what another log costs more is the price
of outliving the process.
"""

import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import psutil
from benchmarks.processes import HOST, Cpus, Process, free_port, running

BASE: Final = "memory"
LOGS: Final = (BASE, "sqlite", "redis")
_REDIS_SERVER: Final = "redis-server"
# One write to the append-only file per second: what the documentation asks of an operator.
_REDIS_OPTIONS: Final = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "")


def missing(log: str) -> str | None:
    """Say why a log cannot be measured here; None: it can."""
    if log != "redis":
        return None
    if shutil.which(_REDIS_SERVER) is None:
        return f"{_REDIS_SERVER} is not on PATH"
    if find_spec("redis") is None:
        return "the Python package redis is not installed"
    return None


@contextmanager
def prepared(log: str, folder: Path, cpus: Cpus) -> Iterator[tuple[str, Process | None]]:
    """Start what a log needs besides the server; gives ``eventlog.url`` and the process, if any.

    Raises:
        ProcessError: redis-server does not start, or has ended by itself.
    """
    if log != "redis":
        yield log, None
        return
    port = free_port()
    address = ("--bind", HOST, "--port", str(port), "--dir", str(folder))
    line = [_REDIS_SERVER, *address, *_REDIS_OPTIONS]
    with running(line, _REDIS_SERVER, port, folder, cpus) as process:
        yield f"redis://{HOST}:{port}/0", process


def facts(log: str) -> dict[str, str]:
    """Name what the figures of a log depend on, and nothing else does."""
    named = {}
    if log == "sqlite":
        named["sqlite"] = sqlite3.sqlite_version
    if log == "redis":
        said = subprocess.run(
            [_REDIS_SERVER, "--version"], capture_output=True, text=True, check=False
        )
        words = (word.removeprefix("v=") for word in said.stdout.split() if word.startswith("v="))
        named["redis"] = f"{next(words, '?')}, {' '.join(_REDIS_OPTIONS[:-2])}"
    if log != BASE:
        named["disk"] = _file_system(Path(tempfile.gettempdir()))
    return named


def _file_system(folder: Path) -> str:
    """Name the file system: one in memory would make durable logs look free."""
    resolved = folder.resolve()
    holding = [
        partition
        for partition in psutil.disk_partitions(all=True)
        if resolved.is_relative_to(partition.mountpoint)
    ]
    if not holding:
        return "unknown"
    nearest = max(holding, key=lambda partition: len(partition.mountpoint))
    return f"{nearest.fstype} on {nearest.device} ({folder})"
