"""One generation: its identity, its log's head, and how it ended."""

import asyncio
from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from tellstream.core.chat import ChatRequest
from tellstream.core.composer import Composer, Ending
from tellstream.core.errors import ChatError
from tellstream.core.usage import FinishReason, Usage
from tellstream.streams.target import Target

State: TypeAlias = Literal["running", "finished"]


class Attempt(msgspec.Struct, frozen=True):
    """One call of one target.

    Attributes:
        provider: the configured provider.
        model: the provider's name of the model.
        error: the code it failed with, or None.
        milliseconds: how long it took.
    """

    provider: str
    model: str
    error: str | None
    milliseconds: int


class StreamState(msgspec.Struct, frozen=True):
    """What the API tells of a stream; times in Unix seconds."""

    id: str
    state: State
    model: str
    provider: str
    created_at: int
    finished_at: int | None
    finish_reason: FinishReason | None
    usage: Usage | None
    estimated: bool
    attempts: tuple[Attempt, ...]


class Stream:
    """A stream as its producer's process knows it.

    Attributes:
        id: unguessable.
        tenant: whose stream it is.
        subject: who started it.
        head: sequence number of the last event in the log.
        log_bytes: size of the log.
        content: whether a content event is in the log.
        ending: how it ended, or None while it runs.
        usage: settled token counts, once it ended.
        estimated: whether ``usage`` is an estimate.
        stop: set once: the ending to use instead of what the provider would say.
        attempts: the calls so far.
        dialect: of the target called last.
        waited: seconds between calls, so far.
        attached: readers following now.
    """

    def __init__(
        self,
        stream_id: str,
        tenant: int,
        subject: str,
        chat: ChatRequest,
        targets: tuple[Target, ...],
        composer: Composer,
        created_at: float,
    ) -> None:
        self.id = stream_id
        self.tenant = tenant
        self.subject = subject
        self.chat = chat
        self.targets = targets
        self.composer = composer
        self.created_at = created_at
        self.finished_at: float | None = None
        self.head = 0
        self.log_bytes = 0
        self.content = False
        self.ending: Ending | None = None
        self.usage: Usage | None = None
        self.estimated = False
        self.stop: Ending | None = None
        self.attempts: list[Attempt] = []
        self.dialect = ""
        self.waited = 0.0
        self.attached = 0
        self.task: asyncio.Task[None] | None = None
        self.detach_timer: asyncio.TimerHandle | None = None
        self.on_finish: Callable[[Stream], None] = _nothing

    @property
    def state(self) -> State:
        """``finished`` once ``stream_end`` is in the log."""
        return "running" if self.ending is None else "finished"

    @property
    def early_failure(self) -> ChatError | None:
        """The error, if the stream failed before any content was in the log."""
        if self.ending is None or self.content:
            return None
        return self.ending.error

    def describe(self) -> StreamState:
        """Take a snapshot for the API."""
        return StreamState(
            id=self.id,
            state=self.state,
            model=self.composer.model,
            provider=self.composer.provider,
            created_at=int(self.created_at),
            finished_at=None if self.finished_at is None else int(self.finished_at),
            finish_reason=None if self.ending is None else self.ending.reason,
            usage=self.usage,
            estimated=self.estimated,
            attempts=tuple(self.attempts),
        )


def _nothing(_stream: Stream) -> None:
    """Do nothing."""
