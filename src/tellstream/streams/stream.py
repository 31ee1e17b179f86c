"""One generation: its identity, its log's head, and how it ended."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

import structlog

from tellstream.core.chat import ChatRequest
from tellstream.core.composer import Composer, Ending
from tellstream.core.errors import ChatError
from tellstream.core.observer import StreamEnded
from tellstream.core.prices import Price
from tellstream.core.principals import Ctx
from tellstream.core.usage import Usage
from tellstream.eventlog.base import LogWriter, StreamKey
from tellstream.limits.base import Grant
from tellstream.streams.backlog import Debt
from tellstream.streams.metering import prompt_tokens
from tellstream.streams.record import Attempt, State, StreamRecord, StreamState, may_know
from tellstream.streams.target import Target

log = structlog.get_logger("tellstream.stream")


class Stream:
    """A stream as its producer's process knows it.

    Attributes:
        key: its tenant and its unguessable id.
        ctx: who started it.
        model: what the caller asked for.
        writer: the right to append to its log.
        unconfirmed: frames that are composed but not known to be in the log.
        log_bytes: size of all frames.
        content: whether a content event was composed.
        first_token_ms: milliseconds from its start until the first one was in the log, or None.
        ending: how it ends, once that is decided.
        finished: whether that is in the log.
        usage: settled token counts, once it ended.
        estimated: whether ``usage`` is an estimate.
        stop: set once: the ending to use instead of what the provider would say.
        attempts: the calls so far.
        dialect: of the target called last.
        waited: seconds between calls, so far.
        attached: readers following now.
        prompt_tokens: estimated.
        price: of the model, or None.
        prompt_read: whether the provider called last may have read the prompt.
        refused: whether no usage row could be opened, so that no provider was called.
        debt: what is to be settled once the end is in the log, as the ledger was away.
        reading_on: whether it was cancelled, and its answer is read on for its usage.
        lost: whether another worker has taken it over, and ends and settles it.
    """

    def __init__(
        self,
        key: StreamKey,
        ctx: Ctx,
        model: str,
        chat: ChatRequest,
        targets: tuple[Target, ...],
        composer: Composer,
        created_at: float,
    ) -> None:
        self.key = key
        self.ctx = ctx
        self.model = model
        self.chat = chat
        self.targets = targets
        self.composer = composer
        self.created_at = created_at
        self.finished_at: float | None = None
        self.unconfirmed: list[bytes] = []
        self.log_bytes = 0
        self.content = False
        self.first_token_ms: int | None = None
        self.ending: Ending | None = None
        self.finished = False
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
        self.prompt_tokens = prompt_tokens(chat)
        self.price: Price | None = None
        self.lost = False
        self.prompt_read = False
        self.refused = False
        self.debt: Debt | None = None
        self.reading_on = False
        self._grant: Grant | None = None
        self._writer: LogWriter | None = None

    @property
    def id(self) -> str:
        """Unguessable."""
        return self.key.stream_id

    @property
    def grant(self) -> Grant:
        """Its place, its lease, and what is set aside for it."""
        assert self._grant is not None, "it was not admitted"
        return self._grant

    @grant.setter
    def grant(self, grant: Grant) -> None:
        self._grant = grant

    @property
    def writer(self) -> LogWriter:
        """The right to append to its log."""
        assert self._writer is not None, "the log is not open"
        return self._writer

    @writer.setter
    def writer(self, writer: LogWriter) -> None:
        self._writer = writer

    @property
    def early_failure(self) -> ChatError | None:
        """The error, if the stream failed before any content was in the log."""
        if self.ending is None or self.content:
            return None
        return self.ending.error

    @property
    def retryable(self) -> bool:
        """Whether the same request may be tried again under the same idempotency key."""
        error = self.early_failure
        return error is not None and error.status >= HTTPStatus.INTERNAL_SERVER_ERROR

    def describe(self) -> StreamState:
        """Take a snapshot for the API."""
        return self._describe("finished" if self.finished else "running")

    def may(self, ctx: Ctx) -> bool:
        """Whether the caller may know of the stream."""
        return may_know(ctx, self.key.tenant, self.ctx.subject)

    def record(self, *, end: bool = False) -> bytes:
        """What other workers shall know; ``end``: as of the append that ends the stream."""
        state = self._describe("finished" if end else "running")
        record = StreamRecord(
            self.key.tenant,
            self.ctx.subject,
            self.ctx.client,
            self.model,
            state,
            self.chat.metadata,
            self.prompt_tokens,
            self.price,
            reading_on=self.reading_on and not end,
        )
        return record.encode()

    def summary(self) -> StreamEnded:
        """Say how it ended, for metrics and traces."""
        assert self.ending is not None
        return StreamEnded(
            model=self.model,
            provider=self.composer.provider,
            response_model=self.composer.model,
            finish_reason=self.ending.reason,
            error=self.ending.error.code if self.ending.error else None,
            seconds=(self.finished_at or self.created_at) - self.created_at,
            usage=self.usage or Usage(),
            estimated=self.estimated,
        )

    def log_end(self) -> None:
        """Tell the log of the process how it ended."""
        ending, usage = self.ending, self.usage or Usage()
        assert ending is not None
        log.info(
            "stream.end",
            stream=self.id,
            tenant=self.key.tenant,
            provider=self.composer.provider,
            model=self.composer.model,
            finish_reason=ending.reason.value,
            error=ending.error.code if ending.error else None,
            reason=ending.error.reason if ending.error else None,
            events=self.writer.head,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            estimated=self.estimated,
            seconds=round((self.finished_at or self.created_at) - self.created_at, 3),
        )

    def _describe(self, state: State) -> StreamState:
        ended = state == "finished"
        return StreamState(
            id=self.id,
            state=state,
            model=self.composer.model,
            provider=self.composer.provider,
            created_at=int(self.created_at),
            finished_at=int(self.finished_at) if ended and self.finished_at is not None else None,
            finish_reason=self.ending.reason if ended and self.ending is not None else None,
            usage=self.usage if ended else None,
            estimated=self.estimated,
            attempts=tuple(self.attempts),
        )


def _nothing(_stream: Stream) -> None:
    """Do nothing."""
