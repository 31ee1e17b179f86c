"""This process as a worker among others: its lease, and the streams it answers for."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final
from weakref import WeakValueDictionary

import structlog

from tellstream.eventlog.base import LogUnavailableError, StreamKey
from tellstream.eventlog.redis_appends import RedisWriter
from tellstream.eventlog.redis_commands import Commands
from tellstream.eventlog.redis_keys import stream_of, streams_key
from tellstream.eventlog.redis_scripts import DISOWN, HEARTBEAT, LEAVE, ORPHANS
from tellstream.eventlog.redis_tails import LiveTails

BEATS_PER_LEASE: Final = 3
"""A lease survives two lost heartbeats."""
SETTLE_SECONDS: Final = 1.0
"""After a start, before others' leases are believed to be over: Redis may be just back too."""
ORPHANS_AT_ONCE: Final = 100
"""A portion: some seconds of work for who ends them."""

_log: Final = structlog.get_logger(__name__)


class Worker:
    """A lease, kept up, and the streams that hang on it.

    A stream is answered for while somebody holds its writer. One that Redis counts as ours although
    nobody does (the reply to ``create`` or ``claim`` was lost, or the writer dropped) is given up
    at the next heartbeat, so that it is ended by whoever asks for orphans.

    Args:
        commands: to Redis.
        tails: of the streams.
        identity: new with each start of the process.
        lease: seconds.

    Attributes:
        lease: milliseconds.
    """

    def __init__(self, commands: Commands, tails: LiveTails, identity: str, lease: float) -> None:
        self.id = identity
        self.lease = int(lease * 1000)
        self._commands = commands
        self._tails = tails
        self._seconds = lease
        self._writers: WeakValueDictionary[StreamKey, RedisWriter] = WeakValueDictionary()
        self._opening: list[StreamKey] = []
        self._beat_at = 0.0  # of the last heartbeat that was answered; monotonic seconds
        self._trusted_from = 0.0  # from then on, others' leases tell whether they live

    async def start(self) -> None:
        """Take the lease.

        Raises:
            LogUnavailableError: Redis did not answer in time, or refused.
        """
        now = monotonic()
        self._beat_at, self._trusted_from = now, now + min(SETTLE_SECONDS, self._seconds)
        await self._beat()

    async def keep(self) -> None:
        """Keep the lease up, for ever."""
        while True:
            await asyncio.sleep(self._seconds / BEATS_PER_LEASE)
            try:
                await self._beat()
            except LogUnavailableError as error:
                _log.warning("eventlog.heartbeat_failed", reason=error.reason)

    async def leave(self) -> None:
        """Give the lease up.

        Raises:
            LogUnavailableError: Redis did not answer in time: the lease will run out.
        """
        await self._commands.run(LEAVE, (), self.id)

    @contextmanager
    def opening(self, key: StreamKey) -> Iterator[None]:
        """Ask for the right to append to a stream: Redis may know of it before we do."""
        self._opening.append(key)
        try:
            yield
        finally:
            self._opening.remove(key)

    def produce(self, writer: RedisWriter) -> None:
        """Answer for a stream from now on."""
        self._writers[writer.key] = writer
        self._tails.produce(writer.key, writer.head)

    def done(self, writer: RedisWriter) -> None:
        """Answer for a stream no more: it has ended, or somebody else produces it."""
        if self._writers.get(writer.key) is writer:
            del self._writers[writer.key]

    async def orphans(self) -> list[StreamKey]:
        """Name streams whose worker's lease is over; none while that says nothing.

        After an outage of Redis all leases look as if they were over, until their workers have had
        the time to renew them. Our own heartbeat tells whether there was one.

        Raises:
            LogUnavailableError: Redis did not answer in time.
        """
        if not self.trusts_leases:
            return []
        metas = await self._commands.run(ORPHANS, (), self.id, self.lease, ORPHANS_AT_ONCE)
        return [stream_of(meta) for meta in metas]

    @property
    def trusts_leases(self) -> bool:
        """Whether a lease that is over says that its worker is gone, as far as is known here.

        The scripts ask again in Redis, by our own lease: a command may wait through an outage.
        """
        now = monotonic()
        return now >= self._trusted_from and now - self._beat_at <= self._seconds / 2

    async def _beat(self) -> None:
        count = await self._commands.run(HEARTBEAT, (), self.id, self.lease)
        now = monotonic()
        if now - self._beat_at > self._seconds / 2:
            self._trusted_from = now + self._seconds
        self._beat_at = now
        if count != len(self._writers):
            await self._give_up_the_unheld()

    async def _give_up_the_unheld(self) -> None:
        metas = await self._commands.call("SMEMBERS", streams_key(self.id))
        held = {*self._writers, *self._opening}
        unheld = [meta for meta in metas if stream_of(meta) not in held]
        if unheld:
            _log.warning("eventlog.streams_given_up", count=len(unheld))
            for meta in unheld:
                self._tails.release(stream_of(meta))
            await self._commands.run(DISOWN, unheld, self.id)
