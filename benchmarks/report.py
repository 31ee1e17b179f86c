"""The tables: one line per scenario and gateway, in Markdown that can be read as it is."""

from typing import Any, Final, NamedTuple

from benchmarks.gateways import DIRECT
from benchmarks.measure import Figures

FLOOR: Final = "nginx"
"""What the others are compared with: it passes bytes on and does nothing else."""

Results = dict[str, dict[str, Figures]]
"""Figures by scenario and gateway."""


class _Column(NamedTuple):
    title: str
    form: str
    path: tuple[str, ...]


_COLUMNS: Final = (
    _Column("deltas/s", ",.0f", ("deltas_per_second",)),
    _Column("µs/delta", ",.1f", ("server", "cpu_us_per_delta")),
    _Column("µs/request", ",.0f", ("server", "cpu_us_per_request")),
    _Column(f"/ {FLOOR}", ".2f", ("times_floor",)),
    _Column("added ms p50", ",.2f", ("added", "latency_ms", "p50")),
    _Column("p90", ",.2f", ("added", "latency_ms", "p90")),
    _Column("p99", ",.2f", ("added", "latency_ms", "p99")),
    _Column("first ms p50", ",.2f", ("added", "first_delta_ms", "p50")),
    _Column("p99", ",.2f", ("added", "first_delta_ms", "p99")),
    _Column("idle MB", ".0f", ("server", "rss_idle_mb")),
    _Column("MB", ".0f", ("server", "rss_mb")),
    _Column("kB/stream", ".1f", ("server", "kb_per_stream")),
    _Column("redis µs/delta", ".1f", ("store", "cpu_us_per_delta")),
    _Column("CPU %", ".0f", ("server", "cpu_percent")),
    _Column("waited %", ".0f", ("server", "waited_percent")),
    _Column("load CPU %", ".0f", ("load_percent",)),
)


def compare(gateways: dict[str, Figures]) -> None:
    """Complete the figures of one scenario: what each gateway adds to none, and times the floor."""
    for figures in gateways.values():
        figures["cost_us"] = _cost(figures)
    direct, floor = gateways[DIRECT.name], gateways.get(FLOOR, {}).get("cost_us")
    for name, figures in gateways.items():
        if name != DIRECT.name:
            own = figures["cost_us"]
            figures["times_floor"] = own / floor if own and floor else None
            figures["added"] = {
                key: _minus(figures.get(key), direct.get(key))
                for key in ("latency_ms", "first_delta_ms")
            }


def _cost(figures: Figures) -> float | None:
    """Return the CPU per delta, or per request where the scenario is about those."""
    per_request: float | None = look(figures, "server", "cpu_us_per_request")
    return look(figures, "server", "cpu_us_per_delta") if per_request is None else per_request


def _minus(more: Figures | None, less: Figures | None) -> Figures | None:
    return {key: more[key] - less[key] for key in more} if more and less else None


def look(figures: Figures, *path: str) -> Any:
    """Return a figure; None: it is not there."""
    value: Any = figures
    for key in path:
        value = None if value is None else value.get(key)
    return value


def table(results: Results) -> str:
    """Lay the figures out, without columns that are empty.

    The lines "direct" are of the provider alone; the others say what they add to it.
    """
    rows = [
        [name, gateway, *(_cell(figures, column) for column in _COLUMNS), _remarks(figures)]
        for name, gateways in results.items()
        for gateway, figures in gateways.items()
    ]
    return markdown(["scenario", "gateway", *(column.title for column in _COLUMNS), ""], rows)


def _remarks(figures: Figures) -> str:
    held = [f"**not held**: {figures['failed']}"] if figures["failed"] else []
    valid = [f"**not valid**: {figures['invalid']}"] if figures["invalid"] else []
    return "; ".join([*valid, *held, *figures["notes"]])


def _cell(figures: Figures, column: _Column) -> str:
    value = look(figures, *column.path)
    return "" if value is None else format(value, column.form)


def markdown(titles: list[str], rows: list[list[str]]) -> str:
    """Lay out a table, without columns that are empty; numbers are on the right."""
    columns = [
        (title, cells)
        for title, *cells in zip(titles, *rows, strict=True)
        if any(cells)  # a figure that no gateway here has
    ]
    lines: list[list[str]] = [[] for _ in range(len(rows) + 2)]
    for title, cells in columns:
        width = max(3, *map(len, (title, *cells)))
        words = any(cell.strip("-,.0123456789") for cell in cells)
        rule = "-" * width if words else "-" * (width - 1) + ":"
        for line, cell in zip(lines, (title, rule, *cells), strict=True):
            line.append(cell.ljust(width) if words else cell.rjust(width))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
