"""The figures of a scenario, and the table of all of them."""

from typing import Any, Final

from benchmarks.load import Load
from benchmarks.processes import Sample
from benchmarks.scenarios import Scenario

QUANTILES: Final = (50, 90, 99)
_FEWEST: Final = 16  # below so many samples or streams a percentile or an average says nothing
_NAME_WIDTH: Final = 12

Figures = dict[str, Any]


def figures(scenario: Scenario, direct: Load, through: Load, edges: list[Sample]) -> Figures:
    """Compute the figures; None where this scenario has none."""
    idle, first, last = edges
    cpu = (last.cpu - first.cpu) * 1e6
    arrived = {"direct": _arrived(direct), "tellstream": _arrived(through)}
    many = scenario.rate and scenario.streams >= _FEWEST
    opened = many and through.opened == scenario.streams  # else the server could not keep up
    short = scenario.words == 1
    return {
        "streams": scenario.streams,
        **arrived,
        "added": {
            key: _minus(arrived["tellstream"][key], arrived["direct"][key])
            for key in ("latency_ms", "first_delta_ms")
        },
        "cpu_us_per_delta": None if short else cpu / max(1, through.deltas),
        "cpu_us_per_request": cpu / max(1, through.answers) if short else None,
        "cpu_percent": cpu / through.seconds / 1e4,
        "waited_percent": (last.waited - first.waited) / through.seconds * 100,
        "rss_idle_mib": idle.rss / 2**20,
        "kib_per_stream": (first.rss - idle.rss) / 2**10 / scenario.streams if opened else None,
        "bytes_kept_per_delta": (last.rss - first.rss) / max(1, through.deltas) if many else None,
    }


def _arrived(measured: Load) -> Figures:
    return {
        "deltas_per_second": measured.deltas / measured.seconds,
        "answers_per_second": measured.answers / measured.seconds,
        "latency_ms": _quantiles(measured.latencies.tolist()),
        "first_delta_ms": _quantiles(measured.firsts.tolist()),
    }


def _quantiles(microseconds: list[int]) -> dict[str, float] | None:
    if len(microseconds) < _FEWEST:
        return None
    microseconds.sort()
    return {f"p{q}": microseconds[len(microseconds) * q // 100] / 1_000 for q in QUANTILES}


def _minus(
    through: dict[str, float] | None, direct: dict[str, float] | None
) -> dict[str, float] | None:
    if through is None or direct is None:
        return None
    return {name: through[name] - direct[name] for name in through}


# The columns: title, digits after the point, width, and where the figure is found.
_COLUMNS: Final = (
    ("deltas/s", 0, 9, ("tellstream", "deltas_per_second")),
    ("direct", 0, 8, ("direct", "deltas_per_second")),
    ("µs/delta", 1, 9, ("cpu_us_per_delta",)),
    ("µs/request", 0, 11, ("cpu_us_per_request",)),
    ("added p50", 2, 10, ("added", "latency_ms", "p50")),
    ("p90", 2, 7, ("added", "latency_ms", "p90")),
    ("p99 ms", 2, 8, ("added", "latency_ms", "p99")),
    ("first p50 ms", 2, 13, ("added", "first_delta_ms", "p50")),
    ("CPU %", 0, 6, ("cpu_percent",)),
    ("waited %", 1, 9, ("waited_percent",)),
    ("idle MiB", 0, 9, ("rss_idle_mib",)),
    ("KiB/stream", 0, 11, ("kib_per_stream",)),
    ("B/delta", 0, 8, ("bytes_kept_per_delta",)),
)


def table(results: dict[str, Figures]) -> str:
    """Lay the figures out, one line per scenario."""
    titles = "".join(title.rjust(width) for title, _, width, _ in _COLUMNS)
    lines = ["scenario".ljust(_NAME_WIDTH) + titles]
    for name, figures in results.items():
        cells = (_cell(figures, path, digits).rjust(width) for _, digits, width, path in _COLUMNS)
        lines.append(name.ljust(_NAME_WIDTH) + "".join(cells))
    return "\n".join(lines)


def _cell(figures: Figures, path: tuple[str, ...], digits: int) -> str:
    value: Any = figures
    for key in path:
        value = None if value is None else value[key]
    return "-" if value is None else f"{value:.{digits}f}"
