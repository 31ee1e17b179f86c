"""The only file that opens an upstream connection.

One shared client; per call five timers, all in seconds: connect, headers (until the response head),
first token (until the caller reports content), idle (silence while a read waits; any byte ends it)
and total. Never follows redirects, never uses proxies from the environment, never asks for a
compressed body, and caps what it reads. Whatever goes wrong comes out as a ``ProviderError``;
leaving the ``async with`` closes the connection unless the body was read to its end.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
import msgspec

from tellstream.core.errors import ProviderError
from tellstream.providers.base import Dialect, UpstreamRequest

MAX_CONNECTIONS: Final = 10_000
"""Upstream connections of one process; streams beyond it wait for the connect timer."""
MAX_ERROR_BYTES: Final = 64 * 1024
"""Of a failed response's body; enough for any error document."""
MAX_BODY_BYTES: Final = 32 * 1024 * 1024
"""Of one response. Providers spend about 300 bytes on a token: some 100,000 tokens."""
READ_BUFFER_BYTES: Final = 64 * 1024
"""Per connection; above twice this the socket is not read any more (back-pressure)."""
FINISH_GRACE: Final = 5.0
"""Seconds of silence after a finish reason before the end counts: usage usually follows it."""
LINGER: Final = 0.25
"""Seconds to wait for the end of a body after its terminal marker, to reuse the connection."""
MIN_TIMER: Final = 0.001
"""Seconds; a timer that is re-armed never spins."""


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds; see the module docstring."""

    connect: float = 5.0
    headers: float = 30.0
    first_token: float = 60.0
    idle: float = 30.0
    total: float = 600.0


class Upstream:
    """The shared client. Start it inside a running loop, close it at the end."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the connection pool."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_BUFFER_BYTES,
            skip_auto_headers=("Accept", "Accept-Encoding"),
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

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
        loop = asyncio.get_running_loop()
        opened_at = loop.time()
        response = await self._open(request, min(opened_at + self._timeouts.headers, total_at))
        try:
            if not response.ok or response.status >= 300:  # noqa: PLR2004 - only 2xx is an answer
                raise await self._failure(dialect, response)
            encoding = response.headers.get("Content-Encoding", "identity").lower()
            if encoding != "identity":
                raise ProviderError("provider_protocol", reason=f"content encoding {encoding}")
            body = UpstreamBody(response, self._timeouts, opened_at, total_at)
            try:
                yield body
            finally:
                body.disarm()
        finally:
            response.close()  # a no-op once the body was read to its end

    async def _open(self, request: UpstreamRequest, deadline: float) -> aiohttp.ClientResponse:
        assert self._session is not None, "Upstream.start() was not called"
        try:
            async with asyncio.timeout_at(deadline):
                return await self._session.post(
                    request.url, data=request.body, headers=request.headers, allow_redirects=False
                )
        except TimeoutError as error:  # also aiohttp's own, for the connect timer
            raise ProviderError(
                "provider_timeout", reason="connect or headers", network=True
            ) from error
        except aiohttp.ClientResponseError as error:
            raise ProviderError("provider_protocol", reason=repr(error)) from error
        except (aiohttp.InvalidURL, ValueError) as error:
            raise ProviderError("provider_protocol", reason=repr(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ProviderError("provider_unavailable", reason=repr(error), network=True) from error

    async def _failure(self, dialect: Dialect, response: aiohttp.ClientResponse) -> ProviderError:
        body = b""
        try:
            async with asyncio.timeout(self._timeouts.headers):
                while len(body) < MAX_ERROR_BYTES:
                    chunk = await response.content.readany()
                    if not chunk:
                        break
                    body += chunk
        except (TimeoutError, aiohttp.ClientError, OSError):
            pass  # the status alone must do
        headers = {name.lower(): value for name, value in response.headers.items()}
        return dialect.error(response.status, headers, body[:MAX_ERROR_BYTES])


class UpstreamBody:
    """The body of one successful response, read as it arrives.

    One lazily re-armed timer serves first token, idle, total and the grace after a finish reason,
    so a read costs one clock reading.

    Attributes:
        broken: why the connection was lost before the end of the body, or None.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        timeouts: Timeouts,
        opened_at: float,
        total_at: float,
    ) -> None:
        self._content = response.content
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._time: Callable[[], float] = self._loop.time
        self._total_at = total_at
        self._first_at: float | None = opened_at + timeouts.first_token
        self._silence = timeouts.idle
        self._reading_since: float | None = None  # what the caller does between reads is no silence
        self._size = 0
        self._expired: str | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.broken: str | None = None
        self._watch()

    def content_seen(self) -> None:
        """Content arrived: from now on silence counts, not the first token timer."""
        if self._first_at is not None:
            self._first_at = None
            self._rearm()  # silence may end sooner than the first token's deadline

    def finish_seen(self) -> None:
        """A finish reason arrived: little more will follow, so wait less for it."""
        self.content_seen()
        if self._silence > FINISH_GRACE:
            self._silence = FINISH_GRACE
            self._rearm()

    async def read(self) -> bytes:
        """Read whatever arrived; empty at the end of the body, also if the connection broke.

        Raises:
            ProviderError: ``provider_timeout``; ``stream_too_large`` beyond ``MAX_BODY_BYTES``.
        """
        self._reading_since = self._time()
        try:
            chunk = await self._content.readany()
        except TimeoutError as error:
            raise ProviderError("provider_timeout", reason=self._expired) from error
        except (aiohttp.ClientError, OSError) as error:
            self.broken = repr(error)
            return b""
        self._reading_since = None
        self._size += len(chunk)
        if self._size > MAX_BODY_BYTES:
            raise ProviderError("stream_too_large", reason="upstream body")
        return chunk

    async def linger(self) -> None:
        """Read on to the end of the body for a moment, so that the connection can be reused."""
        try:
            async with asyncio.timeout(LINGER):
                while await self._content.readany():
                    pass
        except (TimeoutError, aiohttp.ClientError, OSError):
            pass  # then the connection is closed instead

    def disarm(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

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
            self._timer = self._loop.call_at(max(deadline, now + MIN_TIMER), self._watch)
            return
        self._timer = None
        self._expired = name
        self._content.set_exception(TimeoutError(name))

    def _rearm(self) -> None:
        self.disarm()
        self._watch()
