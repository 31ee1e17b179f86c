"""One measurement, a scenario through a gateway with fresh processes; the median of several."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks import wire
from benchmarks.gateways import Gateway, Running, Site
from benchmarks.processes import Placement, Process, ProcessError, Sample, free_port, tail
from benchmarks.scenarios import WARM_UP, Scenario

KEPT_UP: Final = 0.95
"""Of the offered deltas: of fewer that arrive in time, the rest waits in a queue that grows."""
BEHIND_MS: Final = 20.0
"""Of 1 % of the deltas: if the provider writes them later than that, the pace was not offered."""
_REASON: Final = 160
"""Characters of a reason, in a table."""

Figures = dict[str, Any]


class Watched(NamedTuple):
    """A process at both edges of counting, and before the load."""

    idle: Sample
    first: Sample
    last: Sample

    @property
    def cpu(self) -> float:
        """CPU time between the edges, in seconds."""
        return self.last.cpu - self.first.cpu


def measure(gateway: Gateway, scenario: Scenario, seconds: float, placement: Placement) -> Figures:
    """Put one load through a gateway.

    Returns:
        The figures; ``failed`` says what the gateway did not manage, ``invalid`` why the figures
        are not the gateway's. A gateway that gives wrong answers, or none, has no other figures.
    """
    counted = seconds * scenario.share
    with _folder() as folder:
        port = free_port()
        models = list(dict.fromkeys([scenario.model(counted), WARM_UP.model(0)]))
        site = Site(folder, port, models, placement)
        try:
            with (
                wire.provider(port, folder, placement.provider) as provider,
                gateway.run(site) as running,
            ):
                return _through(provider, running, scenario, counted, site)
        except (wire.LoadError, ProcessError) as error:
            said = "".join(f"\n{file.name}: {tail(file)}" for file in sorted(folder.glob("*.log")))
            print(f"{scenario.name}, {gateway.name}: {error}{said}", file=sys.stderr)
            return {"failed": _short(str(error)), "invalid": None}


def _through(
    provider: Process, running: Running, scenario: Scenario, seconds: float, site: Site
) -> Figures:
    def put(load: Scenario, counted: float, edge: Any) -> wire.Arrived:
        ends = [*running.ends, f'"completion_tokens":{load.deltas(counted)}']
        request = running.request(load.model(counted))
        cpus = site.placement.load
        return wire.load(running.port, request, ends, load, counted, site.folder, cpus, edge)

    watched = [x for x in (provider, running.server, running.store) if x is not None]
    put(WARM_UP, WARM_UP.ramp, lambda: None)
    for process in watched:
        process.look()
    edges = [[process.sample() for process in watched]]
    arrived = put(
        scenario, seconds, lambda: edges.append([process.sample() for process in watched])
    )
    seen = [Watched(*samples) for samples in zip(*edges, strict=True)]
    return {
        **_arrived(scenario, arrived),
        "load_percent": (arrived.cpu + seen[0].cpu) / arrived.seconds * 100,
        "server": _cost(scenario, arrived, seen[1]) if running.server else None,
        "store": _cost(scenario, arrived, seen[-1]) if running.store else None,
    }


def _short(text: str) -> str:
    """Return the end of a text in one line: there a process says why it ended."""
    line = " ".join(text.split())
    return line if len(line) <= _REASON else f"… {line[-_REASON:]}"


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tellstream-bench-") as name:
        yield Path(name)


def _arrived(scenario: Scenario, arrived: wire.Arrived) -> Figures:
    """Say what arrived at the load, whoever sent it."""
    return {
        "failed": _failed(scenario, arrived),
        "invalid": _invalid(arrived),
        "deltas_per_second": arrived.deltas / arrived.seconds,
        "answers_per_second": arrived.answers / arrived.seconds,
        "latency_ms": _milliseconds(arrived.latency),
        "first_delta_ms": _milliseconds(arrived.first),
        "late_ms": _milliseconds(arrived.late),
    }


def _failed(scenario: Scenario, arrived: wire.Arrived) -> str | None:
    offered = scenario.streams * scenario.rate * arrived.seconds
    if arrived.deltas < KEPT_UP * offered:
        return f"{arrived.deltas / offered * 100:.0f} % of the deltas arrived in time"
    if arrived.unfinished:
        return f"{arrived.unfinished} answers did not end"
    return None


def _invalid(arrived: wire.Arrived) -> str | None:
    if arrived.late and arrived.late["p99"] > BEHIND_MS * 1_000:
        return f"the provider was {arrived.late['p99'] / 1_000:.0f} ms behind its own pace"
    return None


def _cost(scenario: Scenario, arrived: wire.Arrived, seen: Watched) -> Figures:
    """Say what a process spent between the edges."""
    cpu_us = seen.cpu * 1e6
    opened = scenario.streams >= wire.FEWEST and arrived.opened == scenario.streams
    grown = seen.first.rss - seen.idle.rss
    return {
        "cpu_us_per_delta": None if scenario.short else cpu_us / max(1, arrived.deltas),
        "cpu_us_per_request": cpu_us / max(1, arrived.answers) if scenario.short else None,
        "cpu_percent": cpu_us / arrived.seconds / 1e4,
        "waited_percent": (seen.last.waited - seen.first.waited) / arrived.seconds * 100,
        "rss_idle_mb": seen.idle.rss / 1e6,
        "rss_mb": seen.last.rss / 1e6,
        "kb_per_stream": (grown / 1e3 / scenario.streams if scenario.rate and opened else None),
    }


def _milliseconds(microseconds: dict[str, int] | None) -> dict[str, float] | None:
    if microseconds is None:
        return None
    return {key: microseconds[key] / 1_000 for key in ("p50", "p90", "p99", "max")}


def medians(runs: list[Figures]) -> Figures:
    """Return the median of each figure, of the valid runs if there are any.

    ``failed`` and ``invalid`` are what most runs were; ``notes`` is what some were.
    """
    valid = [run for run in runs if not run["invalid"]] or runs
    figures = _median([run for run in valid if "server" in run]) or {}
    kinds = {kind: [run[kind] for run in runs if run[kind]] for kind in ("failed", "invalid")}
    notes = [
        f"{len(reasons)} of {len(runs)} runs: {reasons[0]}"
        for reasons in kinds.values()
        if 0 < len(reasons) < len(runs)
    ]
    most = {
        kind: reasons[0] if 2 * len(reasons) > len(runs) else None
        for kind, reasons in kinds.items()
    }
    return {**figures, **most, "notes": notes}


def _median(values: list[Any]) -> Any:
    present = [value for value in values if value is not None]
    if not present:
        return None
    if isinstance(present[0], dict):
        return {key: _median([value[key] for value in present]) for key in present[0]}
    return None if isinstance(present[0], str) else median(present)
