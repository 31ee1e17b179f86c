"""The client for providers: what a call is, how long it may take, what its failures mean.

One shared client; per call five timers, all in seconds: connect, headers (until the response head),
first token (until the caller reports content), idle (silence while a read waits; any byte ends it)
and total. Never follows redirects, never uses proxies from the environment, never asks for a
compressed body, and caps what it reads. Whatever goes wrong comes out as a ``ProviderError``;
leaving the ``async with`` closes the connection unless the body was read to its end.

A request that met a connection which the provider was just closing is sent once more, on a new one:
that is no failure of the provider, and neither the retries nor the breakers hear of it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec
from yarl import URL

from tellstream.core.errors import ProviderError
from tellstream.providers.base import Dialect, Sink, UpstreamRequest
from tellstream.providers.exchange import Connection, MalformedResponseError
from tellstream.providers.pool import Origin, Pool

MAX_ERROR_BYTES: Final = 64 * 1024
"""Of a failed response's body; enough for any error document."""
MAX_BODY_BYTES: Final = 32 * 1024 * 1024
"""Of one response. Providers spend about 300 bytes on a token: some 100,000 tokens."""
FINISH_GRACE: Final = 5.0
"""Seconds of silence after a finish reason before the end counts: usage usually follows it."""
LINGER: Final = 0.25
"""Seconds to wait for the end of a body after its terminal marker, to reuse the connection."""
STALE_SECONDS: Final = 1.0
"""After sending on a connection kept open, within which its loss means that the provider had closed
it: that news was under way. Later the provider may have read the request, and that is a failure."""
MIN_TIMER: Final = 0.001
"""Seconds; a timer that is re-armed never spins."""
MAX_TARGETS: Final = 1000
"""Addresses whose parts are remembered: of models, not of requests."""
_SUCCESS: Final = range(200, 300)


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds; see the module docstring."""

    connect: float = 5.0
    headers: float = 30.0
    first_token: float = 60.0
    idle: float = 30.0
    total: float = 600.0


class _Target(NamedTuple):
    """Where a request goes, and its first lines."""

    origin: Origin
    head: str


@lru_cache(MAX_TARGETS)
def _target(address: str) -> _Target:
    url = URL(address)
    host, port = url.raw_host, url.port
    if url.scheme not in {"http", "https"} or not host or port is None:
        raise ValueError("not an address of a provider")
    if url.raw_user is not None or url.raw_password is not None:
        raise ValueError("an address with a user name or password")
    named = f"[{host}]" if ":" in host else host
    if not url.is_default_port():
        named = f"{named}:{port}"
    head = f"POST {url.raw_path_qs} HTTP/1.1\r\nHost: {named}\r\n"
    return _Target(Origin(host, port, tls=url.scheme == "https"), head)


def _written(target: _Target, request: UpstreamRequest) -> bytes:
    """Write a request.

    Raises:
        ValueError: a field cannot be sent, or could not be told from the next one. It is not
            quoted: fields hold credentials.
    """
    fields = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    size = len(request.headers)
    if fields.count("\n") != size or fields.count("\r") != size or "\0" in fields:
        raise ValueError("a header field holds a line end or NUL")
    head = f"{target.head}{fields}Content-Length: {len(request.body)}\r\n\r\n"
    try:
        return head.encode("latin-1") + request.body
    except UnicodeEncodeError:
        raise ValueError("a header field holds a character beyond Latin-1") from None


class Upstream:
    """The shared client. Start it inside a running loop, close it at the end."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._pool: Pool | None = None

    async def start(self) -> None:
        """Open the connection pool."""
        self._pool = Pool()

    async def close(self) -> None:
        """Close all connections."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()

    @asynccontextmanager
    async def call(
        self, dialect: Dialect, request: UpstreamRequest, total_at: float
    ) -> AsyncIterator["UpstreamBody"]:
        """Send ``request`` and give access to the body of a successful response.

        Args:
            dialect: says what a failed response means.
            request: what to send.
            total_at: loop time at which the total timer of the stream expires.

        Raises:
            ProviderError: no usable response; see ``core.errors``.
        """
        pool = self._pool
        assert pool is not None, "Upstream.start() was not called"
        opened_at = asyncio.get_running_loop().time()
        try:
            target = _target(request.url)
            data = _written(target, request)
        except ValueError as error:
            raise ProviderError("provider_protocol", reason=repr(error)) from error
        deadline = min(opened_at + self._timeouts.headers, total_at)
        connection = await self._answered(pool, target.origin, data, deadline)
        try:
            if connection.status not in _SUCCESS:
                raise await self._failure(dialect, connection, total_at)
            encoding = connection.headers.get("content-encoding", "identity").lower()
            if encoding != "identity":
                raise ProviderError("provider_protocol", reason=f"content encoding {encoding}")
            body = UpstreamBody(connection, self._timeouts, opened_at, total_at)
            try:
                yield body
            finally:
                body.disarm()
        finally:
            pool.release(target.origin, connection)

    async def _answered(
        self, pool: Pool, origin: Origin, data: bytes, deadline: float
    ) -> Connection:
        """Send a request, and wait for the head of its response; the caller gives back."""
        idle = pool.idle(origin)
        while True:
            connection = idle or await self._connected(pool, origin, deadline)
            answered = False
            try:
                answered = await self._exchanged(connection, data, deadline)
            finally:
                if not answered:
                    pool.release(origin, connection)
            if answered:
                return connection
            idle = None  # a new one is never stale: this ends

    async def _connected(self, pool: Pool, origin: Origin, deadline: float) -> Connection:
        connect_at = asyncio.get_running_loop().time() + self._timeouts.connect
        try:
            async with asyncio.timeout_at(min(connect_at, deadline)):
                return await pool.acquire(origin, fresh=True)
        except TimeoutError as error:
            raise _late() from error
        except (OSError, UnicodeError) as error:
            raise _unreachable(error) from error

    async def _exchanged(self, connection: Connection, data: bytes, deadline: float) -> bool:
        """Send, and wait for the head; False: the connection was stale."""
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        timer = loop.call_at(deadline, lambda: connection.fail(_late()))
        try:
            connection.send(data)
            await connection.head()
        except MalformedResponseError as error:
            raise ProviderError("provider_protocol", reason=repr(error)) from error
        except OSError as error:
            reused = connection.exchanges > 1
            if reused and connection.unanswered() and loop.time() - sent_at <= STALE_SECONDS:
                return False
            raise _unreachable(error) from error
        finally:
            timer.cancel()
        return True

    async def _failure(
        self, dialect: Dialect, connection: Connection, total_at: float
    ) -> ProviderError:
        body = b""
        deadline = asyncio.get_running_loop().time() + self._timeouts.headers
        try:
            async with asyncio.timeout_at(min(deadline, total_at)):
                while len(body) < MAX_ERROR_BYTES:
                    chunk = await connection.read()
                    if not chunk:
                        break
                    body += chunk
        except (TimeoutError, ValueError):
            pass  # the status alone must do
        return dialect.error(connection.status, connection.headers, body[:MAX_ERROR_BYTES])


def _late() -> ProviderError:
    return ProviderError("provider_timeout", reason="connect or headers", network=True)


def _unreachable(error: Exception) -> ProviderError:
    return ProviderError("provider_unavailable", reason=repr(error), network=True)


class UpstreamBody:
    """The body of one successful response, read as it arrives.

    One lazily re-armed timer serves first token, idle, total and the grace after a finish reason,
    so a read costs one clock reading.

    Attributes:
        broken: why the connection was lost before the end of the body, or None.
    """

    def __init__(
        self,
        connection: Connection,
        timeouts: Timeouts,
        opened_at: float,
        total_at: float,
    ) -> None:
        self._connection = connection
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._time: Callable[[], float] = self._loop.time
        self._total_at = total_at
        self._first_at: float | None = opened_at + timeouts.first_token
        self._silence = timeouts.idle
        self._reading_since: float | None = None  # what the caller does between reads is no silence
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self.broken: str | None = None
        self._watch()

    def content_seen(self) -> None:
        """Content arrived: from now on silence counts, not the first token timer."""
        self._first_at = None

    def finish_seen(self) -> None:
        """A finish reason arrived: little more will follow, so wait less for it."""
        self.content_seen()
        if self._silence > FINISH_GRACE:
            self._silence = FINISH_GRACE
            if not self._connection.complete:  # else nothing more is waited for
                self._rearm()

    async def read(self) -> bytes:
        """Read whatever arrived; empty at the end of the body, also if the connection broke.

        Raises:
            ProviderError: ``provider_timeout``; ``stream_too_large`` beyond ``MAX_BODY_BYTES``.
        """
        self._reading_since = self._time()
        try:
            chunk = await self._connection.read()
        finally:
            self._reading_since = None
        self._count(chunk)
        self.broken = self._connection.broken
        return chunk

    async def flow(self, sink: Sink) -> None:
        """Give ``sink`` what arrives, in the call in which it arrives, as long as it wants more.

        Returns when it does not, or at the end of the body.

        Raises:
            ProviderError: as ``read``; what ``sink`` raises.
        """

        def pour(chunk: bytes) -> bool:
            self._reading_since = self._time()
            self._count(chunk)
            return sink(chunk)

        self._reading_since = self._time()
        try:
            await self._connection.flow(pour)
        finally:
            self._reading_since = None
        self.broken = self._connection.broken

    def hold(self) -> None:
        """Give the sink nothing more until ``release``; no silence counts meanwhile."""
        self._reading_since = None
        self._connection.hold()

    def release(self) -> None:
        """Give the sink what arrived meanwhile, and go on."""
        self._reading_since = self._time()
        self._connection.release()

    def stop(self) -> None:
        """Let ``flow`` return."""
        self._connection.stop()

    async def linger(self) -> None:
        """Read on to the end of the body for a moment, so that the connection can be reused."""
        if self._connection.complete and not await self._connection.read():
            return
        try:
            async with asyncio.timeout(LINGER):
                while await self._connection.read():
                    pass
        except (TimeoutError, ProviderError):
            pass  # then the connection is closed instead

    def disarm(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _count(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > MAX_BODY_BYTES:
            raise ProviderError("stream_too_large", reason="upstream body")

    def _deadline(self, now: float) -> tuple[float, str]:
        if self._first_at is not None:
            nearest = (self._first_at, "first token")
        else:
            since = now if self._reading_since is None else self._reading_since
            nearest = (since + self._silence, "idle")
        return min(nearest, (self._total_at, "total"))

    def _watch(self) -> None:
        """Expire the read that waits, or sleep until the earliest time that could be needed."""
        now = self._time()
        deadline, name = self._deadline(now)
        if now < deadline:
            # From the first content on, silence may end sooner than the first token's deadline.
            look_at = max(min(deadline, now + self._silence), now + MIN_TIMER)
            self._timer = self._loop.call_at(look_at, self._watch)
            return
        self._timer = None
        self._connection.fail(ProviderError("provider_timeout", reason=name))

    def _rearm(self) -> None:
        self.disarm()
        self._watch()
