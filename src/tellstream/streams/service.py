"""The running streams of this process: start, follow, stop, drain.

A stream lives in its producer's task. Connections only attach to it: when the last one leaves, the
stream goes on or is cancelled, as configured.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import msgspec
import structlog

from tellstream.core.chat import ChatRequest, Replay
from tellstream.core.composer import CANCELLED, Composer, Ending
from tellstream.core.errors import RequestError, ServerError
from tellstream.core.ids import EventIds, stream_id
from tellstream.core.principals import Ctx
from tellstream.eventlog.base import EventLog, LogReader
from tellstream.limits.base import Limits
from tellstream.providers.base import Caller
from tellstream.streams.continuations import Continuations
from tellstream.streams.produce import Producer
from tellstream.streams.retry import RetryPolicy
from tellstream.streams.stream import Stream, StreamState
from tellstream.streams.target import Target

log = structlog.get_logger("tellstream.stream")


ENDED_KEPT: Final = 10_000
"""States of ended streams that are remembered; about 500 bytes each."""


class _Owner(NamedTuple):
    """Whose stream it is."""

    tenant: int
    subject: str

    def may(self, ctx: Ctx) -> bool:
        """Whether the caller may know of the stream."""
        return self.tenant == ctx.tenant and (
            self.subject == ctx.subject or "streams:all" in ctx.scopes
        )


class StreamPolicy(msgspec.Struct, frozen=True):
    """How streams behave; times in seconds."""

    on_disconnect: Literal["continue", "cancel"] = "continue"
    detach: float = 60.0
    total: float = 600.0
    retry: RetryPolicy = RetryPolicy()


class StreamService:
    """Starts streams and knows those that run here.

    Args:
        event_log: where events go.
        upstream: the shared HTTP client.
        limits: concurrent streams and tokens are accounted here.
        policy: how streams behave.
        clock: Unix seconds.
    """

    def __init__(
        self,
        event_log: EventLog,
        upstream: Caller,
        limits: Limits,
        policy: StreamPolicy,
        clock: Callable[[], float],
    ) -> None:
        self._log = event_log
        self._limits = limits
        self._policy = policy
        self._clock = clock
        self._producer = Producer(
            event_log, upstream, clock, policy.total, policy.retry, self._settle
        )
        self._continuations = Continuations(clock)
        self._running: dict[str, Stream] = {}
        self._ended: OrderedDict[str, tuple[_Owner, StreamState]] = OrderedDict()
        self.draining = False

    @property
    def running(self) -> int:
        """How many streams run in this process."""
        return len(self._running)

    async def start(
        self,
        ctx: Ctx,
        chat: ChatRequest,
        targets: tuple[Target, ...],
        concurrent_streams: int | None,
    ) -> Stream:
        """Start a stream; its producer runs on its own from here.

        Args:
            ctx: who asks.
            chat: what is asked.
            targets: tried in order, at least one.
            concurrent_streams: the tenant's limit, or None.

        Raises:
            RequestError: ``concurrency_limit_exceeded``.
            ServerError: ``service_unavailable`` while draining.
        """
        if self.draining:
            raise ServerError("service_unavailable", retry_after=1)
        self._limits.take_stream(ctx.tenant, concurrent_streams)
        try:
            composer = Composer(
                EventIds(secrets.randbits(80)),
                targets[0].endpoint.provider,
                targets[0].model,
                chat.metadata,
            )
            identity = stream_id(secrets.randbits(128))
            chat = self._continuations.restore(ctx.tenant, ctx.subject, chat)
            stream = Stream(
                identity, ctx.tenant, ctx.subject, chat, targets, composer, self._clock()
            )
            await self._log.create(stream.id)
        except BaseException:
            self._limits.release_stream(ctx.tenant)
            raise
        stream.on_finish = self._finished
        self._running[stream.id] = stream
        stream.task = asyncio.get_running_loop().create_task(self._producer.run(stream))
        return stream

    def find(self, ctx: Ctx, stream_id: str) -> StreamState:
        """Tell the state of a stream, running or recently ended.

        Raises:
            RequestError: ``not_found``; a foreign stream is as unknown as none.
        """
        owner, state = self._known(stream_id)
        if not owner.may(ctx):
            raise RequestError("not_found")
        return state

    def cancel_by_id(self, ctx: Ctx, stream_id: str) -> None:
        """Cancel the caller's stream; does nothing if it has ended.

        Raises:
            RequestError: ``not_found``; a foreign stream is as unknown as none.
        """
        self.find(ctx, stream_id)
        stream = self._running.get(stream_id)
        if stream is not None:
            self.cancel(stream)

    def _known(self, stream_id: str) -> tuple["_Owner", StreamState]:
        stream = self._running.get(stream_id)
        if stream is not None:
            return _Owner(stream.tenant, stream.subject), stream.describe()
        if stream_id not in self._ended:
            raise RequestError("not_found")
        return self._ended[stream_id]

    async def attach(self, stream: Stream, after: int = 0) -> LogReader:
        """Attach a reader; give it back with ``detach``."""
        reader = await self._log.reader(stream.id, after)
        stream.attached += 1
        if stream.detach_timer is not None:
            stream.detach_timer.cancel()
            stream.detach_timer = None
        return reader

    async def resume(self, ctx: Ctx, stream_id: str, after: int) -> tuple[Stream | None, LogReader]:
        """Open a reader of the caller's stream, running or ended.

        Returns:
            The stream, if it runs: give its reader back with ``detach``; and the reader.

        Raises:
            RequestError: ``not_found``, also for a foreign stream; ``gone``, it ended and its log
                is no longer stored; ``conflict``, ``after`` is beyond its head.
        """
        self.find(ctx, stream_id)
        stream = self._running.get(stream_id)
        if stream is not None:
            return stream, await self.attach(stream, after)
        try:
            return None, await self._log.reader(stream_id, after)
        except RequestError as error:
            if error.code != "not_found":
                raise
            raise RequestError("gone") from error

    def detach(self, stream: Stream, reader: LogReader) -> None:
        """A reader leaves; without readers the stream is cancelled now or later, or goes on."""
        reader.close()
        stream.attached -= 1
        if stream.attached or stream.ending is not None:
            return
        if self._policy.on_disconnect == "cancel":
            self.cancel(stream)
            return
        loop = asyncio.get_running_loop()
        stream.detach_timer = loop.call_later(self._policy.detach, self.cancel, stream)

    def cancel(self, stream: Stream, ending: Ending = CANCELLED) -> None:
        """End a stream now, with usage so far; does nothing once it is ending."""
        if stream.stop is None and stream.task is not None:
            stream.stop = ending
            stream.task.cancel()

    async def drain(self, seconds: float) -> None:
        """Refuse new streams, let running ones finish for ``seconds``, then end them."""
        self.draining = True
        await self._wait(seconds)
        for stream in list(self._running.values()):
            self.cancel(stream, Ending.failed(ServerError("server_draining")))
        await self._wait(_SEAL_SECONDS)

    async def _wait(self, seconds: float) -> None:
        tasks = [stream.task for stream in self._running.values() if stream.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    async def _settle(self, stream: Stream) -> None:
        assert stream.usage is not None
        used = stream.usage.prompt_tokens + stream.usage.completion_tokens
        self._limits.settle_tokens(stream.tenant, used)

    def _finished(self, stream: Stream) -> None:
        self._running.pop(stream.id, None)
        self._ended[stream.id] = _Owner(stream.tenant, stream.subject), stream.describe()
        if len(self._ended) > ENDED_KEPT:
            self._ended.popitem(last=False)
        self._limits.release_stream(stream.tenant)
        if stream.detach_timer is not None:
            stream.detach_timer.cancel()
        if stream.composer.tool_ids and stream.dialect:
            replay = Replay(stream.dialect, tuple(stream.composer.replay))
            ids = stream.composer.tool_ids
            self._continuations.remember(stream.tenant, stream.subject, ids, replay)
        ending, usage = stream.ending, stream.usage
        assert ending is not None
        assert usage is not None
        log.info(
            "stream.end",
            stream=stream.id,
            tenant=stream.tenant,
            provider=stream.composer.provider,
            model=stream.composer.model,
            finish_reason=ending.reason.value,
            error=ending.error.code if ending.error else None,
            reason=ending.error.reason if ending.error else None,
            events=stream.head,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            estimated=stream.estimated,
            seconds=round((stream.finished_at or 0) - stream.created_at, 3),
        )


_SEAL_SECONDS = 5.0
"""What ending the remaining streams may take: appending a few events each."""
