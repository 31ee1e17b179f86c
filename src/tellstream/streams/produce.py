"""The producer of one stream: call a provider, compose, append, and end it exactly once.

One task per stream owns the upstream connection and is the only writer of the log. Whatever happens
(success, failure, cancel, shutdown, a bug) runs through the same last lines: settle the usage,
append the closing events. From the first content on, what arrives is brought into the log without
waking the task (flow.py).
"""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Final

import structlog

from tellstream.core import events as ev
from tellstream.core.composer import CANCELLED, Ending
from tellstream.core.errors import ChatError, ProviderError, RequestError, ServerError
from tellstream.core.frames import encode_frames
from tellstream.core.observer import ABANDONED, OK, Observer, Tracer
from tellstream.eventlog.base import (
    MAX_STREAM_BYTES,
    MAX_STREAM_EVENTS,
    FencedError,
    LogUnavailableError,
)
from tellstream.providers.base import Body, Caller, Decoder
from tellstream.streams.breaker import Breakers
from tellstream.streams.flow import Flow, at_cap
from tellstream.streams.meter import Meter
from tellstream.streams.reading_on import ReadingOn
from tellstream.streams.record import Attempt
from tellstream.streams.retry import RetryBudget, RetryPolicy
from tellstream.streams.stream import Stream
from tellstream.streams.target import Target

log = structlog.get_logger("tellstream.stream")

# Another target must not be asked for what this one's policy forbids; the size limit is ours.
_FINAL: Final = frozenset({"content_filtered", "stream_too_large"})
END_SECONDS: Final = 600.0
"""For which the end of a stream is offered to a log that does not answer. Whoever comes back later
finds the stream sealed by another worker, or open until one looks after it."""
END_RETRY_SECONDS: Final = 0.5
"""Between two offers."""


