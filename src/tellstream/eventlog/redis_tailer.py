"""The one connection of a process on which it waits for news.

News are frames of the streams that it follows but does not produce, and what it is told by others.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog
from redis.exceptions import ResponseError

from tellstream.eventlog.base import LogUnavailableError, StreamKey
from tellstream.eventlog.redis_commands import Commands
from tellstream.eventlog.redis_keys import inbox_key, log_key, meta_key, stream_of
from tellstream.eventlog.redis_link import EXCHANGE_SECONDS, Link, LinkError, Word, pack
from tellstream.eventlog.redis_rounds import BACKOFF_SECONDS
from tellstream.eventlog.redis_scripts import FOLLOW, NO_LOG, OPEN_LOG, POKE
from tellstream.eventlog.redis_tails import LiveTails

BLOCK_SECONDS: Final = 1.0
"""For which Redis waits for news; a connection that is silent longer is broken."""
ENTRIES: Final = 128
"""Of each stream in one reply."""
PACE_SECONDS: Final = 0.01
"""From one reply to the next question, so that a reply brings the news of many streams: less than
a reader of text sees, and nothing for a stream that is slower."""
PACE_SECONDS_EACH: Final = 0.00002
"""The same, times the streams that are followed, if that is more: to ask for many costs more."""
FOLLOW_SECONDS: Final = 3.0
"""Between two times that the producers are told that they are followed from here."""
FOLLOW_AT_ONCE: Final = 500
"""Streams in one call that tells so."""

_log: Final = structlog.get_logger(__name__)


class Tailer:
    """Waits for news, for ever.

    Args:
        link: used by nobody else.
        commands: for what cannot be said on a connection that waits.
        worker: id of this process.

    Attributes:
        tails: what it feeds.
    """

    def __init__(self, link: Link, commands: Commands, worker: str) -> None:
        self.tails = LiveTails(self._poke, self._left)
        self._link = link
        self._commands = commands
        self._worker = worker
        self._inbox = inbox_key(worker).encode()
        self._told = b"0-0"  # the last entry of the inbox that was read
        self._waiting = False  # Redis waits, with a list of streams that may be out of date

    async def tail(self, on_cancel: Callable[[StreamKey], None]) -> None:
        """Feed the tails and hear what the process is told, for ever.

        Args:
            on_cancel: told of streams produced here that somebody asks to cancel.
        """
        failures = 0
        while True:
            followed = {log_key(key): (key, head) for key, head in self.tails.foreign()}
            try:
                for name, entries in await self._news(followed):
                    if name == self._inbox:
                        self._hear(entries, on_cancel)
                    else:
                        self._feed(followed[name][0], entries)
                failures = 0
            except LinkError as error:
                if not failures:
                    _log.warning("eventlog.tailer_waits", reason=str(error))
            except Exception:  # noqa: BLE001 - a bug; the other streams go on
                _log.exception("eventlog.tailer_failed")
            else:
                await asyncio.sleep(max(PACE_SECONDS, PACE_SECONDS_EACH * len(followed)))
                continue
            await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
            failures += 1

    async def close(self) -> None:
        """Close the connection, once nobody runs ``tail``."""
        await self._link.close()

    async def attend(self) -> None:
        """Tell Redis every FOLLOW_SECONDS which streams are followed here, for ever."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            try:
                await self._attend()
            except LogUnavailableError as error:
                _log.info("eventlog.follow_unsaid", reason=error.reason)

    async def _attend(self) -> None:
        """Say which streams are followed here, and end those that Redis has no more."""
        followed = [key for key, _ in self.tails.foreign()]
        for start in range(0, len(followed), FOLLOW_AT_ONCE):
            some = followed[start : start + FOLLOW_AT_ONCE]
            ends = await self._commands.run(FOLLOW, _names(some))
            for key, end in zip(some, ends, strict=True):
                if end != OPEN_LOG:
                    self.tails.settle(key, None if end == NO_LOG else end)

    async def _news(self, followed: dict[bytes, tuple[StreamKey, int]]) -> list[Any]:
        """Wait for entries of the inbox and of the logs after what is known of them."""
        ids = [b"%d-0" % head for _, head in followed.values()]
        milliseconds = int(BLOCK_SECONDS * 1000)
        words: list[Word] = ["XREAD", "COUNT", ENTRIES, "BLOCK", milliseconds, "STREAMS"]
        command = pack([*words, self._inbox, *followed, self._told, *ids])
        self._waiting = True
        try:
            (reply,) = await self._link.exchange(command, 1, BLOCK_SECONDS + EXCHANGE_SECONDS)
        finally:
            self._waiting = False
        if isinstance(reply, ResponseError):
            raise LinkError(f"Redis refused: {reply}")
        return reply or []

    def _feed(self, key: StreamKey, entries: list[Any]) -> None:
        """Take entries of one log: ``<n>-0`` is frame n, ``<n>-1`` the end."""
        numbers = [int(entry[0].partition(b"-")[0]) for entry in entries]
        end = entries[-1][0].endswith(b"-1")
        frames = [entry[1][1] for entry in (entries[:-1] if end else entries)]
        first = numbers[0] if frames else numbers[0] + 1
        whole = not frames or numbers[len(frames) - 1] == first + len(frames) - 1
        if not whole or not self.tails.extend(key, first, frames, end=end):
            _log.error("eventlog.hole", tenant=key.tenant, stream=key.stream_id, first=first)
            self.tails.stop(key)

    def _hear(self, entries: list[Any], on_cancel: Callable[[StreamKey], None]) -> None:
        """Take what this worker is told; see ``tell`` in the scripts."""
        for entry, fields in entries:
            self._told = entry
            what, name = fields[0], fields[1]
            if what == b"c":
                on_cancel(stream_of(name))
            elif what == b"f":
                self.tails.release(stream_of(name))

    def _poke(self) -> None:
        """Have the list of streams looked at again, if Redis waits with one that lacks some."""
        if self._waiting:
            self._waiting = False
            self._commands.post(POKE, (), self._worker)

    def _left(self, key: StreamKey) -> None:
        """Say that a stream was followed from here until now."""
        self._commands.post(FOLLOW, _names([key]))


def _names(streams: list[StreamKey]) -> list[bytes]:
    return [name for key in streams for name in (meta_key(key), log_key(key))]
