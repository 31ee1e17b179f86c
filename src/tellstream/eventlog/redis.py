"""The event log that several processes and machines share: Redis or Valkey Streams.

Durable as Redis's append-only file is: a crash of Redis loses nothing that was acknowledged, a
power failure perhaps the last second (``appendfsync everysec``). A log that has lost frames refuses
its writer; readers beyond its head are told so.

One process uses four connections: two for appends, one for commands, one to wait for news.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from tellstream.core.errors import RequestError, ServerError
from tellstream.eventlog.base import (
    READ_BYTES,
    Idempotency,
    LogEntry,
    LogReader,
    LogSetupError,
    LogUnavailableError,
    LogWriter,
    StreamKey,
    Taken,
)
from tellstream.eventlog.redis_appends import LIVE_SECONDS, Appends, RedisWriter
from tellstream.eventlog.redis_commands import Commands
from tellstream.eventlog.redis_keys import log_key, meta_key, name_key
from tellstream.eventlog.redis_link import Address, Link
from tellstream.eventlog.redis_scripts import CANCEL, CLAIM, CREATE, FIND, FOLLOWED, OPEN, READ
from tellstream.eventlog.redis_setup import check
from tellstream.eventlog.redis_tailer import Tailer
from tellstream.eventlog.redis_worker import Worker
from tellstream.eventlog.tail import Load, Tail, TailReader

FOLLOWED_SECONDS: Final = 300.0
"""Within which a follower counts; nobody waits that long for one to come back."""
APPEND_LINKS: Final = 2
"""Connections for appends: while Redis works on one exchange, the next is made."""
_LIVE: Final = int(LIVE_SECONDS * 1000)

_log: Final = structlog.get_logger(__name__)


class RedisEventLog:
    """The logs in one database of one Redis. Time is that of Redis.

    Args:
        url: ``redis://[user:password@]host[:port][/db]`` or ``rediss://…``.
        retention: seconds that a finished log is kept.
        lease: seconds after which a silent worker counts as dead.

    Raises:
        LogSetupError: the address cannot be understood.
    """

    def __init__(self, url: str, retention: float, lease: float) -> None:
        self._address = Address(url)
        self._commands = Commands(Link(self._address))
        identity = secrets.token_hex(8)
        self._tailer = Tailer(Link(self._address), self._commands, identity)
        self._tails = self._tailer.tails
        self._worker = Worker(self._commands, self._tails, identity, lease)
        links = [Link(self._address) for _ in range(APPEND_LINKS)]
        self._appends = Appends(links, retention, self._appended, self._fenced)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, on_cancel: Callable[[StreamKey], None]) -> None:
        """Connect, and see whether this Redis keeps what it is given."""
        await check(self._address)
        self._commands.start()
        self._appends.start()
        try:
            await self._worker.start()
        except BaseException as error:
            await self.close()
            if isinstance(error, LogUnavailableError):
                reason = f"The event log cannot be opened: {error.reason}"
                raise LogSetupError(reason) from error
            raise
        self._begin(self._worker.keep(), self._tailer.tail(on_cancel), self._tailer.attend())

    async def close(self) -> None:
        """Give up the lease and close the connections."""
        if self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
            self._tasks = []
            try:
                await self._worker.leave()
            except LogUnavailableError as error:
                _log.warning("eventlog.lease_not_given_up", reason=error.reason)
        await self._appends.close()
        await self._commands.close()
        await self._tailer.close()

    async def create(
        self, key: StreamKey, record: bytes, idempotency: Idempotency | None = None
    ) -> LogWriter | Taken:
        """Open an empty log, unless the idempotency name is taken."""
        keys = [meta_key(key)]
        if idempotency is not None:
            keys.append(name_key(key.tenant, idempotency.name))
        with self._worker.opening(key):
            reply = await self._commands.run(
                CREATE, keys, self._worker.id, self._worker.lease, secrets.token_hex(8), record,
                _LIVE, key.stream_id, idempotency.body if idempotency else "",
            )  # fmt: skip
            if reply == 0:
                raise ServerError("server_error", reason="the stream id exists")
            if reply == -1:
                raise LogUnavailableError("the stream was taken over while it was created")
            if isinstance(reply, list):
                return _taken(reply)
            return self._produce(key, 1, 0)

    async def taken(self, tenant: int, name: str) -> Taken | None:
        """Look an idempotency name up."""
        found = await self._commands.call("HMGET", name_key(tenant, name), "stream", "body")
        return None if found[0] is None else _taken(found)

    async def find(self, key: StreamKey) -> LogEntry | None:
        """Look a stream up."""
        found = await self._commands.run(FIND, (meta_key(key), log_key(key)))
        if found == 0:
            return None
        running, head, record = found
        return LogEntry(record, head, ended=not running)

    async def reader(self, key: StreamKey, after: int = 0) -> LogReader:
        """Open a reader of the frames after sequence number ``after``."""
        load = self._loader(log_key(key))
        if not self._tails.knows(key, after):
            found = await self._commands.run(OPEN, (meta_key(key), log_key(key)), self._worker.id)
            if found == 0:
                raise RequestError("not_found")
            running, head = found
            if after > head:
                raise RequestError("conflict", "The position is beyond the end of the stream.")
            if not running:
                tail = Tail(head)
                tail.ended = True
                return TailReader(tail, after, load)
            self._tails.follow(key, head)
        return self._tails.join(key, after, load)

    async def orphans(self) -> list[StreamKey]:
        """Name streams that are open although their worker's lease is over."""
        return await self._worker.orphans()

    async def claim(self, key: StreamKey, *, force: bool = False) -> LogWriter | None:
        """Take over an open stream in order to end it."""
        if not force and not self._worker.trusts_leases:
            return None
        with self._worker.opening(key):
            reply = await self._commands.run(
                CLAIM, (meta_key(key), log_key(key)), self._worker.id, self._worker.lease,
                secrets.token_hex(8), int(force), _LIVE,
            )  # fmt: skip
            if reply == 0:
                return None
            epoch, head = reply
            return self._produce(key, epoch, head)

    async def ask_cancel(self, key: StreamKey) -> None:
        """Tell the worker that produces the stream to cancel it, if that is not this one."""
        await self._commands.run(CANCEL, (meta_key(key),), self._worker.id)

    async def followed(self, key: StreamKey) -> float | None:
        """Say how many seconds ago a reader in another process was last known to follow."""
        milliseconds: int = await self._commands.run(FOLLOWED, (meta_key(key),))
        seconds = milliseconds / 1000
        return seconds if 0 <= seconds <= FOLLOWED_SECONDS else None

    def _begin(self, *jobs: Coroutine[Any, Any, None]) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(job) for job in jobs]

    def _produce(self, key: StreamKey, epoch: int, head: int) -> RedisWriter:
        writer = RedisWriter(self._appends, key, epoch, head)
        self._worker.produce(writer)
        return writer

    def _appended(self, writer: RedisWriter, first: int, frames: list[bytes], end: bool) -> None:
        self._tails.extend(writer.key, first, frames, end=end)
        if end:
            self._worker.done(writer)

    def _fenced(self, writer: RedisWriter) -> None:
        self._worker.done(writer)
        self._tails.release(writer.key)

    def _loader(self, log: bytes) -> Load:
        async def load(position: int) -> list[bytes]:
            frames: list[bytes] = await self._commands.run(READ, (log,), position, READ_BYTES)
            if not frames:
                raise LogUnavailableError("Redis has these frames no more")
            return frames

        return load


def _taken(fields: list[bytes]) -> Taken:
    stream, body = fields
    return Taken(stream.decode(), body.decode())
