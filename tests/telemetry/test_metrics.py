"""The metrics: what they count, and that nobody from outside can make series."""

import platform
import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.canaries import leaks
from tellstream.core.errors import CODES
from tellstream.core.observer import NullObserver, Observer, Readings, StreamEnded
from tellstream.core.usage import FinishReason, Usage
from tellstream.telemetry.metrics import MAX_SERIES, PrometheusObserver
from tellstream.telemetry.metrics_table import (
    FIXED,
    LABELS,
    MAX_LABEL_VALUES,
    METRICS,
    ClosedSets,
)

CANARY = "canary-canary-canary-1"
FORBIDDEN = ("tenant", "subject", "user", "client", "stream", "prompt", "id", "path", "ip", "key")


def sets(**more: Any) -> ClosedSets:
    configured = {
        "version": ["1.2.3"],
        "python": ["3.11"],
        "route": ["/v1/chat/stream", "/v1/models"],
        "dialect": ["openai-chat"],
        "provider": ["xai", "local"],
        "model": ["grok", "mini"],
    }
    return ClosedSets(configured | more)


def observer(readings: Readings | None = None, **more: Any) -> PrometheusObserver:
    made = PrometheusObserver(sets(**more), "1.2.3")
    if readings is not None:
        made.watch(lambda: readings)
    return made


async def samples(watched: PrometheusObserver) -> dict[tuple[str, ...], float]:
    """All samples, by name and label values in the order of their names."""
    text = (await watched.exposition()).decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def ended(**changes: Any) -> StreamEnded:
    known: dict[str, Any] = {
        "model": "grok",
        "provider": "xai",
        "response_model": "grok-4",
        "finish_reason": FinishReason.STOP,
        "error": None,
        "seconds": 2.0,
        "usage": Usage(100, 20, None, 60, 5),
        "estimated": False,
    }
    return StreamEnded(**known | changes)


def tell_everything(watched: Observer, name: str = "xai", model: str = "grok") -> None:
    """Call every method of an observer."""
    watched.stream_started(model)
    watched.first_token(name, model, 0.3)
    watched.attempt_ended(name, "openai-chat", "ok", 1.0)
    watched.attempt_ended(name, "openai-chat", "provider_timeout", 1.0)
    watched.stream_ended(ended(provider=name, model=model, estimated=True))
    watched.waited("head", 0.1)
    watched.log_appended(0.001)
    watched.log_unavailable()
    watched.limit_decided("requests", "rate_limit_exceeded", 0.0001)
    watched.http_answered("POST", "/v1/chat/stream", 200, 2.0, 1000)
    watched.http_answered("GET", "", 404, 0.001, 60)
    watched.http_answered("GET", "/v1/models", 0, 0.001, 0)


class TestTable:
    def test_every_label_has_a_closed_set(self) -> None:
        assert {label for metric in METRICS for label in metric.labels} == set(LABELS)

    @pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
    def test_no_label_can_name_a_caller(self, metric: Any) -> None:
        assert not set(metric.labels) & set(FORBIDDEN)

    @pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
    def test_names_follow_the_conventions(self, metric: Any) -> None:
        assert re.fullmatch("tellstream_[a-z_]+", metric.name)
        assert (metric.kind == "histogram") == bool(metric.buckets)
        assert list(metric.buckets) == sorted(set(metric.buckets))
        assert metric.name.endswith("_seconds") == (metric.kind == "histogram")
        assert metric.help.endswith(".")

    def test_names_are_unique(self) -> None:
        assert len({metric.name for metric in METRICS}) == len(METRICS)

    def test_all_error_codes_and_endings_are_known(self) -> None:
        assert set(CODES) <= set(FIXED["error"])
        assert set(CODES) <= set(FIXED["outcome"])
        assert set(FIXED["finish_reason"]) == {reason.value for reason in FinishReason}

    def test_a_configured_set_that_is_missing_is_a_bug(self) -> None:
        with pytest.raises(KeyError):
            ClosedSets({"model": []})


