"""What others may watch of the server's work: the contract of metrics and traces.

An ``Observer`` is told what has happened, a few times per stream and never per delta; a ``Tracer``
surrounds work that is under way. Both get facts of closed kinds only (names of configured things,
codes, counts, seconds), never what was asked or answered and never who asked. Their methods return
at once and do not raise. Nothing here measures time or sends anything.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Literal, NamedTuple, Protocol, Self, TypeAlias

import msgspec

from tellstream.core.usage import FinishReason, Usage

Queue: TypeAlias = Literal["admission", "head", "ledger_open", "settle", "retry"]
"""What a request or a stream waits for: ``admission`` by limits and budget, ``head`` while the
response head is held, ``ledger_open`` and ``settle`` of the usage row, ``retry`` between calls."""
Check: TypeAlias = Literal["requests", "admission", "extension"]
"""What a limiter is asked for: to let a request pass, to admit a stream (a place, and what is set
aside for it), to set more aside while it runs."""
Decision: TypeAlias = str
"""Of a limiter: ``allowed``, or the error code of its refusal."""
Outcome: TypeAlias = str
"""Of a provider attempt: ``ok``, ``abandoned`` (cancelled by us) or an error code."""

OK: Final = "ok"
ABANDONED: Final = "abandoned"
ALLOWED: Final = "allowed"


class StreamEnded(msgspec.Struct, frozen=True):
    """How a stream ended.

    Attributes:
        model: the name callers use.
        provider: the configured provider that answered, or was tried last.
        response_model: the model that the provider reported, else the target's.
        finish_reason: why it ended.
        error: the code, if that is ``Error``.
        seconds: from its start to its end.
        usage: as settled.
        estimated: whether ``usage`` is an estimate.
    """

    model: str
    provider: str
    response_model: str
    finish_reason: FinishReason
    error: str | None
    seconds: float
    usage: Usage
    estimated: bool


class Readings(NamedTuple):
    """What is true of a process at one moment.

    Attributes:
        streams_running: produced here.
        readers_attached: connections that follow a stream here.
        draining: whether new streams are refused.
        breakers: how many circuit breakers, by kind (``host``, ``credential``) and state
            (``closed``, ``open``, ``half-open``).
    """

    streams_running: int = 0
    readers_attached: int = 0
    draining: bool = False
    breakers: Mapping[tuple[str, str], int] = {}


ReadProcess: TypeAlias = Callable[[], Readings]


class Observer(Protocol):
    """Is told what happened; all times in seconds."""

    def stream_started(self, model: str) -> None:
        """Note that a stream of ``model``, the name callers use, began."""

    def first_token(self, provider: str, model: str, seconds: float) -> None:
        """Note that the first content event is in the log, so long after the stream's start."""

    def attempt_ended(self, provider: str, dialect: str, outcome: Outcome, seconds: float) -> None:
        """Note that one call of a provider ended."""

    def stream_ended(self, end: StreamEnded) -> None:
        """Note that a stream ended; once per stream, by whoever ended it."""

    def waited(self, queue: Queue, seconds: float) -> None:
        """Note how long something was waited for."""

    def log_appended(self, seconds: float) -> None:
        """Note how long an append took; told of samples, such as each stream's first and last."""

    def log_unavailable(self) -> None:
        """Note that the event log did not answer in time."""

    def limit_decided(self, check: Check, decision: Decision, seconds: float) -> None:
        """Note what a limiter decided, and how long it took."""

    def http_answered(
        self, method: str, route: str, status: int, seconds: float, body_bytes: int
    ) -> None:
        """Note that a request was answered to its end.

        Args:
            method: as received.
            route: the path of the route, the same for all its aliases; empty: there is none.
            status: 0 if the client left before the head.
            seconds: from the request's head to the end of the response.
            body_bytes: written to the client.
        """


class RequestSpan(Protocol):
    """A request under way."""

    def answered(self, route: str, status: int) -> None:
        """Say which route it took (empty: none) and the status (0: the client left before)."""


class StreamSpan(Protocol):
    """A stream under way."""

    def ended(self, end: StreamEnded) -> None:
        """Say how it ended."""


class Tracer(Protocol):
    """Surrounds work. What begins inside a block, also in tasks started there, is its child."""

    def request(
        self, method: str, headers: Iterable[tuple[bytes, bytes]]
    ) -> AbstractContextManager[RequestSpan]:
        """Surround the answer to a request; a ``traceparent`` among ``headers`` is its parent."""

    def stream(self, model: str) -> AbstractContextManager[StreamSpan]:
        """Surround the production of a stream."""

    def attempt(self, provider: str, model: str) -> AbstractContextManager[None]:
        """Surround one call of a provider; an exception that leaves the block is its failure."""

    async def close(self) -> None:
        """Send what is left, for a bounded time."""


class NullObserver:
    """Observes nothing."""

    def stream_started(self, model: str) -> None:
        """Do nothing."""

    def first_token(self, provider: str, model: str, seconds: float) -> None:
        """Do nothing."""

    def attempt_ended(self, provider: str, dialect: str, outcome: Outcome, seconds: float) -> None:
        """Do nothing."""

    def stream_ended(self, end: StreamEnded) -> None:
        """Do nothing."""

    def waited(self, queue: Queue, seconds: float) -> None:
        """Do nothing."""

    def log_appended(self, seconds: float) -> None:
        """Do nothing."""

    def log_unavailable(self) -> None:
        """Do nothing."""

    def limit_decided(self, check: Check, decision: Decision, seconds: float) -> None:
        """Do nothing."""

    def http_answered(
        self, method: str, route: str, status: int, seconds: float, body_bytes: int
    ) -> None:
        """Do nothing."""


class _NullSpan:
    """Surrounds anything, and keeps nothing."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def answered(self, route: str, status: int) -> None:
        """Do nothing."""

    def ended(self, end: StreamEnded) -> None:
        """Do nothing."""


class _NullAttempt:
    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


_NULL_SPAN: Final = _NullSpan()
_NULL_ATTEMPT: Final = _NullAttempt()


class NullTracer:
    """Traces nothing, at the cost of a call."""

    def request(self, _method: str, _headers: Iterable[tuple[bytes, bytes]]) -> _NullSpan:
        """Surround nothing."""
        return _NULL_SPAN

    def stream(self, _model: str) -> _NullSpan:
        """Surround nothing."""
        return _NULL_SPAN

    def attempt(self, _provider: str, _model: str) -> _NullAttempt:
        """Surround nothing."""
        return _NULL_ATTEMPT

    async def close(self) -> None:
        """Do nothing."""
