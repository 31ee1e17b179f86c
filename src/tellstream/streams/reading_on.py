"""Reading a cancelled answer on to its end, where the provider charges for all of it anyway.

Nobody hears the rest. But the provider then says what it charges, which is more than what was
delivered: an estimate of that would be too low.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from tellstream.core.errors import ProviderError
from tellstream.core.unsaid import count
from tellstream.eventlog.base import LogUnavailableError
from tellstream.providers.base import Body, Decoder
from tellstream.streams.stream import Stream

SECONDS: Final = 30.0
"""For which an answer is read on: most are over by then; the end of the stream waits for it."""
AT_ONCE: Final = 64
"""Answers that one worker reads on at the same time; each holds a connection to its provider. What
is beyond is estimated."""

log = structlog.get_logger("tellstream.stream")


class ReadingOn:
    """Reads the answers of cancelled streams on."""

    def __init__(self) -> None:
        self._running = 0

    async def read(
        self, stream: Stream, body: Body, decoder: Decoder, say: Callable[[], Awaitable[None]]
    ) -> None:
        """Read on for the usage, for a while; without it, what was counted so far must do.

        Args:
            stream: that was cancelled.
            body: the rest of the answer.
            decoder: of the answer.
            say: closes what is open, and notes in the log what goes on, so that others wait for it.

        Raises:
            asyncio.CancelledError: there is no time for that any more.
            FencedError: another worker has ended the stream.
        """
        counted = stream.composer.finish_seen and stream.composer.usage is not None
        if self._running >= AT_ONCE or counted:
            return
        self._running += 1
        stream.reading_on = True
        try:
            await say()
            async with asyncio.timeout(SECONDS):
                await _read(stream, body, decoder)
        except (ProviderError, LogUnavailableError, TimeoutError) as error:
            log.info("stream.not_read_to_its_end", stream=stream.id, reason=repr(error))
        finally:
            stream.reading_on = False
            self._running -= 1


async def _read(stream: Stream, body: Body, decoder: Decoder) -> None:
    composer = stream.composer
    while not composer.over:
        chunk = await body.read()
        count(composer, decoder.feed(chunk) if chunk else decoder.eof())
        if not chunk:
            return
        body.content_seen()
        if composer.finish_seen:
            body.finish_seen()
