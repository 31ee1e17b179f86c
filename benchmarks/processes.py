"""The processes of a benchmark: start, pin, measure, stop.

CPU time is user and system time of all threads, from the process clock, which counts nanoseconds.
Where Linux says so, the time for which a process was ready but its processor was taken is read too,
by another process or, in a virtual machine, by the host (steal): if that is not close to zero, the
latencies are not to be trusted.
"""

import os
import platform
import resource
import socket
import subprocess
import sys
import time
import timeit
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec
import psutil

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 90.0
STOP_SECONDS: Final = 5.0
_TAIL: Final = 1_500
"""Characters of what a process said, in a message."""
_CHUNK: Final = (
    b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1767225600,"model":"m",'
    b'"system_fingerprint":"fp","choices":[{"index":0,"delta":{"content":" word"},'
    b'"logprobs":null,"finish_reason":null}],"usage":null}'
)
_LIBRARIES: Final = ("tellstream", "uvicorn", "uvloop", "httptools", "msgspec")


class ProcessError(Exception):
    """A process did not start, or ended too early; the message ends with what it said."""


Cpus = frozenset[int]
"""Processors to run on; empty: wherever the system likes."""


@dataclass(frozen=True)
class Placement:
    """Which processors each process runs on.

    Attributes:
        server: of the gateway.
        others: of the provider, the load and redis-server, which may share one.
    """

    server: Cpus = frozenset()
    provider: Cpus = frozenset()
    load: Cpus = frozenset()
    redis: Cpus = frozenset()

    @classmethod
    def choose(cls, workers: int = 1) -> "Placement":
        """Give each worker of the gateway a processor of its own, and the others the rest.

        If there is none left for the others, they share with the workers.
        """
        if not hasattr(os, "sched_setaffinity"):
            return cls()
        cpus = sorted(os.sched_getaffinity(0))
        if len(cpus) == 1:
            return cls()
        others = cpus[workers:] or cpus
        single = [frozenset({others[min(n, len(others) - 1)]}) for n in range(3)]
        if len(cpus) <= workers:
            single = [frozenset(cpus)] * 3
        return cls(frozenset(cpus[:workers]), *single)

    def __str__(self) -> str:
        if not self.server:
            return "not pinned: all processes share the processors"
        names = ("server", "provider", "load", "redis")
        shown = (f"{name} on CPU {_cpus(getattr(self, name))}" for name in names)
        return ", ".join(shown)


def _cpus(cpus: Cpus) -> str:
    return "+".join(map(str, sorted(cpus)))


class Sample(NamedTuple):
    """A process so far: seconds of CPU and of waiting for it, and bytes of memory now."""

    cpu: float
    waited: float
    rss: int


class Process:
    """A running process and its children, as one."""

    def __init__(self, popen: subprocess.Popen[bytes], cpus: Cpus) -> None:
        self._process = psutil.Process(popen.pid)
        self._cpus = cpus
        self._members: list[psutil.Process] = []
        self.look()

    def look(self) -> None:
        """Look who belongs to it now; only those are measured."""
        self._members = [self._process, *self._process.children(recursive=True)]

    def sample(self) -> Sample:
        """Measure it now.

        Raises:
            ProcessError: a member has ended.
        """
        try:
            samples = [_sample(member) for member in self._members]
        except psutil.NoSuchProcess as error:
            raise ProcessError(f"process {error.pid} ended while it was measured") from error
        steal = sum(
            getattr(times, "steal", 0.0)
            for cpu, times in enumerate(psutil.cpu_times(percpu=True))
            if cpu in self._cpus
        )
        cpu, waited, rss = (sum(figures) for figures in zip(*samples, strict=True))
        return Sample(cpu, waited + steal, int(rss))


def _sample(member: psutil.Process) -> Sample:
    pid = member.pid
    try:
        cpu = time.clock_gettime(~pid << 3 | 2)  # clock_getcpuclockid(3), as Linux computes it
    except (OSError, AttributeError):
        times = member.cpu_times()
        cpu = times.user + times.system
    try:
        waited = int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        waited = 0.0
    return Sample(cpu, waited, member.memory_info().rss)


def command(*arguments: str) -> list[str]:
    """Return the command line of a ``tellstream`` command."""
    return [sys.executable, "-m", "tellstream", *arguments]


def environment() -> dict[str, str]:
    """Return the environment without settings: only the benchmark's own count."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TELLSTREAM_")}


@contextmanager
def pinned(cpus: Cpus) -> Iterator[None]:
    """Keep this process, and so what it starts, on some processors meanwhile."""
    if not cpus:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def raise_open_files() -> int:
    """Let this process, and all that it starts, open as many files as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    line: list[str],
    name: str,
    port: int,
    folder: Path,
    cpus: Cpus = frozenset(),
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Process]:
    """Run a command that listens on ``port``; stop it in any case.

    Args:
        line: the command line.
        name: for messages, and of the file that takes its output.
        port: where it will listen.
        folder: where it runs.
        cpus: the processors it is kept on.
        settings: further variables of its environment.

    Raises:
        ProcessError: it does not listen in time, or has ended when it should be stopped.
    """
    output = folder / f"{name}.log"
    with output.open("wb") as file, pinned(cpus):
        popen = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd=folder,
            env={**environment(), **settings},
        )
    try:
        _wait_until_listening(popen, port, output)
        yield Process(popen, cpus)
        if popen.poll() is not None:
            raise ProcessError(f"{name} ended by itself: {tail(output)}")
    finally:
        popen.terminate()
        try:
            popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()


def _wait_until_listening(popen: subprocess.Popen[bytes], port: int, output: Path) -> None:
    give_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up_at and popen.poll() is None:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise ProcessError(f"nothing listens on port {port}: {tail(output)}")


def tail(output: Path) -> str:
    """Return the end of what a process said."""
    return output.read_text(errors="replace")[-_TAIL:].strip()


def machine() -> dict[str, str]:
    """Name what the figures depend on."""
    return {
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        **{name: version(name) for name in _LIBRARIES},
        "reference": f"{_reference_microseconds():.2f} µs to decode one provider chunk",
    }


def _reference_microseconds() -> float:
    decode = msgspec.json.Decoder().decode
    rounds = 20_000
    return min(timeit.repeat(lambda: decode(_CHUNK), number=rounds, repeat=5)) / rounds * 1e6


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