class TestCounting:
    async def test_everything_that_is_told_is_shown_and_parses(self) -> None:
        watched = observer()
        tell_everything(watched)
        text = (await watched.exposition()).decode()
        families = {family.name for family in text_string_to_metric_families(text)}
        assert {metric.name for metric in METRICS} <= families
        assert {"process_cpu_seconds", "process_open_fds", "python_gc_collections"} <= families

    async def test_all_metrics_of_the_table_are_used(self) -> None:
        watched = observer()
        tell_everything(watched)
        shown = {key[0].removesuffix("_count") for key in await samples(watched)}
        assert {metric.scraped for metric in METRICS} <= shown

    async def test_an_ended_stream_is_counted_with_its_tokens(self) -> None:
        watched = observer()
        watched.stream_ended(ended())
        watched.stream_ended(ended(finish_reason=FinishReason.ERROR, error="provider_timeout"))
        told = await samples(watched)
        # Label values in the order of the label names.
        assert told["tellstream_streams_ended_total", "none", "Stop", "grok", "xai"] == 1
        assert (
            told["tellstream_streams_ended_total", "provider_timeout", "Error", "grok", "xai"] == 1
        )
        assert told["tellstream_tokens_total", "grok", "xai", "prompt"] == 200
        assert told["tellstream_tokens_total", "grok", "xai", "completion"] == 40
        assert told["tellstream_tokens_total", "grok", "xai", "cache_read"] == 120
        assert ("tellstream_tokens_total", "grok", "xai", "cache_write") not in told
        assert told["tellstream_stream_seconds_sum", "Stop", "xai"] == 2.0

    async def test_what_is_true_now_is_read_at_each_scrape(self) -> None:
        breakers = {("host", "open"): 2, ("credential", "half-open"): 1}
        told = await samples(observer(Readings(3, 5, True, breakers)))
        assert told["tellstream_streams_running",] == 3
        assert told["tellstream_readers_attached",] == 5
        assert told["tellstream_draining",] == 1
        assert told["tellstream_breakers", "host", "open"] == 2
        assert told["tellstream_breakers", "credential", "half-open"] == 1
        assert told["tellstream_breakers", "host", "closed"] == 0

    async def test_the_build_is_named(self) -> None:
        told = await samples(observer(python=[platform.python_version()]))
        assert told["tellstream_build_info", platform.python_version(), "1.2.3"] == 1

    def test_two_observers_do_not_share_counts(self) -> None:
        tell_everything(observer())
        tell_everything(observer())  # the library's own registry would refuse the second

    def test_nothing_can_be_observed_by_nobody(self) -> None:
        tell_everything(NullObserver())


class TestClosedSets:
    async def test_values_from_outside_become_other(self) -> None:
        watched = observer()
        tell_everything(watched, name=CANARY, model=CANARY)
        watched.attempt_ended("xai", CANARY, CANARY, 1.0)
        watched.stream_ended(ended(error=CANARY, response_model=CANARY))
        watched.http_answered(CANARY, f"/v1/streams/{CANARY}", 799, 1.0, 1)
        unchecked: Any = watched
        unchecked.limit_decided(CANARY, CANARY, 1.0)
        unchecked.waited(CANARY, 1.0)
        text = await watched.exposition()
        assert leaks({"value": CANARY}, {"metrics": text}) == []
        told = await samples(watched)
        assert told["tellstream_streams_started_total", "other"] == 1
        assert told["tellstream_provider_attempts_total", "other", "other", "xai"] == 1
        assert told["tellstream_http_requests_total", "other", "other", "other"] == 1

    async def test_many_values_from_outside_make_one_series(self) -> None:
        watched = observer()
        for n in range(1000):
            watched.stream_started(f"{CANARY}-{n}")
        started = [key for key in await samples(watched) if "streams_started" in key[0]]
        assert started == [("tellstream_streams_started_total", "other")]

    async def test_what_is_offered_later_is_named_too(self) -> None:
        closed = sets()
        watched = PrometheusObserver(closed, "1.2.3")
        closed.allow("model", ["stored"])
        watched.stream_started("stored")
        assert ("tellstream_streams_started_total", "stored") in await samples(watched)

    def test_a_set_has_a_size(self) -> None:
        closed = sets(model=[f"m{n}" for n in range(MAX_LABEL_VALUES + 1)])
        assert closed.close("model", f"m{MAX_LABEL_VALUES - 1}") == f"m{MAX_LABEL_VALUES - 1}"
        assert closed.close("model", f"m{MAX_LABEL_VALUES}") == "other"
        closed.allow("model", ["late"])
        assert closed.close("model", "late") == "other"

    async def test_a_metric_has_a_size(self) -> None:
        models = [f"m{n}" for n in range(MAX_LABEL_VALUES)]
        watched = observer(model=models, provider=[f"p{n}" for n in range(20)])
        assert len(models) * 20 == 2 * MAX_SERIES
        for model in models:
            for n in range(20):
                watched._child("tellstream_streams_estimated", model, f"p{n}").inc()
        told = await samples(watched)
        counts = {key: n for key, n in told.items() if "streams_estimated" in key[0]}
        assert len(counts) == MAX_SERIES + 1
        assert counts["tellstream_streams_estimated_total", "other", "other"] == MAX_SERIES
