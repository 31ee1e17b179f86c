"""One connection to Redis, with one exchange at a time; nothing is tried again here."""

import asyncio
import math
from collections.abc import Iterable
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import hiredis
from redis.asyncio.connection import Connection, parse_url
from redis.exceptions import NoScriptError, RedisError, ResponseError

from tellstream.eventlog.base import LogSetupError
from tellstream.eventlog.redis_scripts import SCRIPTS

EXCHANGE_SECONDS: Final = 1.0
"""For which Redis may be silent; it answers in a millisecond, and while its disk is slow in some
hundred. Also the time for a connection to be made."""

TURNS: Final = 10
"""Of the event loop, at least, before Redis counts as silent: in a process that is short of CPU a
second may pass between two looks at the socket, with the reply waiting there."""

_OPTIONS: Final = {"host", "port", "db", "username", "password", "connection_class"}

Word: TypeAlias = bytes | str | int
Command: TypeAlias = tuple[Word, ...]


class LinkError(Exception):
    """An exchange failed. What was sent may have been executed."""


class Address:
    """Where Redis is and how to get in; shows only where.

    Args:
        url: ``redis://[user:password@]host[:port][/db]`` or ``rediss://…``; the query may hold the
            ``ssl_…`` options of redis-py.

    Raises:
        LogSetupError: it cannot be understood.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            options: dict[str, Any] = dict(parse_url(url))
            self.shown = f"{parts.hostname or 'localhost'}:{parts.port or 6379}"
            database = parts.path.strip("/")
            valid = not database or database.isdecimal()
            valid &= all(name in _OPTIONS or name.startswith("ssl_") for name in options)
        except ValueError:
            valid = False
        if not valid:  # outside of the handler: the cause may hold a part of the address
            raise LogSetupError("eventlog.url must be redis://[user:password@]host[:port][/db].")
        self._kind: type[Connection] = options.pop("connection_class", Connection)
        self._options = options

    def __repr__(self) -> str:
        return f"<Redis at {self.shown}>"

    def connection(self) -> Connection:
        """Make a connection that is not open yet."""
        return self._kind(
            **self._options,
            protocol=2,
            socket_timeout=None,  # an exchange has one deadline for all
            socket_connect_timeout=EXCHANGE_SECONDS,
            driver_info=None,
        )


def pack(command: Iterable[Word]) -> bytes:
    """Write one command as it goes over the wire."""
    packed: bytes = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]
    return packed


class Link:
    """One connection, opened when it is needed and closed by whatever goes wrong.

    Args:
        address: of Redis.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection: Any = None  # redis-py's connections are not typed

    async def exchange(
        self, packed: bytes, replies: int, seconds: float = EXCHANGE_SECONDS
    ) -> list[Any]:
        """Send packed commands, and return the reply to each; a refusal is returned too.

        Raises:
            LinkError: there is no connection, or it broke, or was silent for ``seconds``.
        """
        try:
            async with asyncio.timeout(None) as deadline:
                patience = _Patience(deadline, seconds)
                try:
                    if self._connection is None:
                        await self._open()
                    connection = self._connection
                    await connection.send_packed_command(packed, check_health=False)
                    return [await self._reply(connection) for _ in range(replies)]
                finally:
                    patience.end()
        except (RedisError, OSError) as error:  # a TimeoutError is an OSError
            await self.close()
            raise LinkError(f"Redis at {self._address.shown}: {_words(error)}") from error
        except BaseException:  # cancelled: the replies would answer the next exchange
            await self.close()
            raise

    async def close(self) -> None:
        """Close the connection; the next exchange opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _open(self) -> None:
        """Connect, and load the scripts, which a Redis that was restarted has forgotten."""
        connection: Any = self._address.connection()
        try:
            await connection.connect()
            loads = [pack(("SCRIPT", "LOAD", script.source)) for script in SCRIPTS]
            await connection.send_packed_command(b"".join(loads), check_health=False)
            for _ in loads:
                await connection.read_response(timeout=math.inf)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._connection = connection

    async def _reply(self, connection: Any) -> Any:
        try:
            return await connection.read_response(timeout=math.inf, disconnect_on_error=False)
        except NoScriptError:
            raise  # somebody emptied the cache of scripts: connect again, which loads them
        except ResponseError as refusal:
            return refusal


class _Patience:
    """Lets a deadline pass after some seconds, in which the loop has looked at its sockets often.

    Args:
        deadline: has none yet.
        seconds: until it passes, if the loop is not late.
    """

    __slots__ = ("_deadline", "_left", "_loop", "_pause", "_timer")

    def __init__(self, deadline: asyncio.Timeout, seconds: float) -> None:
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._pause = seconds / TURNS
        self._left = TURNS
        self._timer = self._loop.call_later(self._pause, self._turn)

    def end(self) -> None:
        """Wait no more."""
        self._timer.cancel()

    def _turn(self) -> None:
        self._left -= 1
        if self._left:
            self._timer = self._loop.call_later(self._pause, self._turn)
        else:
            self._deadline.reschedule(self._loop.time())


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return f"{type(error).__name__}: {error}"
