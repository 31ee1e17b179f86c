"""The figures of a scenario with each event log, and the tables of all of them."""

from typing import Any, Final, NamedTuple

from benchmarks.load import Load
from benchmarks.logs import BASE
from benchmarks.processes import Sample
from benchmarks.scenarios import Scenario

QUANTILES: Final = (50, 90, 99)
_FEWEST: Final = 16  # below so many samples or streams a percentile or an average says nothing
_NAME_WIDTH: Final = 13
_LOG_WIDTH: Final = 7

Figures = dict[str, Any]


class Watched(NamedTuple):
    """A process before the load, and at both edges of the counted interval."""

    idle: Sample
    first: Sample
    last: Sample

    @property
    def cpu_us(self) -> float:
        """CPU time between the edges, in microseconds."""
        return (self.last.cpu - self.first.cpu) * 1e6


class Goal(NamedTuple):
    """What a log may cost more than BASE: in CPU of the server and in added latency (median)."""

    scenario: str
    log: str
    cpu_us_per_delta: float
    latency_ms: float


GOALS: Final = (Goal("paced-500", "sqlite", cpu_us_per_delta=10.0, latency_ms=5.0),)
_KEPT_UP: Final = 0.95
"""Of the deltas that arrive directly; with fewer, latencies are those of a queue that grows."""
_BUSY_PERCENT: Final = 5.0
"""Of the time, with the log in memory: the server waited more, so others used its processor."""


# --- figures -------------------------------------------------------------------------------------


def arrived(measured: Load) -> Figures:
    """Say what arrived at the load, whoever sent it."""
    return {
        "deltas_per_second": measured.deltas / measured.seconds,
        "answers_per_second": measured.answers / measured.seconds,
        "latency_ms": _quantiles(measured.latencies.tolist()),
        "first_delta_ms": _quantiles(measured.firsts.tolist()),
    }


def figures(
    scenario: Scenario, direct: Figures, through: Load, server: Watched, store: Watched | None
) -> Figures:
    """Compute the figures with one event log; None where this scenario has none.

    Args:
        scenario: what load.
        direct: what arrived without Tellstream.
        through: the same load through it.
        server: the server process.
        store: the process that holds the log, if it is another one.
    """
    own = arrived(through)
    many = scenario.rate and scenario.streams >= _FEWEST
    opened = many and through.opened == scenario.streams  # else the server could not keep up
    grown = server.first.rss - server.idle.rss
    waited = server.last.waited - server.first.waited
    return {
        "tellstream": own,
        "added": {
            key: _minus(own[key], direct[key], own[key] or ())
            for key in ("latency_ms", "first_delta_ms")
        },
        **_cpu(scenario, through, server),
        "waited_percent": waited / through.seconds * 100,
        "rss_idle_mib": server.idle.rss / 2**20,
        "rss_mib": server.last.rss / 2**20,
        "kib_per_stream": grown / 2**10 / scenario.streams if opened else None,
        "bytes_kept_per_delta": (
            (server.last.rss - server.first.rss) / max(1, through.deltas) if many else None
        ),
        "store": store and {**_cpu(scenario, through, store), "rss_mib": store.last.rss / 2**20},
    }


def _cpu(scenario: Scenario, through: Load, process: Watched) -> Figures:
    short = scenario.words == 1
    return {
        "cpu_us_per_delta": None if short else process.cpu_us / max(1, through.deltas),
        "cpu_us_per_request": process.cpu_us / max(1, through.answers) if short else None,
        "cpu_percent": process.cpu_us / through.seconds / 1e4,
    }


_COMPARED: Final = ("cpu_us_per_delta", "cpu_us_per_request", "rss_mib")


def compare(logs: dict[str, Figures]) -> None:
    """Write into the figures of each log what it costs more than BASE; None without BASE."""
    base = logs.get(BASE)
    for log, own in logs.items():
        if base is None or log == BASE:
            own["over_memory"] = None
            continue
        over = _minus(own, base, _COMPARED) or {}
        for key in ("latency_ms", "first_delta_ms"):
            there, here = base["tellstream"][key], own["tellstream"][key]
            over[key] = _minus(here, there, here or ())
        own["over_memory"] = over


