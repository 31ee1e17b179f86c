"""What a run observed: what each reader got, and what the servers and the provider say in the end.

Only facts, no judgement; that is the checker's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple


class How(StrEnum):
    """How a response ended."""

    CLEAN = "clean"  # the whole body, with its proper end
    CUT = "cut"  # by the reader
    BROKEN = "broken"  # by the server, or by whoever killed it
    STATUS = "status"  # another status than 200
    HUNG = "hung"  # still open long after the stream's end


class View(NamedTuple):
    """One response, as one reader saw it.

    Attributes:
        reader: who.
        asked: the position it asked from.
        body: everything it got.
        how: how the response ended.
        status: of the response.
        code: of the error, if the response was one.
        start: the response to the request that starts the stream, not to one that resumes it.
    """

    reader: str
    asked: int
    body: bytes
    how: How
    status: int = 200
    code: str = ""
    start: bool = False


class Cancelled(NamedTuple):
    """A cancel that was acknowledged.

    Attributes:
        at: when, in Unix seconds.
        state: the stream's, as the acknowledgement told it.
    """

    at: float
    state: Mapping[str, Any]


class Call(NamedTuple):
    """One call at the provider.

    Attributes:
        state: ``running``, ``complete``, ``client_closed`` or ``faulted``.
        prompt_tokens: as the provider counted.
        completion_tokens: the same, of what it has written.
    """

    state: str
    prompt_tokens: int
    completion_tokens: int


@dataclass
class StreamFacts:
    """One stream.

    Attributes:
        stream_id: its id.
        log: the whole of it, as read at the very end.
        state: what ``GET /v1/streams/{id}`` says at the very end.
        rows: what the usage report says of it; None: it is not asked, or later.
        views: what readers saw.
        cancels: those that were acknowledged.
        text: what the model says if nobody stops it; None: not known.
        unended: readers that never came to the end.
    """

    stream_id: str
    log: bytes = b""
    state: Mapping[str, Any] | None = None
    rows: Sequence[Mapping[str, Any]] | None = ()
    views: list[View] = field(default_factory=list)
    cancels: list[Cancelled] = field(default_factory=list)
    text: str | None = None
    unended: list[str] = field(default_factory=list)


@dataclass
class RequestFacts:
    """One thing that was asked: once, or with an Idempotency-Key any number of times.

    Attributes:
        name: for messages.
        key: the Idempotency-Key, or None.
        streams: the stream of each answer that named one.
        calls: at the provider.
        most_calls: that one stream may make: one, and the configured retries.
        refusals: answers that named no stream.
    """

    name: str
    key: str | None
    streams: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    most_calls: int = 1
    refusals: list[View] = field(default_factory=list)


@dataclass
class History:
    """A run.

    Attributes:
        streams: all of them, also those that no answer named (the usage report did).
        requests: what was asked.
        calm: no server was disturbed, so nothing but readers' own cuts may go wrong.
        workers_kept: no worker was killed, stopped or frozen, whatever happened to Redis.
    """

    streams: list[StreamFacts] = field(default_factory=list)
    requests: list[RequestFacts] = field(default_factory=list)
    calm: bool = False
    workers_kept: bool = False
