"""Judges what a server looks like after a load: as before it?

Pure; an empty list is a pass. What may differ is in tables here, each with its bound.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from history.checker import rows_differ
from soak.gauges import Look, Sample
from soak.visits import Known
from tellstream.eventlog.memory import MAX_TOMBSTONES

MIB: Final = 1024 * 1024
SETTLING: Final = 8 * MIB
"""Bytes that memory may grow by without any leak: series of metrics that had not been met, compiled
statements, and what the allocator cannot give back because of them."""
TOMBSTONE: Final = 2 * 1024
"""Bytes that the log in memory keeps of a stream that is gone, while it has fewer than it may."""
SLOPE: Final = 200.0
"""Bytes per stream that memory may grow by in the second half of a long load. One leaked task, its
coroutine and its stream are twenty times that."""
LONG: Final = 4_000
"""Streams in the second half of a load, for a slope to mean anything."""
THREADS: Final = 8
"""More than before: those of the executor begin when they are first needed."""
DATABASES: Final = ("tellstream.db", "eventlog.db")
CONNECTIONS: Final = 10
"""To a database, each of which has its files open; pools open them when they are first needed."""
OURS: Final = ("tellstream.", "uvicorn.", "uvloop.", "asyncio.", "_asyncio.")
"""Whose objects must all be gone again."""
KEPT: Final = {
    "tellstream.eventlog.base.LogEntry": MAX_TOMBSTONES,
    "tellstream.eventlog.base.StreamKey": MAX_TOMBSTONES,
    "tellstream.streams.breaker.Breaker": 100,
}
"""Objects that outlive streams, and the most there may be: tombstones, and a circuit breaker for
each model that a tenant has used."""


def left_behind(before: Look, after: Look) -> list[str]:
    """Say what is there after a load that was not there before; memory apart."""
    problems = [
        f"{was} {name} before, {now} after"
        for name, was, now in (
            ("connections of clients", before.clients, after.clients),
            ("connections to the provider", before.upstream, after.upstream),
        )
        if now > was
    ]
    if after.threads > before.threads + THREADS:
        problems.append(f"{before.threads} threads before, {after.threads} after")
    files = {name: CONNECTIONS for name in after.descriptors if name.startswith(DATABASES)}
    opened = _grown(before.descriptors, after.descriptors, files)
    problems += [f"descriptors of {grown}" for grown in opened]
    problems += [f"tasks of {grown}" for grown in _grown(before.tasks, after.tasks)]
    ours = {name: n for name, n in after.objects.items() if name.startswith(OURS)}
    return problems + [f"objects of {grown}" for grown in _grown(before.objects, ours, KEPT)]


def _grown(
    before: Mapping[str, int], after: Mapping[str, int], most: Mapping[str, int] | None = None
) -> Iterator[str]:
    for name, count in sorted(after.items()):
        was = before.get(name, 0)
        if count > max(was, (most or {}).get(name, 0)):
            yield f"{name}: {was} before, {count} after"


def memory(before: Sample, after: Sample, during: Sequence[Sample], log: str) -> list[str]:
    """Say whether memory grew.

    Args:
        before: the load.
        after: the load.
        during: the load, in order.
        log: of streams; the one in memory keeps tombstones.
    """
    problems = []
    tombstones = 0
    if log == "memory":
        tombstones = max(0, min(after.ended, MAX_TOMBSTONES) - min(before.ended, MAX_TOMBSTONES))
    allowed = SETTLING + TOMBSTONE * tombstones
    grown = after.rss - before.rss
    if grown > allowed:
        streams = after.ended - before.ended
        problems.append(
            f"memory grew by {grown / MIB:.1f} MiB in {streams} streams; "
            f"{allowed / MIB:.1f} are accounted for"
        )
    half = during[len(during) // 2 :]
    if half and half[-1].ended - half[0].ended >= LONG and not tombstones:
        rise = slope(half)
        if rise > SLOPE:
            problems.append(f"memory grows by {rise:.0f} bytes with each stream")
    return problems


def slope(samples: Sequence[Sample]) -> float:
    """Return the bytes per stream of the line that fits best."""
    count = len(samples)
    streams = sum(sample.ended for sample in samples) / count
    rss = sum(sample.rss for sample in samples) / count
    spread = sum((sample.ended - streams) ** 2 for sample in samples)
    together = sum((sample.ended - streams) * (sample.rss - rss) for sample in samples)
    return together / spread if spread else 0.0


def account(
    known: Mapping[str, Known], reported: Mapping[int, Mapping[str, Sequence[Mapping[str, Any]]]]
) -> list[str]:
    """Compare the usage report with what streams said of themselves.

    Args:
        known: streams by id.
        reported: rows, by tenant and stream.
    """
    problems = []
    for name, stream in known.items():
        rows = reported[stream.tenant].get(name, ())
        found = rows_differ(rows, stream.usage, estimated=stream.estimated)
        problems += [f"{name}: {problem}" for problem in found]
    return problems
