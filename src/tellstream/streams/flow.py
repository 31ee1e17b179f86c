"""An answer on its way into the log, without waking a task for what arrives.

The call in which the provider's bytes arrive decodes, composes, encodes and appends them. A log
that makes one wait holds the bytes back meanwhile: what has gathered when the append is done goes
in together, with the next one.
"""

import asyncio
from collections.abc import Callable

from tellstream.core.errors import ServerError
from tellstream.core.frames import encode_frames
from tellstream.eventlog.base import MAX_STREAM_BYTES, MAX_STREAM_EVENTS
from tellstream.providers.base import Body, Decoder
from tellstream.streams.stream import Stream


class Flow:
    """One flow: from the first content to whatever needs the producer's task.

    Args:
        stream: whose log it is.
        body: of the provider's response.
        decoder: of the same.
        clock: Unix seconds.
    """

    def __init__(
        self, stream: Stream, body: Body, decoder: Decoder, clock: Callable[[], float]
    ) -> None:
        self._stream = stream
        self._body = body
        self._decoder = decoder
        self._clock = clock
        self._under_way: asyncio.Future[None] | None = None  # an append
        self._first = 0  # of its frames
        self._frames: list[bytes] = []
        self._error: BaseException | None = None

    async def run(self) -> None:
        """Bring in what arrives, until a finish reason, a failure, a cap or the end of the body.

        What was composed is in the log when this returns or raises; else it is ``unconfirmed``.

        Raises:
            ProviderError: a timer expired, or the body is too large.
            LogUnavailableError: the log does not answer.
            FencedError: another worker has taken the stream over.
        """
        assert not self._stream.unconfirmed
        try:
            await self._body.flow(self._take)
        except BaseException:
            await self._settled()
            raise
        await self._settled()
        if self._error is not None:
            raise self._error

    def _take(self, chunk: bytes) -> bool:
        """Bring a piece of the body in; whether more is wanted."""
        stream = self._stream
        composer = stream.composer
        events = composer.feed(self._decoder.feed(chunk), self._clock())
        if events:
            writer = stream.writer
            first = writer.head + 1
            frames = encode_frames(first, events)
            stream.log_bytes += sum(map(len, frames))
            under_way = writer.begin(first, frames)
            if under_way is not None:
                self._under_way, self._first, self._frames = under_way, first, frames
                self._body.hold()
                under_way.add_done_callback(self._appended)
        return not (composer.over or composer.finish_seen or at_cap(stream))

    def _appended(self, under_way: "asyncio.Future[None]") -> None:
        if under_way is not self._under_way:
            return  # seen by ``_settled``
        self._under_way = None
        self._error = under_way.exception()
        if self._error is None:
            self._body.release()
            return
        self._stream.unconfirmed = self._frames[self._stream.writer.head + 1 - self._first :]
        self._body.stop()

    async def _settled(self) -> None:
        """Wait for the append under way: in bounded time, and also if this task is cancelled."""
        under_way = self._under_way
        if under_way is not None:
            try:
                await under_way
            except ServerError:
                pass  # noted by ``_appended``
            finally:
                self._appended(under_way)


def at_cap(stream: Stream) -> bool:
    """Whether a cap of a stream may be reached; costs next to nothing."""
    grant = stream.grant
    return (
        (grant.limited and grant.spent(stream.composer.output.tokens))
        or stream.log_bytes > MAX_STREAM_BYTES
        or stream.writer.head > MAX_STREAM_EVENTS
    )
