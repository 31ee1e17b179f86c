"""The producer of one stream: call a provider, compose, append, and end it exactly once.

One task per stream owns the upstream connection and is the only writer of the log. Whatever happens
(success, failure, cancel, shutdown, a bug) runs through the same last lines: settle the usage,
append the closing events. One wake-up per read: everything that arrived together is decoded,
composed, encoded and appended as one batch.
"""

import asyncio
import random
from collections.abc import Callable
from http import HTTPStatus
from itertools import count
from typing import Final

import structlog

from tellstream.core import events as ev
from tellstream.core.composer import Ending
from tellstream.core.errors import ChatError, ProviderError, ServerError
from tellstream.core.frames import encode_frames
from tellstream.eventlog.base import (
    MAX_STREAM_BYTES,
    MAX_STREAM_EVENTS,
    FencedError,
    LogUnavailableError,
)
from tellstream.providers.base import Caller
from tellstream.streams.breaker import Breakers
from tellstream.streams.meter import Meter
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
    """

    def __init__(
        self,
        upstream: Caller,
        clock: Callable[[], float],
        total_timeout: float,
        retry: RetryPolicy,
        meter: Meter,
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        self._total = total_timeout
        self._retry = retry
        self._budget = RetryBudget()
        self._breakers = Breakers()
        self._meter = meter

    async def run(self, stream: Stream) -> None:
        """Produce ``stream`` to its end; never raises."""
        try:
            await self._meter.open(stream)
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
                self._breakers.record(host, credential, self._clock(), error)
                permitted = False
            self._record(stream, target, started, error)

        try:
            self._breakers.check(host, credential, started)
            permitted = True
            return await self._attempt(stream, target, total_at, ended)
        except ProviderError as error:
            ended(error)
            raise
        finally:
            if permitted:  # cancelled, or our own fault: nothing is known of the provider
                self._breakers.abandon(host, credential)

    def _record(
        self, stream: Stream, target: Target, started: float, error: ProviderError | None
    ) -> None:
        """Note how a call went, in the stream's state and, if it failed, in the log."""
        name, model = target.endpoint.provider, target.model
        milliseconds = round((self._clock() - started) * 1000)
        code = None if error is None else error.code
        stream.attempts.append(Attempt(name, model, code, milliseconds))
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
        composer = stream.composer
        decoder = target.dialect.decoder(target.endpoint)
        request = target.dialect.request(target.endpoint, target.model, stream.chat)
        async with self._upstream.call(target.dialect, request, total_at) as body:
            while not composer.over:
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
            ending = composer.ending()
            if decoder.malformed:
                log.warning("stream.malformed_lines", stream=stream.id, lines=decoder.malformed)
            if ending.error is not None:
                if body.broken is not None:
                    ending.error.reason = body.broken
                raise ending.error
            succeeded(None)
            await self._end(stream, ending)
            await body.linger()
        return ending

    async def _append(self, stream: Stream, events: list[ev.Event], *, end: bool = False) -> None:
        """Encode and append events; durable when this returns.

        What could not be appended is kept, and goes before the events of the next call.
        """
        writer = stream.writer
        first = writer.head + 1
        frames = encode_frames(first + len(stream.unconfirmed), events)
        stream.log_bytes += sum(map(len, frames))
        stream.unconfirmed += frames
        record = stream.record(end=end) if end or not stream.content else None
        stream.content = stream.content or not end  # nothing is composed before the first content
        try:
            await writer.append(
                first,
                stream.unconfirmed,
                record=record,
                end=end,
                release=end and _retryable(stream),
            )
        finally:
            stream.unconfirmed = stream.unconfirmed[writer.head + 1 - first :]
        if not end and (stream.log_bytes > MAX_STREAM_BYTES or writer.head > MAX_STREAM_EVENTS):
            raise ServerError("stream_too_large")

    async def _end(self, stream: Stream, ending: Ending) -> None:
        """Settle the usage and append the closing events, once."""
        if stream.ending is not None:
            return
        stream.stop = stream.stop or ending  # from here on a cancel changes nothing
        try:
            stream.finished_at = self._clock()
            await self._meter.settle(stream, ending)
            assert stream.usage is not None
            events = stream.composer.close(ending, stream.usage, stream.finished_at)
            stream.ending = ending
            await self._append_end(stream, events)
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

    def _lost(self, stream: Stream, error: FencedError) -> None:
        """Let go of a stream that another worker has taken over: it ends it, and settles it."""
        log.warning("stream.fenced", stream=stream.id, reason=error.reason)
        if stream.ending is None:
            stream.finished_at = self._clock()
            stream.usage = stream.composer.usage
            stream.ending = Ending.failed(error)
            stream.on_finish(stream)


def _retryable(stream: Stream) -> bool:
    """Whether the same request may be tried again under the same idempotency key."""
    error = stream.early_failure
    return error is not None and error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
