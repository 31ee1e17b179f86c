"""The tables: one line per scenario and gateway."""

from typing import Any, Final, NamedTuple

from benchmarks.gateways import DIRECT
from benchmarks.measure import Figures

FLOOR: Final = "nginx"
"""What the others are compared with: it passes bytes on and does nothing else."""
_NAME_WIDTH: Final = 13
_GATEWAY_WIDTH: Final = 10


class _Column(NamedTuple):
    title: str
    form: str
    width: int
    path: tuple[str, ...]


_COLUMNS: Final = (
    _Column("deltas/s", ",.0f", 11, ("deltas_per_second",)),
    _Column("µs/delta", ".1f", 10, ("server", "cpu_us_per_delta")),
    _Column("µs/request", ",.0f", 12, ("server", "cpu_us_per_request")),
    _Column("× nginx", ".2f", 9, ("times_floor",)),
    _Column("added p50", ".2f", 11, ("added", "latency_ms", "p50")),
    _Column("p90", ".2f", 8, ("added", "latency_ms", "p90")),
    _Column("p99 ms", ".2f", 9, ("added", "latency_ms", "p99")),
    _Column("first p50", ".2f", 11, ("added", "first_delta_ms", "p50")),
    _Column("p99 ms", ".2f", 9, ("added", "first_delta_ms", "p99")),
    _Column("CPU %", ".0f", 7, ("server", "cpu_percent")),
    _Column("waited %", ".1f", 10, ("server", "waited_percent")),
    _Column("idle MB", ".0f", 9, ("server", "rss_idle_mb")),
    _Column("MB", ".0f", 6, ("server", "rss_mb")),
    _Column("kB/stream", ".1f", 11, ("server", "kb_per_stream")),
)
_STORE: Final = (
    _Column("redis µs/delta", ".1f", 16, ("store", "cpu_us_per_delta")),
    _Column("CPU %", ".0f", 7, ("store", "cpu_percent")),
)


def compare(gateways: dict[str, Figures]) -> None:
    """Write into the figures of one scenario what each gateway adds to none, and times nginx."""
    direct, floor = gateways.get(DIRECT.name), cost(gateways.get(FLOOR))
    for name, figures in gateways.items():
        if name == DIRECT.name:
            continue
        keys = ("latency_ms", "first_delta_ms")
        figures["added"] = {key: _minus(figures.get(key), direct and direct.get(key)) for key in keys}
        own = cost(figures)
        figures["times_floor"] = own / floor if own and floor else None


def cost(figures: Figures | None) -> float | None:
    """Return a gateway's CPU per delta, or per request where the scenario is about those."""
    server = (figures or {}).get("server") or {}
    per_delta: float | None = server.get("cpu_us_per_delta")
    return server.get("cpu_us_per_request") if per_delta is None else per_delta


def _minus(more: Figures | None, less: Figures | None) -> Figures | None:
    return {key: more[key] - less[key] for key in more} if more and less else None


def table(results: dict[str, dict[str, Figures]]) -> str:
    """Lay the figures out. The line "direct" is the provider alone; the others add to it."""
    stored = any(own.get("store") for gateways in results.values() for own in gateways.values())
    columns = _COLUMNS + _STORE if stored else _COLUMNS
    lines = ["".join(["scenario".ljust(_NAME_WIDTH), "gateway".ljust(_GATEWAY_WIDTH)])]
    lines[0] += "".join(column.title.rjust(column.width) for column in columns)
    for name, gateways in results.items():
        for gateway, figures in gateways.items():
            cells = "".join(_cell(figures, column).rjust(column.width) for column in columns)
            note = f"  NOT HELD: {figures['failed']}" if figures["failed"] else ""
            lines.append(f"{name:{_NAME_WIDTH}}{gateway:{_GATEWAY_WIDTH}}{cells}{note}".rstrip())
    return "\n".join(lines)


def _cell(figures: Figures, column: _Column) -> str:
    value: Any = figures
    for key in column.path:
        value = None if value is None else value.get(key)
    return "" if value is None else format(value, column.form)