class Producer:
    """Produces streams.

    Args:
        upstream: the shared HTTP client.
        clock: Unix seconds.
        total_timeout: seconds that a stream may take.
        retry: when the same target is called again.
        meter: opens the stream's usage row, and settles it before the end is appended.
        observer: is told what happens.
        tracer: surrounds streams and calls.
    """

    def __init__(
        self,
        upstream: Caller,
        clock: Callable[[], float],
        total_timeout: float,
        retry: RetryPolicy,
        meter: Meter,
        observer: Observer,
        tracer: Tracer,
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        self._total = total_timeout
        self._retry = retry
        self._budget = RetryBudget()
        self.breakers = Breakers()
        self._meter = meter
        self._reading_on = ReadingOn()
        self._observer = observer
        self._tracer = tracer

    async def run(self, stream: Stream) -> None:
        """Produce ``stream`` to its end; never raises."""
        with self._tracer.stream(stream.model) as span:
            await self._run(stream)
            if stream.ending is not None:
                span.ended(stream.summary())

    async def _run(self, stream: Stream) -> None:
        try:
            started = self._time()
            await self._meter.open(stream)
            self._observer.waited("ledger_open", self._time() - started)
            ending = await self._generate(stream)
        except FencedError as error:
            self._lost(stream, error)
            return
        except ChatError as error:
            ending = Ending.failed(error)
        except asyncio.CancelledError:
            ending = stream.stop or Ending.failed(ServerError("server_draining"))
        except Exception as error:
            log.exception("stream.bug", stream=stream.id)
            ending = Ending.failed(ServerError("server_error", reason=repr(error)))
        try:
            await self._end(stream, ending)
        except FencedError as error:
            self._lost(stream, error)
        except Exception:
            log.exception("stream.end_lost", stream=stream.id)

    async def _generate(self, stream: Stream) -> Ending:
        """Try the targets in order until one of them gives content."""
        total_at = asyncio.get_running_loop().time() + self._total
        failure: ProviderError | None = None
        for target in stream.targets:
            self._budget.call()
            for attempt in count(1):
                stream.composer.target(target.endpoint.provider, target.model)
                stream.prompt_read = False
                stream.dialect = target.dialect_name
                try:
                    return await self._guarded(stream, target, total_at)
                except ProviderError as error:
                    failure = error
                if stream.content or failure.code in _FINAL:
                    raise failure
                delay = self._delay(stream, failure, attempt)
                if delay is None:
                    break
                stream.waited += delay
                self._observer.waited("retry", delay)
                await asyncio.sleep(delay)
        assert failure is not None, "a model without targets"
        raise failure

    def _delay(self, stream: Stream, error: ProviderError, attempt: int) -> float | None:
        """How long to wait before the same target is called again; None: not at all."""
        delay = self._retry.delay(
            error,
            attempt=attempt,
            elapsed=self._clock() - stream.created_at,
            waited=stream.waited,
            random=random.random,
        )
        return delay if delay is not None and self._budget.take() else None

    async def _guarded(self, stream: Stream, target: Target, total_at: float) -> Ending:
        """Call one target if its breakers permit, and record how that went."""
        host, started = target.endpoint.base_url, self._clock()
        credential = (stream.key.tenant, target.endpoint.provider, target.model)
        permitted = False

        def ended(error: ProviderError | None) -> None:
            nonlocal permitted
            if permitted:
                self.breakers.record(host, credential, self._clock(), error)
                permitted = False
            self._record(stream, target, started, error)

        try:
            self.breakers.check(host, credential, started)
            permitted = True
            with self._tracer.attempt(target.endpoint.provider, target.model):
                return await self._attempt(stream, target, total_at, ended)
        except ProviderError as error:
            ended(error)
            raise
        finally:
            if permitted:  # cancelled, or our own fault: nothing is known of the provider
                self.breakers.abandon(host, credential)
                seconds = self._clock() - started
                name = target.endpoint.provider
                self._observer.attempt_ended(name, target.dialect_name, ABANDONED, seconds)

    def _record(
        self, stream: Stream, target: Target, started: float, error: ProviderError | None
    ) -> None:
        """Note how a call went, in the stream's state and, if it failed, in the log."""
        name, model = target.endpoint.provider, target.model
        seconds = self._clock() - started
        milliseconds = round(seconds * 1000)
        code = None if error is None else error.code
        stream.attempts.append(Attempt(name, model, code, milliseconds))
        self._observer.attempt_ended(name, target.dialect_name, code or OK, seconds)
        if error is not None:
            log.warning(
                "stream.attempt_failed",
                stream=stream.id,
                provider=name,
                model=model,
                code=code,
                reason=error.reason,
                milliseconds=milliseconds,
            )

    async def _attempt(
        self,
        stream: Stream,
        target: Target,
        total_at: float,
        succeeded: Callable[[None], None],
    ) -> Ending:
        """Stream one target's answer into the log, to its end if it ends well."""
        if not target.usable:
            raise ProviderError("provider_auth", reason="the tenant's key cannot be decrypted")
        composer = stream.composer
        decoder = target.dialect.decoder(target.endpoint)
        request = target.dialect.request(target.endpoint, target.model, stream.chat)
        stream.prompt_read = True  # unless it says that it did not
        answered = False
        try:
            async with self._upstream.call(target.dialect, request, total_at) as body:
                answered = True
                try:
                    await self._read(stream, body, decoder)
                except asyncio.CancelledError:
                    if stream.stop is CANCELLED and target.endpoint.host.on_cancel == "drain":
                        hush = partial(self._hush, stream)
                        await self._reading_on.read(stream, body, decoder, hush)
                    raise
                ending = composer.ending()
                if decoder.malformed:
                    log.warning("stream.malformed_lines", stream=stream.id, lines=decoder.malformed)
                if ending.error is not None:
                    ending.error.reason = body.broken or ending.error.reason
                    raise ending.error
                succeeded(None)
                await self._end(stream, ending)
                await body.linger()
        except ProviderError as error:
            if not answered:  # refused, or never reached; one that is silent may have read it
                stream.prompt_read = error.code == "provider_timeout"
            raise
        return ending

    async def _read(self, stream: Stream, body: Body, decoder: Decoder) -> None:
        """Bring what arrives into the log, until the provider says nothing more."""
        composer = stream.composer
        while not composer.over:
            flowing = stream.content and not composer.finish_seen
            if flowing and await self._flow(stream, body, decoder):
                break
            try:
                chunk = await body.read()
            except ProviderError:
                if not composer.finish_seen:
                    raise
                chunk = b""  # the end was proven; only the connection's end is missing
            parts = decoder.feed(chunk) if chunk else decoder.eof()
            events = composer.feed(parts, self._clock())
            if events:
                await self._append(stream, events)
                body.content_seen()
            if not chunk:
                break
            if composer.finish_seen:
                body.finish_seen()

    async def _flow(self, stream: Stream, body: Body, decoder: Decoder) -> bool:
        """Bring what arrives into the log without this task; whether the provider is done.

        Until there is something to wait for but appends, or nothing follows.
        """
        try:
            await Flow(stream, body, decoder, self._clock).run()
        except LogUnavailableError:
            self._observer.log_unavailable()
            raise
        await self._keep_within_caps(stream)
        if stream.composer.finish_seen:
            body.finish_seen()
        return stream.composer.over

    async def _hush(self, stream: Stream) -> None:
        """Close what is open of a cancelled stream, and note that its answer is read on."""
        events = stream.composer.close(CANCELLED, None, self._clock())
        await self._append(stream, events, closing=True)

    async def _append(
        self,
        stream: Stream,
        events: list[ev.Event],
        *,
        end: bool = False,
        closing: bool = False,
    ) -> None:
        """Encode and append events; durable when this returns.

        What could not be appended is kept, and goes before the events of the next call.

        Args:
            stream: whose they are.
            events: to append.
            end: the last of them is the stream's end.
            closing: they say nothing, and close what is open.
        """
        closing = closing or end
        writer = stream.writer
        first = writer.head + 1
        frames = encode_frames(first + len(stream.unconfirmed), events)
        stream.log_bytes += sum(map(len, frames))
        stream.unconfirmed += frames
        first_content = not stream.content and not closing
        record = stream.record(end=end) if closing or not stream.content else None
        started = self._time() if first_content or end else 0.0
        stream.content = stream.content or not closing  # else nothing is composed before content
        try:
            await writer.append(
                first,
                stream.unconfirmed,
                record=record,
                end=end,
                release=end and stream.retryable,
            )
        except LogUnavailableError:
            self._observer.log_unavailable()
            raise
        finally:
            stream.unconfirmed = stream.unconfirmed[writer.head + 1 - first :]
        if first_content or end:
            self._observer.log_appended(self._time() - started)
        if first_content:
            # The clock of the world may be set back meanwhile.
            seconds = max(0.0, self._clock() - stream.created_at)
            stream.first_token_ms = round(seconds * 1000)
            self._observer.first_token(stream.composer.provider, stream.model, seconds)
        if closing:
            return
        await self._keep_within_caps(stream)

    async def _keep_within_caps(self, stream: Stream) -> None:
        """Set more aside for the stream if it needs that.

        Raises:
            RequestError: ``quota_exceeded``.
            ServerError: ``stream_too_large``.
        """
        if not at_cap(stream):
            return
        if stream.grant.limited and not await stream.grant.extend(stream.composer.output.tokens):
            raise RequestError("quota_exceeded", reason="a cap was reached")
        if stream.log_bytes > MAX_STREAM_BYTES or stream.writer.head > MAX_STREAM_EVENTS:
            raise ServerError("stream_too_large")

    async def _end(self, stream: Stream, ending: Ending) -> None:
        """Settle the usage and append the closing events, once."""
        if stream.ending is not None:
            return
        stream.stop = stream.stop or ending  # from here on a cancel changes nothing
        try:
            stream.finished_at = self._clock()
            started = self._time()
            await self._meter.settle(stream, ending)
            self._observer.waited("settle", self._time() - started)
            assert stream.usage is not None
            events = stream.composer.close(ending, stream.usage, stream.finished_at)
            stream.ending = ending
            await self._append_end(stream, events)
            self._meter.ended(stream.debt)
        finally:
            stream.ending = ending
            stream.on_finish(stream)

    async def _append_end(self, stream: Stream, events: list[ev.Event]) -> None:
        """Append the end, also to a log that is away for a while."""
        time = asyncio.get_running_loop().time
        give_up_at = time() + END_SECONDS
        while True:
            try:
                await self._append(stream, events, end=True)
            except LogUnavailableError:
                if time() > give_up_at:
                    raise
                log.warning("stream.end_delayed", stream=stream.id)
                events = []  # kept by the first try
                await asyncio.sleep(END_RETRY_SECONDS)
            else:
                stream.finished = True
                return

    @staticmethod
    def _time() -> float:
        return asyncio.get_running_loop().time()

    def _lost(self, stream: Stream, error: FencedError) -> None:
        """Let go of a stream that another worker has taken over: it ends it, and settles it."""
        log.warning("stream.fenced", stream=stream.id, reason=error.reason)
        if stream.ending is None:
            stream.finished_at = self._clock()
            stream.usage = stream.composer.usage
            stream.ending = Ending.failed(error)
            stream.lost = True
            stream.on_finish(stream)
