"""The streams of this process, and the way to those of others: start, follow, cancel, drain.

A stream lives in its producer's task. Connections only attach to it: when the last one leaves, the
stream goes on or is cancelled, as configured. What is produced elsewhere is known by its log.
"""

import asyncio
from collections.abc import Callable, Container, Coroutine
from typing import Final

import structlog

from tellstream.core.chat import ChatRequest, Replay
from tellstream.core.composer import CANCELLED, Composer, Ending
from tellstream.core.errors import ChatError, RequestError, ServerError
from tellstream.core.ids import EventIds, stream_id
from tellstream.core.observer import Observer, Readings, Tracer
from tellstream.core.principals import Ctx
from tellstream.eventlog.base import (
    EventLog,
    FencedError,
    Idempotency,
    LogUnavailableError,
    StreamKey,
    Taken,
)
from tellstream.limits.base import Admission, Need, Terms
from tellstream.providers.base import Caller
from tellstream.streams.attachment import Attachment
from tellstream.streams.continuations import Continuations
from tellstream.streams.drain import DrainNotice
from tellstream.streams.entropy import ENTROPY
from tellstream.streams.idempotency import Turnstile
from tellstream.streams.meter import Meter
from tellstream.streams.policy import Past, StreamPolicy
from tellstream.streams.produce import Producer
from tellstream.streams.record import StreamRecord, StreamState
from tellstream.streams.seal import Sealer
from tellstream.streams.stream import Stream
from tellstream.streams.target import Target

log = structlog.get_logger("tellstream.stream")

CANCEL_SECONDS: Final = 1.0
"""For the producer to end a cancelled stream; a silent one in another process is fenced then."""
CANCEL_LOOK_SECONDS: Final = 0.1
"""Between two looks whether it did."""
FOLLOWED_SECONDS: Final = 10.0
"""A reader in another process counts as attached for so long after it was last heard of."""
SEAL_SECONDS: Final = 5.0
"""What ending the remaining streams may take: appending a few events each."""


