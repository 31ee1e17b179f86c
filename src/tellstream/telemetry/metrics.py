"""Metrics for Prometheus: the observer that counts.

A registry of its own, so that a process may have several. Counting takes some microseconds and
happens a few times per stream. What is true now (``Readings``) is read when it is asked for.
"""

import asyncio
import platform
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from tellstream.core.observer import (
    Check,
    Decision,
    Outcome,
    Queue,
    Readings,
    ReadProcess,
    StreamEnded,
)
from tellstream.core.usage import Usage
from tellstream.telemetry.metrics_table import METRICS, NONE, OTHER, ClosedSets, Metric

MAX_SERIES: Final = 2000
"""Combinations of labels of one metric; further ones are counted together, as ``other``."""

_MAKERS: Final = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}


class PrometheusObserver:
    """Counts what it is told.

    Args:
        sets: what labels may say.
        version: of this build.
    """

    def __init__(self, sets: ClosedSets, version: str) -> None:
        # Would be a further series for each one, which nobody queries. (It has no types.)
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._sets = sets
        self._read: ReadProcess = Readings
        self._registry = CollectorRegistry(auto_describe=False)
        self._families = {metric.name: _Family(metric, self._registry) for metric in METRICS}
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._child("tellstream_build_info", version, platform.python_version()).set(1)

    def watch(self, read: ReadProcess) -> None:
        """Ask ``read`` for the state of the process, in the event loop and at each scrape."""
        self._read = read

    def stream_started(self, model: str) -> None:
        """Count it."""
        self._child("tellstream_streams_started", model).inc()

    def first_token(self, provider: str, model: str, seconds: float) -> None:
        """Count it."""
        self._child("tellstream_stream_first_token_seconds", model, provider).observe(seconds)

    def attempt_ended(self, provider: str, dialect: str, outcome: Outcome, seconds: float) -> None:
        """Count it."""
        self._child("tellstream_provider_attempts", provider, dialect, outcome).inc()
        self._child("tellstream_provider_attempt_seconds", provider).observe(seconds)

    def stream_ended(self, end: StreamEnded) -> None:
        """Count it, and its tokens."""
        reason = end.finish_reason.value
        error = end.error or NONE
        self._child("tellstream_streams_ended", end.model, end.provider, reason, error).inc()
        self._child("tellstream_stream_seconds", end.provider, reason).observe(end.seconds)
        if end.estimated:
            self._child("tellstream_streams_estimated", end.model, end.provider).inc()
        for kind, count in _counts(end.usage):
            if count:
                self._child("tellstream_tokens", end.model, end.provider, kind).inc(count)

    def waited(self, queue: Queue, seconds: float) -> None:
        """Count it."""
        self._child("tellstream_wait_seconds", queue).observe(seconds)

    def log_appended(self, seconds: float) -> None:
        """Count it."""
        self._child("tellstream_eventlog_append_seconds").observe(seconds)

    def log_unavailable(self) -> None:
        """Count it."""
        self._child("tellstream_eventlog_unavailable").inc()

    def limit_decided(self, check: Check, decision: Decision, seconds: float) -> None:
        """Count it."""
        self._child("tellstream_limit_decisions", check, decision).inc()
        self._child("tellstream_limit_seconds", check).observe(seconds)

    def http_answered(
        self, method: str, route: str, status: int, seconds: float, body_bytes: int
    ) -> None:
        """Count it."""
        shown = str(status) if status else NONE
        self._child("tellstream_http_requests", method, route, shown).inc()
        self._child("tellstream_http_request_seconds", route).observe(seconds)
        if body_bytes:
            self._child("tellstream_http_response_bytes", route).inc(body_bytes)

    async def exposition(self) -> bytes:
        """Write all metrics in Prometheus' text format; the event loop stays free meanwhile."""
        now = self._read()
        self._child("tellstream_draining").set(now.draining)
        self._child("tellstream_streams_running").set(now.streams_running)
        self._child("tellstream_readers_attached").set(now.readers_attached)
        for state in ("closed", "half-open", "open"):
            for kind in ("host", "credential"):
                count = now.breakers.get((kind, state), 0)
                self._child("tellstream_breakers", kind, state).set(count)
        return await asyncio.to_thread(generate_latest, self._registry)

    def _child(self, name: str, *values: str) -> Any:
        """Return the series of a metric; the values are closed here, and nowhere else."""
        family = self._families[name]
        pairs = zip(family.metric.labels, values, strict=True)
        return family.child(tuple(self._sets.close(label, value) for label, value in pairs))


class _Family:
    """One metric with all its series."""

    def __init__(self, metric: Metric, registry: CollectorRegistry) -> None:
        options: dict[str, Any] = {"buckets": metric.buckets} if metric.buckets else {}
        maker: Any = _MAKERS[metric.kind]
        self.metric = metric
        self._made = maker(metric.name, metric.help, metric.labels, registry=registry, **options)
        self._series: dict[tuple[str, ...], Any] = {}

    def child(self, values: tuple[str, ...]) -> Any:
        """Return one series, made at its first use."""
        series = self._series.get(values)
        if series is None:
            if len(self._series) >= MAX_SERIES:
                values = (OTHER,) * len(values)
            series = self._made.labels(*values) if values else self._made
            self._series[values] = series
        return series


def _counts(usage: Usage) -> tuple[tuple[str, int | None], ...]:
    return (
        ("prompt", usage.prompt_tokens),
        ("completion", usage.completion_tokens),
        ("cache_read", usage.cache_read_input_tokens),
        ("cache_write", usage.cache_write_input_tokens),
        ("thought", usage.thought_tokens),
    )
