"""Both ends of a benchmark, the provider and the load: two small C programs, compiled when needed.

They share a processor and must leave some of it idle, so that figures are those of the gateway.
What they do, and what they check, is told at the head of provider.c and load.c.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.processes import HOST, Cpus, Process, ProcessError, pinned, running
from benchmarks.scenarios import Scenario

SOURCES: Final = Path(__file__).parent
BUILD: Final = SOURCES / ".build"
_COMPILER: Final = "cc"
_OPTIONS: Final = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")
_PROGRAMS: Final = ("provider", "load")
FEWEST: Final = 16
"""Samples; of fewer a percentile says nothing."""


class LoadError(Exception):
    """An answer was refused, garbled or not whole; the message says how."""


@dataclass(frozen=True)
class Arrived:
    """What the load saw; see load.c. Percentiles are microseconds; None of fewer than FEWEST.

    Attributes:
        seconds: how long was counted.
        cpu: seconds of processor time of the load itself meanwhile.
        deltas: that arrived while counting.
        answers: that ended while counting.
        opened: streams that had begun before counting did.
        unfinished: answers that had not ended when waiting for them was given up.
        latency: from the provider's write to the arrival, where there is a pace.
        first: from a request to its first delta.
        late: the provider's write behind its own schedule, where there is one.
    """

    seconds: float
    cpu: float
    deltas: int
    answers: int
    opened: int
    unfinished: int
    latency: dict[str, int] | None
    first: dict[str, int] | None
    late: dict[str, int] | None


def missing() -> str | None:
    """Say why the programs cannot be built here; None: they can."""
    if shutil.which(_COMPILER) is None:
        return f"no C compiler: {_COMPILER} is not on PATH (Debian: gcc and libc6-dev)"
    return None


def build(folder: Path = BUILD) -> Path:
    """Compile what is not there yet or older than its source; return the folder.

    Raises:
        ProcessError: there is no compiler, or it refuses.
    """
    if reason := missing():
        raise ProcessError(reason)
    folder.mkdir(exist_ok=True)
    for name in _PROGRAMS:
        program, source = folder / name, SOURCES / f"{name}.c"
        newest = max(file.stat().st_mtime for file in (source, SOURCES / "wire.h"))
        if program.exists() and program.stat().st_mtime > newest:
            continue
        with tempfile.TemporaryDirectory(dir=folder) as here:  # others may be running the old one
            made = Path(here) / name
            line = [_COMPILER, *_OPTIONS, "-o", str(made), str(source)]
            done = subprocess.run(line, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ProcessError(f"{_COMPILER} refuses {source.name}: {done.stderr.strip()}")
            made.replace(program)
    return folder


def provider(port: int, folder: Path, cpus: Cpus) -> AbstractContextManager[Process]:
    """Run the provider on ``port``."""
    return running([str(build() / "provider"), str(port)], "provider", port, folder, cpus)


def load(
    port: int,
    request: bytes,
    ends: list[str],
    scenario: Scenario,
    seconds: float,
    folder: Path,
    cpus: Cpus,
    edge: Callable[[], None] = lambda: None,
) -> Arrived:
    """Put a load on ``port``, and count for so long after its ramp.

    Args:
        port: where the gateway listens, on loopback.
        request: the bytes of a whole request.
        ends: texts that the end of every answer must hold.
        scenario: what load.
        seconds: how long to count.
        folder: for the request.
        cpus: where the load runs.
        edge: called when counting starts and when it ends.

    Raises:
        LoadError: an answer is not as it should be.
    """
    file = folder / "request"
    file.write_bytes(request)
    numbers = (scenario.streams, scenario.deltas(seconds), scenario.rate, scenario.ramp, seconds)
    line = [str(build() / "load"), str(port), str(file), *map(str, numbers), *ends]
    with pinned(cpus):
        popen = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = ""
    try:
        assert popen.stdout is not None
        for said in popen.stdout:
            if said in ("start\n", "stop\n"):
                edge()
        _, complaint = popen.communicate()
    finally:
        popen.kill()
        popen.wait()
    if popen.returncode:
        raise LoadError(complaint.strip())
    return _arrived(json.loads(said))


def _arrived(figures: dict[str, Any]) -> Arrived:
    return Arrived(
        latency=_samples(figures.pop("latency_us")),
        first=_samples(figures.pop("first_us")),
        late=_samples(figures.pop("late_us")),
        **figures,
    )


def _samples(numbers: list[int]) -> dict[str, int] | None:
    if numbers[0] < FEWEST:
        return None
    return dict(zip(("count", "p50", "p90", "p99", "max"), numbers, strict=True))


def request(port: int, path: str, headers: dict[str, str], body: dict[str, Any]) -> bytes:
    """Write a whole request."""
    content = json.dumps(body).encode()
    lines = {
        "Host": f"{HOST}:{port}",
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        **headers,
    }
    head = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items())]
    return "\r\n".join([*head, "", ""]).encode() + content