class StreamService:
    """Starts streams, and knows those that run here.

    Args:
        event_log: where events go.
        upstream: the shared HTTP client.
        admission: says who may start a stream.
        meter: usage is accounted here.
        sealer: ends streams of other processes.
        past: knows streams whose log is gone.
        policy: how streams behave.
        clock: Unix seconds.
        observer: is told what happens.
        tracer: surrounds the production of each stream.

    Attributes:
        drain_notice: given when this process is about to stop.
    """

    def __init__(
        self,
        event_log: EventLog,
        upstream: Caller,
        admission: Admission,
        meter: Meter,
        sealer: Sealer,
        past: Past,
        policy: StreamPolicy,
        clock: Callable[[], float],
        *,
        observer: Observer,
        tracer: Tracer,
    ) -> None:
        self._observer = observer
        self._log = event_log
        self._admission = admission
        self._sealer = sealer
        self._past = past
        self._policy = policy
        self._clock = clock
        self._producer = Producer(
            upstream, clock, policy.total, policy.retry, meter, observer, tracer
        )
        self._continuations = Continuations(clock)
        self._running: dict[StreamKey, Stream] = {}
        self._turnstile = Turnstile()
        self._errands: set[asyncio.Task[None]] = set()
        self.drain_notice = DrainNotice()

    @property
    def running(self) -> int:
        """How many streams run in this process."""
        return len(self._running)

    def readings(self) -> Readings:
        """Tell what is true now."""
        attached = sum(stream.attached for stream in self._running.values())
        return Readings(self.running, attached, self.draining, self._producer.breakers.states())

    @property
    def draining(self) -> bool:
        """Whether new streams are refused."""
        return self.drain_notice.given

    async def start(
        self,
        ctx: Ctx,
        model: str,
        chat: ChatRequest,
        targets: tuple[Target, ...],
        terms: Terms,
        *,
        idempotency: Idempotency | None = None,
        after: int = 0,
    ) -> Attachment:
        """Start a stream, or attach to the one that the same request has started already.

        Its producer runs on its own from here.

        Args:
            ctx: who asks.
            model: the name that the caller or the tenant chose.
            chat: what is asked.
            targets: tried in order, at least one.
            terms: whose limits count, and what the model costs.
            idempotency: the caller's name for this request, or None.
            after: sequence number of the last event that the caller has, of a started stream.

        Raises:
            RequestError: ``concurrency_limit_exceeded``; ``quota_exceeded``; ``validation_error``,
                the idempotency key stands for another body.
            ServerError: ``service_unavailable`` while draining, or without the log.
        """
        if idempotency is None:
            opened = await self._open(ctx, model, chat, targets, terms, None)
        else:
            async with self._turnstile.one_at_a_time(ctx.tenant, idempotency.name):
                opened = await self._log.taken(ctx.tenant, idempotency.name) or await self._open(
                    ctx, model, chat, targets, terms, idempotency
                )
        if isinstance(opened, Stream):
            return await self._attach(opened, 0)
        if idempotency is not None and opened.body != idempotency.body:
            details = (("Idempotency-Key", "was used for another request"),)
            raise RequestError("validation_error", details=details)
        return await self.resume(ctx, opened.stream_id, after)

    async def resume(self, ctx: Ctx, stream_id: str, after: int) -> Attachment:
        """Attach to the caller's stream, running or ended, here or elsewhere.

        Raises:
            RequestError: ``not_found``, also for a foreign stream; ``gone``, it ended and its log
                is no longer stored; ``conflict``, ``after`` is beyond its head.
            ServerError: ``service_unavailable`` without the log.
        """
        key = StreamKey(ctx.tenant, stream_id)
        await self.find(ctx, stream_id)
        stream = self._running.get(key)
        if stream is not None:
            return await self._attach(stream, after)
        try:
            return Attachment(key, await self._log.reader(key, after))
        except RequestError as error:
            if error.code != "not_found":
                raise
            raise RequestError("gone") from error

    async def find(self, ctx: Ctx, stream_id: str) -> StreamState:
        """Tell the state of the caller's stream.

        Raises:
            RequestError: ``not_found``; a foreign stream is as unknown as none.
            ServerError: ``service_unavailable`` without the log.
        """
        key = StreamKey(ctx.tenant, stream_id)
        stream = self._running.get(key)
        if stream is not None:
            if not stream.may(ctx):
                raise RequestError("not_found")
            return stream.describe()
        entry = await self._log.find(key)
        if entry is None:
            past = await self._past(ctx, stream_id)
            if past is None:
                raise RequestError("not_found")
            return past
        record = StreamRecord.decode(entry.record)
        if not record.may(ctx):
            raise RequestError("not_found")
        return record.state

    async def cancel(self, ctx: Ctx, stream_id: str) -> StreamState:
        """Cancel the caller's stream, wherever it runs; changes nothing once it has ended.

        Returns:
            Its state; ended unless the log is slow, or the answer is read on for its usage.

        Raises:
            RequestError: ``not_found``; a foreign stream is as unknown as none.
            ServerError: ``service_unavailable`` without the log.
        """
        key = StreamKey(ctx.tenant, stream_id)
        state = await self.find(ctx, stream_id)
        stream = self._running.get(key)
        if stream is not None:
            self._cancel(stream)
            if stream.task is not None:
                await asyncio.wait({stream.task}, timeout=CANCEL_SECONDS)
        elif state.state == "running":
            # Goes on when the caller does not wait for it.
            await asyncio.shield(self._errand(self._cancel_elsewhere(key)))
        return await self.find(ctx, stream_id)

    def cancel_here(self, key: StreamKey) -> None:
        """Cancel a stream of this process, if it is one: another process was asked to."""
        stream = self._running.get(key)
        if stream is not None:
            self._cancel(stream)

    def keep_only(self, tenants: Container[int]) -> None:
        """End the running streams of all other tenants: theirs are gone, or suspended."""
        for key, stream in list(self._running.items()):
            if key.tenant not in tenants:
                error = RequestError("forbidden", reason="the tenant is gone or suspended")
                self._cancel(stream, Ending.failed(error))

    async def drain(self, seconds: float) -> None:
        """Refuse new streams, let running ones finish for ``seconds``, then end them."""
        self.drain_notice.give()
        await self._wait(seconds)
        for stream in list(self._running.values()):
            self._cancel(stream, Ending.failed(ServerError("server_draining")))
        await self._wait(SEAL_SECONDS)
        if self._errands:
            await asyncio.wait(self._errands, timeout=SEAL_SECONDS)

    async def _open(
        self,
        ctx: Ctx,
        model: str,
        chat: ChatRequest,
        targets: tuple[Target, ...],
        terms: Terms,
        idempotency: Idempotency | None,
    ) -> Stream | Taken:
        """Open a stream's log and start its producer, unless another process was faster."""
        if self.draining:
            raise ServerError("service_unavailable", retry_after=1)
        stream = self._compose(ctx, model, chat, targets)
        stream.price = terms.price
        need = Need.of(stream.prompt_tokens, chat.max_output_tokens, terms.price)
        stream.grant = await self._admission.admit(terms.caller, stream.id, need)
        try:
            opened = await self._log.create(stream.key, stream.record(), idempotency)
        except BaseException:
            stream.grant.release()
            raise
        if isinstance(opened, Taken):
            stream.grant.release()
            return opened
        stream.writer = opened
        stream.on_finish = self._finished
        self._running[stream.key] = stream
        self._observer.stream_started(stream.model)
        stream.task = asyncio.get_running_loop().create_task(self._producer.run(stream))
        return stream

    def _compose(
        self, ctx: Ctx, model: str, chat: ChatRequest, targets: tuple[Target, ...]
    ) -> Stream:
        first = targets[0]
        ids = EventIds(ENTROPY.bits(80))
        composer = Composer(ids, first.endpoint.provider, first.model, chat.metadata)
        key = StreamKey(ctx.tenant, stream_id(ENTROPY.bits(128)))
        chat = self._continuations.restore(ctx.tenant, ctx.subject, chat)
        return Stream(key, ctx, model, chat, targets, composer, self._clock())

    async def _attach(self, stream: Stream, after: int) -> Attachment:
        stream.attached += 1
        try:
            reader = await self._log.reader(stream.key, after)
        except BaseException:
            self._left(stream)
            raise
        if stream.detach_timer is not None:
            stream.detach_timer.cancel()
            stream.detach_timer = None
        return Attachment(stream.key, reader, stream, self._left)

    def _left(self, stream: Stream) -> None:
        """A reader leaves; without readers the stream is cancelled now or later, or goes on."""
        stream.attached -= 1
        if not stream.attached and stream.ending is None:
            cancel = self._policy.on_disconnect == "cancel"
            self._abandon_in(stream, 0.0 if cancel else self._policy.detach)

    def _abandon_in(self, stream: Stream, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        stream.detach_timer = loop.call_later(seconds, lambda: self._errand(self._abandon(stream)))

    async def _abandon(self, stream: Stream) -> None:
        """Cancel a stream that nobody follows, here or elsewhere."""
        wait = FOLLOWED_SECONDS
        if self._policy.on_disconnect == "continue":
            wait = max(wait, self._policy.detach)
        try:
            followed = await self._log.followed(stream.key)
        except LogUnavailableError:
            followed = 0.0  # unknown: ask again later
        if stream.attached or stream.ending is not None:
            return
        if followed is not None and followed < wait:
            self._abandon_in(stream, wait - followed)
        else:
            log.info("stream.abandoned", stream=stream.id)
            self._cancel(stream)

    def _cancel(self, stream: Stream, ending: Ending = CANCELLED) -> None:
        """End a stream now, with usage so far; does nothing once it is ending."""
        if stream.task is None:
            return
        if stream.stop is None:
            stream.stop = ending
            stream.task.cancel()
        elif stream.reading_on and ending is not CANCELLED:
            stream.task.cancel()  # there is no time left for the provider's count

    async def _cancel_elsewhere(self, key: StreamKey) -> None:
        """Ask the producer to cancel; if it stays silent, take the stream over and end it.

        One that reads the answer on for its usage has said so, and is left alone: it is done soon,
        and if it dies it is an orphan.
        """
        await self._log.ask_cancel(key)
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + CANCEL_SECONDS
        while loop.time() < give_up_at:
            await asyncio.sleep(CANCEL_LOOK_SECONDS)
            entry = await self._log.find(key)
            if entry is None or entry.ended or StreamRecord.decode(entry.record).reading_on:
                return
        writer = await self._log.claim(key, force=True)
        if writer is not None:
            try:
                await self._sealer.seal(writer, CANCELLED)
            except FencedError:
                return  # another one ended it

    def _errand(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Do something that no request waits for to its end; awaited when draining."""
        task = asyncio.get_running_loop().create_task(work)
        self._errands.add(task)
        task.add_done_callback(self._errand_done)
        return task

    def _errand_done(self, task: asyncio.Task[None]) -> None:
        self._errands.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, ChatError):  # whoever waited was told
            log.warning("stream.errand_failed", code=error.code, reason=error.reason)
        elif error is not None:
            log.error("stream.errand_failed", exc_info=error)

    async def _wait(self, seconds: float) -> None:
        tasks = [stream.task for stream in self._running.values() if stream.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    def _finished(self, stream: Stream) -> None:
        self._running.pop(stream.key, None)
        stream.grant.release(lost=stream.lost)
        if stream.detach_timer is not None:
            stream.detach_timer.cancel()
        if stream.composer.tool_ids and stream.dialect:
            replay = Replay(stream.dialect, tuple(stream.composer.replay))
            ids = stream.composer.tool_ids
            self._continuations.remember(stream.key.tenant, stream.ctx.subject, ids, replay)
        if stream.usage is not None:  # else another worker ends it, and tells
            self._observer.stream_ended(stream.summary())
        stream.log_end()
