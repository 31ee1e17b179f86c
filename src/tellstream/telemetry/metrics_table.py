"""All metrics in one table, and the closed sets that their labels draw from.

Invariant: every label of every metric has a closed set, and none of them can name a caller, a
tenant, a stream or anything that was said. A value outside its set is shown as ``other``, so no
provider and no caller can make series.
"""

from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from tellstream.core.errors import CODES
from tellstream.core.observer import ABANDONED, ALLOWED, OK, Check, Queue
from tellstream.core.usage import FinishReason

OTHER: Final = "other"
NONE: Final = "none"
MAX_LABEL_VALUES: Final = 200
"""Names of one kind (models, providers, routes) that are told apart; the rest are ``other``."""

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

_FAST: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
"""Seconds: for what should not be noticed."""
_SLOW: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Seconds: for what a model does."""


class Metric(NamedTuple):
    """One metric.

    Attributes:
        name: without the ``_total`` that the name of a counter ends with when it is scraped.
        kind: of metric.
        labels: keys of ``LABELS``.
        help: one line.
        buckets: upper bounds, of a histogram.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()

    @property
    def scraped(self) -> str:
        """The name under which queries find it."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


METRICS: Final = (
    Metric("tellstream_build_info", "gauge", ("version", "python"), "1; the labels say what runs."),
    Metric(
        "tellstream_draining", "gauge", (), "1 while new streams are refused before a stop, else 0."
    ),
    # Streams.
    Metric("tellstream_streams_started", "counter", ("model",), "Streams that began."),
    Metric(
        "tellstream_streams_ended",
        "counter",
        ("model", "provider", "finish_reason", "error"),
        "Streams that ended, by how.",
    ),
    Metric("tellstream_streams_running", "gauge", (), "Streams produced by this process now."),
    Metric(
        "tellstream_stream_first_token_seconds",
        "histogram",
        ("model", "provider"),
        "From the start of a stream to its first content event in the log.",
        _SLOW,
    ),
    Metric(
        "tellstream_stream_seconds",
        "histogram",
        ("provider", "finish_reason"),
        "From the start of a stream to its end.",
        _SLOW,
    ),
    Metric(
        "tellstream_tokens",
        "counter",
        ("model", "provider", "token"),
        "Tokens as settled: prompt and completion are whole, the other kinds say how many of them.",
    ),
    Metric(
        "tellstream_streams_estimated",
        "counter",
        ("model", "provider"),
        "Streams whose tokens are an estimate, because the provider did not count.",
    ),
    Metric(
        "tellstream_wait_seconds",
        "histogram",
        ("queue",),
        "Waiting, by what for.",
        (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    ),
    # Providers.
    Metric(
        "tellstream_provider_attempts",
        "counter",
        ("provider", "dialect", "outcome"),
        "Calls of providers: ok, abandoned (cancelled by us), or the code they failed with.",
    ),
    Metric(
        "tellstream_provider_attempt_seconds",
        "histogram",
        ("provider",),
        "Length of these calls, to the end of the answer.",
        _SLOW,
    ),
    Metric(
        "tellstream_breakers",
        "gauge",
        ("breaker", "state"),
        "Circuit breakers, by kind and state; closed ones only while they remember calls.",
    ),
    # The event log and the limits.
    Metric(
        "tellstream_eventlog_append_seconds",
        "histogram",
        (),
        "Length of an append, sampled: the first and the last one of each stream.",
        _FAST,
    ),
    Metric(
        "tellstream_eventlog_unavailable",
        "counter",
        (),
        "Operations that the event log did not answer in time.",
    ),
    Metric(
        "tellstream_limit_decisions",
        "counter",
        ("check", "decision"),
        "What the limits of tenants decided: allowed, or the code of the refusal.",
    ),
    Metric(
        "tellstream_limit_seconds", "histogram", ("check",), "Length of such a decision.", _FAST
    ),
    # HTTP.
    Metric(
        "tellstream_http_requests",
        "counter",
        ("method", "route", "status"),
        "Answered requests; status none: the client left before the head.",
    ),
    Metric(
        "tellstream_http_request_seconds",
        "histogram",
        ("route",),
        "From a request's head to the end of its response, which a stream makes long.",
        (0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0),
    ),
    Metric("tellstream_http_response_bytes", "counter", ("route",), "Bytes of response bodies."),
    Metric("tellstream_readers_attached", "gauge", (), "Connections that follow a stream now."),
)

FIXED: Final[Mapping[str, Collection[str]]] = {
    "finish_reason": frozenset(FinishReason),
    "error": frozenset({*CODES, NONE}),
    "outcome": frozenset({*CODES, OK, ABANDONED}),
    "token": ("prompt", "completion", "cache_read", "cache_write", "thought"),
    "queue": get_args(Queue),
    "check": get_args(Check),
    "decision": frozenset({*CODES, ALLOWED}),
    "breaker": ("host", "credential"),
    "state": ("closed", "half-open", "open"),
    "method": ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
    "status": frozenset({*(str(status.value) for status in HTTPStatus), NONE}),
}
"""Sets that the code knows."""

CONFIGURED: Final = ("version", "python", "route", "dialect", "provider", "model")
"""Sets that the operator's configuration, or this build, decides."""

LABELS: Final = (*FIXED, *CONFIGURED)


class ClosedSets:
    """Decides what a label may say.

    Args:
        configured: the values of the labels in ``CONFIGURED``.

    Raises:
        KeyError: one of these labels is missing, or there is one more (a bug).
    """

    def __init__(self, configured: Mapping[str, Collection[str]]) -> None:
        if set(configured) != set(CONFIGURED):
            raise KeyError(*(set(configured) ^ set(CONFIGURED)))
        self._known = {name: frozenset(values) for name, values in FIXED.items()}
        for name in CONFIGURED:
            self._known[name] = frozenset()
            self.allow(name, configured[name])

    def allow(self, label: str, values: Collection[str]) -> None:
        """Let a label say these values too, up to ``MAX_LABEL_VALUES`` in all."""
        new = [value for value in dict.fromkeys(values) if value not in self._known[label]]
        room = MAX_LABEL_VALUES - len(self._known[label])
        self._known[label] |= frozenset(new[: max(room, 0)])

    def close(self, label: str, value: str) -> str:
        """Return the value if its set holds it, else ``other``."""
        return value if value in self._known[label] else OTHER