def _quantiles(microseconds: list[int]) -> dict[str, float] | None:
    if len(microseconds) < _FEWEST:
        return None
    microseconds.sort()
    return {f"p{q}": microseconds[len(microseconds) * q // 100] / 1_000 for q in QUANTILES}


def _minus(more: Figures | None, less: Figures | None, keys: Any) -> Figures | None:
    """Subtract the named figures; a figure that is None on either side stays None."""
    if more is None or less is None:
        return None
    return {
        key: None if more[key] is None or less[key] is None else more[key] - less[key]
        for key in keys
    }


# --- tables --------------------------------------------------------------------------------------


class _Column(NamedTuple):
    title: str
    form: str
    width: int
    path: tuple[str, ...]


_COLUMNS: Final = (
    _Column("deltas/s", ".0f", 9, ("tellstream", "deltas_per_second")),
    _Column("µs/delta", ".1f", 9, ("cpu_us_per_delta",)),
    _Column("µs/request", ".0f", 11, ("cpu_us_per_request",)),
    _Column("added p50", ".2f", 10, ("added", "latency_ms", "p50")),
    _Column("p90", ".2f", 8, ("added", "latency_ms", "p90")),
    _Column("p99 ms", ".2f", 8, ("added", "latency_ms", "p99")),
    _Column("first p50 ms", ".2f", 13, ("added", "first_delta_ms", "p50")),
    _Column("CPU %", ".0f", 6, ("cpu_percent",)),
    _Column("waited %", ".1f", 9, ("waited_percent",)),
    _Column("RSS MiB", ".0f", 8, ("rss_mib",)),
    _Column("KiB/stream", ".0f", 11, ("kib_per_stream",)),
    _Column("B/delta", ".0f", 8, ("bytes_kept_per_delta",)),
)
_STORE: Final = (
    _Column("redis µs/delta", ".1f", 15, ("store", "cpu_us_per_delta")),
    _Column("CPU %", ".0f", 6, ("store", "cpu_percent")),
    _Column("MiB", ".0f", 5, ("store", "rss_mib")),
)
_DIRECT: Final = (
    _Column("", ".0f", 9, ("deltas_per_second",)),
    _Column("", "", 9, ()),
    _Column("", "", 11, ()),
    _Column("", ".2f", 10, ("latency_ms", "p50")),
    _Column("", ".2f", 8, ("latency_ms", "p90")),
    _Column("", ".2f", 8, ("latency_ms", "p99")),
    _Column("", ".2f", 13, ("first_delta_ms", "p50")),
)
_OVER: Final = (
    _Column("µs/delta", "+.1f", 9, ("cpu_us_per_delta",)),
    _Column("µs/request", "+.0f", 11, ("cpu_us_per_request",)),
    _Column("p50", "+.2f", 10, ("latency_ms", "p50")),
    _Column("p90", "+.2f", 8, ("latency_ms", "p90")),
    _Column("p99 ms", "+.2f", 8, ("latency_ms", "p99")),
    _Column("first p50 ms", "+.2f", 13, ("first_delta_ms", "p50")),
    _Column("RSS MiB", "+.0f", 8, ("rss_mib",)),
)


def table(results: dict[str, Figures]) -> str:
    """Lay the figures out, one line per scenario and log.

    The line "direct" is the load without Tellstream, as it is; the others say what they add to it.
    """
    stored = any(own["store"] for result in results.values() for own in result["logs"].values())
    columns = _COLUMNS + _STORE if stored else _COLUMNS
    lines = [_line("scenario", "log", columns, None)]
    for name, result in results.items():
        lines.append(_line(name, "direct", _DIRECT, result["direct"]))
        lines += [_line("", log, columns, own) for log, own in result["logs"].items()]
    return "\n".join(lines)


def comparison(results: dict[str, Figures]) -> str:
    """Lay out what each log costs more than BASE in the same run; empty if there is nothing."""
    lines = [
        _line(name, log, _OVER, own["over_memory"])
        for name, result in results.items()
        for log, own in result["logs"].items()
        if own["over_memory"]
    ]
    if not lines:
        return ""
    return "\n".join([f"more than {BASE}:", _line("scenario", "log", _OVER, None), *lines])


def verdicts(results: dict[str, Figures]) -> list[str]:
    """Say of each goal that was measured whether it is met, and whether that can be trusted."""
    said = []
    for goal in GOALS:
        logs = results.get(goal.scenario, {}).get("logs", {})
        over = logs.get(goal.log, {}).get("over_memory")
        if not over or over["latency_ms"] is None:
            continue
        doubts = _doubts(results[goal.scenario]["direct"], logs[BASE], logs[goal.log])
        cpu, latency = over["cpu_us_per_delta"], over["latency_ms"]["p50"]
        met = cpu <= goal.cpu_us_per_delta and latency <= goal.latency_ms
        said.append(
            f"goal {'met' if met else 'MISSED'}: {goal.log} at {goal.scenario} adds "
            f"{cpu:.1f} µs CPU per delta (at most {goal.cpu_us_per_delta:g}) and "
            f"{latency:.2f} ms at the median (at most {goal.latency_ms:g}) to {BASE}"
            + "".join(f"; {doubt}" for doubt in doubts)
        )
    return said


def _doubts(direct: Figures, base: Figures, own: Figures) -> list[str]:
    """Say why a comparison is not to be trusted."""
    found = []
    if base["waited_percent"] > _BUSY_PERCENT:
        found.append(f"the machine was busy ({base['waited_percent']:.0f} % waited)")
    sent = direct["deltas_per_second"]
    worst = min(run["tellstream"]["deltas_per_second"] for run in (base, own)) / sent
    if worst < _KEPT_UP:
        found.append(f"the server did not keep up ({worst * 100:.0f} % of the deltas)")
    return found


def _line(name: str, log: str, columns: tuple[_Column, ...], values: Figures | None) -> str:
    """Lay out one line; without values the titles."""
    cells = (
        (column.title if values is None else _cell(values, column)).rjust(column.width)
        for column in columns
    )
    return f"{name:{_NAME_WIDTH}}{log:{_LOG_WIDTH}}{''.join(cells)}".rstrip()


def _cell(values: Figures, column: _Column) -> str:
    if not column.path:
        return ""
    value: Any = values
    for key in column.path:
        value = None if value is None else value[key]
    return "-" if value is None else format(value, column.form)
