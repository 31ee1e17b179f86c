"""The goals, and whether a run meets them.

A goal is a row: a figure of one gateway in one scenario, alone or divided by the same figure of
another gateway in the same run, and its bound.
"""

from typing import Final, NamedTuple

from benchmarks.measure import Figures
from benchmarks.peers import PEERS
from benchmarks.report import FLOOR, Results, look, markdown

_BUSY_PERCENT: Final = 5.0
"""Of the time: if a gateway without threads that write had to wait longer, the machine was busy."""
MEMORY: Final = "tellstream-memory"
SQLITE: Final = "tellstream-sqlite"
REDIS: Final = "tellstream-redis"
_COST: Final = ("cost_us",)
_RATE: Final = ("deltas_per_second",)
_LATENCY: Final = ("added", "latency_ms")
_FIRST: Final = ("added", "first_delta_ms")


class Goal(NamedTuple):
    """What a figure should be.

    Attributes:
        says: what is measured.
        scenario: in which.
        gateway: of which.
        path: which figure.
        bound: what it should not exceed, or not fall below.
        over: what it is divided by: the same figure of this gateway.
        at_least: whether ``bound`` is the least, not the most.
        stretch: a better bound to hope for.
    """

    says: str
    scenario: str
    gateway: str
    path: tuple[str, ...]
    bound: float
    over: str | None = None
    at_least: bool = False
    stretch: float | None = None


GOALS: Final = (
    Goal("memory / nginx, CPU", "paced-500", MEMORY, _COST, 2.0, "nginx", stretch=1.5),
    Goal("memory / portkey, CPU", "paced-500", MEMORY, _COST, 1.0, "portkey"),
    Goal("sqlite / nginx, CPU", "paced-500", SQLITE, _COST, 2.5, "nginx"),
    Goal("redis / nginx, CPU", "paced-500", REDIS, _COST, 2.7, "nginx"),
    Goal("litellm / memory, CPU", "paced-20", "litellm", _COST, 7.0, MEMORY, at_least=True),
    Goal("litellm / memory, CPU", "saturation", "litellm", _COST, 60.0, MEMORY, at_least=True),
    Goal("litellm / memory, CPU", "requests", "litellm", _COST, 40.0, MEMORY, at_least=True),
    Goal("memory, added p99 in ms", "paced-1000", MEMORY, (*_LATENCY, "p99"), 150.0),
    Goal("memory, µs per delta", "saturation", MEMORY, _COST, 8.0),
    Goal("sqlite, µs per delta", "saturation", SQLITE, _COST, 12.0),
    Goal("memory, µs per request", "requests", MEMORY, _COST, 500.0),
    Goal("sqlite, µs per request", "requests", SQLITE, _COST, 700.0),
    Goal("memory, first delta p50 in ms", "first-delta", MEMORY, (*_FIRST, "p50"), 0.7),
    Goal("memory, first delta p99 in ms", "first-delta", MEMORY, (*_FIRST, "p99"), 3.0),
    Goal("sqlite, first delta p50 in ms", "first-delta", SQLITE, (*_FIRST, "p50"), 2.7),
    Goal("redis, first delta p50 in ms", "first-delta", REDIS, (*_FIRST, "p50"), 2.7),
    Goal("memory, added p50 in ms", "paced-100", MEMORY, (*_LATENCY, "p50"), 0.3),
    Goal("sqlite, added p50 in ms", "paced-100", SQLITE, (*_LATENCY, "p50"), 3.0),
    Goal("redis, added p50 in ms", "paced-100", REDIS, (*_LATENCY, "p50"), 3.0),
    Goal("memory, MB idle", "open-4000", MEMORY, ("server", "rss_idle_mb"), 80.0),
    Goal(
        "memory, kB per stream",
        "open-4000",
        MEMORY,
        ("server", "kb_per_stream"),
        40.0,
        stretch=20.0,
    ),
    Goal(
        "deltas/s, 2 workers / 1 worker",
        "workers",
        "2 workers",
        _RATE,
        1.8,
        "1 worker",
        at_least=True,
    ),
    Goal(
        "µs/delta, 1 worker / 2 workers",
        "workers",
        "1 worker",
        _COST,
        0.9,
        "2 workers",
        at_least=True,
    ),
)


def verdicts(results: Results) -> list[list[str]]:
    """Judge each goal whose scenario was measured: goal, scenario, bound, measured, verdict."""
    return [_judge(goal, results[goal.scenario]) for goal in GOALS if goal.scenario in results]


def table(results: Results) -> str:
    """Lay the verdicts out; empty if no goal was measured."""
    rows = verdicts(results)
    return markdown(["goal", "scenario", "bound", "measured", "verdict"], rows) if rows else ""


def _judge(goal: Goal, gateways: dict[str, Figures]) -> list[str]:
    value = look(gateways.get(goal.gateway, {}), *goal.path)
    if goal.over and value is not None:
        divisor = look(gateways.get(goal.over, {}), *goal.path)
        value = value / divisor if divisor else None
    bound = f"{'≥' if goal.at_least else '≤'} {goal.bound:g}"
    if goal.stretch is not None:
        bound += f", better {goal.stretch:g}"
    shown = "" if value is None else f"{value:,.2f}"
    return [goal.says, goal.scenario, bound, shown, _verdict(goal, value, gateways)]


def _verdict(goal: Goal, value: float | None, gateways: dict[str, Figures]) -> str:
    used = {name: gateways[name] for name in (goal.gateway, goal.over) if name in gateways}
    for name, figures in used.items():
        if figures["invalid"]:
            return f"not judged: {name}: {figures['invalid']}"
        if figures["failed"] and name not in PEERS:
            return f"MISSED: {name}: {figures['failed']}"
    if value is None:
        return "not measured"
    met = value >= goal.bound if goal.at_least else value <= goal.bound
    said = "met" if met else "MISSED"
    if met and goal.stretch is not None and value <= goal.stretch:
        said = "met, and better"
    doubts = [doubt for name, figures in used.items() for doubt in _doubts(goal, name, figures)]
    return "; ".join([said, *doubts])


def _doubts(goal: Goal, name: str, figures: Figures) -> list[str]:
    """Say what to know of a gateway before a verdict is believed."""
    found = []
    waited = look(figures, "server", "waited_percent") or 0.0
    if name in (MEMORY, FLOOR) and waited > _BUSY_PERCENT:
        found.append(f"the machine was busy: {name} waited {waited:.0f} %")
    if name in PEERS and figures["failed"]:
        found.append(f"{name} did not hold")
    if goal.path == _RATE:
        cpu, load = look(figures, "server", "cpu_percent"), figures.get("load_percent") or 0.0
        found.append(f"{name} had {cpu:.0f} % of a processor, provider and load {load:.0f} %")
    return found
