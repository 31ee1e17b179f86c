"""One HTTP/1.1 connection to a provider, and the exchange that runs on it.

Bytes are parsed in the call in which the socket delivers them (httptools, which is Node's parser),
and the body goes to whoever reads it in that same call: a task is woken only if it asks to be.
Source: RFC 9112. One exchange at a time, no pipelining, no upgrade, no transfer coding but
``chunked``; a response without a length ends where the provider closes in an orderly way. Whatever
a provider sends beyond its response ends the connection and is never taken for the next response.
"""

import asyncio
from typing import Final, cast

import httptools

from tellstream.providers.base import Sink

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of a response's head, informational responses before it included; providers send some hundred
bytes. And of what stands between two pieces of a body: sizes, extensions, the trailer section."""
BUFFER_BYTES: Final = 128 * 1024
"""Of a body that nobody has read yet; beyond it the socket is not read (back-pressure)."""
_INFORMATIONAL: Final = range(100, 200)
_SWITCHING: Final = 101
_PERSISTENT: Final = "1.1"
_VERSIONS: Final = {"1.0", _PERSISTENT}


class BrokenConnectionError(OSError):
    """The connection was lost before the response was whole."""


class MalformedResponseError(ValueError):
    """What the provider sent is not HTTP, or too much of it."""


_FAULTS: Final = (httptools.HttpParserError, httptools.HttpParserUpgrade, MalformedResponseError)


class Connection(asyncio.Protocol):
    """A connection.

    Attributes:
        closed: it cannot be used any more.
        exchanges: how many began on it.
        status: of the response, once its head is here.
        headers: of the response, names in lower case; the last one of a name counts.
        complete: the body is whole.
        broken: why it never will be, or None.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._pieces: list[bytes] = []
        self._waiting = 0  # bytes of pieces
        self._sink: Sink | None = None
        self._paused = False
        self._held = False
        self._overhead = 0  # bytes since the exchange began, or the last piece of its body
        self._in_head = True
        self._framed = False
        self._ended = False
        self._persistent = self._keep_alive = False
        self._error: Exception | None = None
        self.closed = False
        self.exchanges = 0
        self.status = 0
        self.headers: dict[str, str] = {}
        self.complete = False
        self.broken: str | None = None

    # -- the exchange -----------------------------------------------------------------------------

    def send(self, request: bytes) -> None:
        """Begin an exchange with a whole request.

        Raises:
            BrokenConnectionError: the connection was lost before.
        """
        self.exchanges += 1
        self._error = None
        self._pieces = []
        self._waiting = self._overhead = 0
        self.complete = self._keep_alive = False
        self.broken = None
        self._expect_head()
        if self._transport is None or self.closed or self._transport.is_closing():
            raise BrokenConnectionError("closed before the request")
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)

    async def head(self) -> None:
        """Wait for the head of the response; sets ``status`` and ``headers``.

        Raises:
            BrokenConnectionError: the connection was lost before.
            MalformedResponseError: it is not HTTP.
        """
        while self._in_head:
            if self._error is not None:
                raise self._error
            if self.closed:
                raise BrokenConnectionError(self.broken or "closed")
            await self._wait()

    async def read(self) -> bytes:
        """Read whatever arrived; empty at the end of the body, also if it is ``broken``.

        Raises:
            Exception: what ``fail`` was given, after what had arrived before.
        """
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self.complete or self.closed:
                return b""
            await self._wait()
        return self._take()

    async def flow(self, sink: Sink) -> None:
        """Give ``sink`` what arrives, as it arrives, until it wants no more or nothing follows.

        Raises:
            Exception: what ``fail`` was given, or what ``sink`` raised.
        """
        if self._error is None and self._pieces and not sink(self._take()):
            return
        self._sink = sink
        try:
            while self._sink is sink and self._error is None:
                if (self.complete or self.closed) and not self._pieces:
                    return
                await self._wait()
            if self._sink is sink and self._error is not None:
                raise self._error
        finally:
            self._sink = None
            self._held = False

    def hold(self) -> None:
        """Give the sink of ``flow`` nothing until ``release``."""
        self._held = True

    def release(self) -> None:
        """Give the sink of ``flow`` what arrived since ``hold``."""
        self._held = False
        if self._sink is not None and self._error is None:
            if self._pieces:
                self._pour(self._sink)
            if self.complete or self.closed:
                self._wake()

    def stop(self) -> None:
        """Let ``flow`` return."""
        self._sink = None
        self._wake()

    def fail(self, error: Exception) -> None:
        """Let whoever reads fail with this, unless the response is whole."""
        if self._error is None and not self.complete:
            self._error = error
            self._wake()

    def unanswered(self) -> bool:
        """Whether no byte of a response to the last request has arrived."""
        return self._in_head and not self._overhead

    def reusable(self) -> bool:
        """Whether another exchange may follow this one: nothing of it is left on either side."""
        transport = self._transport
        return (
            self.complete
            and self._keep_alive
            and not self.closed
            and self._error is None
            and not self._pieces
            and transport is not None
            and not transport.is_closing()
            # Else it answered before it had read all. Over TLS what is encrypted does not show, and
            # the next request waits behind it.
            and not transport.get_write_buffer_size()
        )

    def close(self) -> None:
        """Close at once; what is not whole never will be."""
        if not self.complete and not self._ended:
            self.broken = self.broken or "closed before the end"
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, and pass the body on."""
        parser = self._parser
        if parser is None or self.complete:
            self.close()  # nobody asked for this
            return
        before = self._waiting
        try:
            if self._in_head:
                self._feed_head(parser, data)
            else:
                parser.feed_data(data)
                self._overhead = 0 if self._waiting > before else self._overhead + len(data)
        except _FAULTS as error:
            self._refuse(str(error.__context__ or error))
        else:
            if self._overhead > MAX_HEAD_BYTES:
                self._refuse("too much between two pieces of a body")
        if self._sink is not None and self._pieces and self._error is None and not self._held:
            self._pour(self._sink)
        elif self._waiting > BUFFER_BYTES and not self._paused and not self.closed:
            self._paused = True
            assert self._transport is not None
            self._transport.pause_reading()
        if self._sink is None or self.complete:
            self._wake()

    def eof_received(self) -> None:
        """The provider ended its side in an orderly way: over TLS, with a closing alert."""
        self._ended = True
        self.close()  # the transport alone would wait until the provider has read the request

    def connection_lost(self, exc: Exception | None) -> None:
        """End the body where nothing else says its end; else it is broken."""
        self.closed = True
        if not self.complete:
            if self._ended and exc is None and not self._in_head and not self._framed:
                self.complete = True
            else:
                self.broken = self.broken or (repr(exc) if exc else "closed before the end")
        self._parser = None  # they hold each other
        self._wake()

    # -- httptools --------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """One response is asked for; what follows it must not become part of it."""
        if self.complete:
            raise MalformedResponseError("more than one response")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head; those after the body are not used."""
        if not self._in_head:
            return
        key = name.decode("latin-1").lower()
        if key == "transfer-encoding":
            if key in self.headers or value.strip().lower() != b"chunked":
                raise MalformedResponseError("a transfer coding that was not asked for")
            self._framed = True
        elif key == "content-length":
            self._framed = True
        self.headers[key] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is here, or an informational one before it."""
        assert self._parser is not None
        self.status = self._parser.get_status_code()
        version = self._parser.get_http_version()
        if version not in _VERSIONS:
            raise MalformedResponseError(f"HTTP {version}")
        if self.status == _SWITCHING:
            raise MalformedResponseError("switching protocols was not asked for")
        if self.status not in _INFORMATIONAL:
            self._in_head = False
            self._persistent = version == _PERSISTENT
        elif self._framed and self.headers.get("content-length", "").strip() != "0":
            raise MalformedResponseError("an informational response with a body")

    def on_body(self, body: bytes) -> None:
        """Collect a piece."""
        self._pieces.append(body)
        self._waiting += len(body)

    def on_message_complete(self) -> None:
        """The response is whole, or it was an informational one and the response follows."""
        if self._in_head:
            self._expect_head()
            return
        assert self._parser is not None
        self._keep_alive = self._persistent and self._parser.should_keep_alive()
        self.complete = True

    # -- plumbing ---------------------------------------------------------------------------------

    def _feed_head(self, parser: httptools.HttpResponseParser, data: bytes) -> None:
        """Parse what arrived, but never more of a head than is allowed, however it is cut."""
        room = MAX_HEAD_BYTES - self._overhead
        self._overhead += len(data)
        parser.feed_data(data[:room])
        if not self._in_head:
            self._overhead = 0
            if len(data) > room:
                parser.feed_data(data[room:])
        elif len(data) >= room:
            raise MalformedResponseError("the head is too large")

    def _refuse(self, reason: str) -> None:
        """End the connection; a response that is whole stands."""
        if not self.complete:
            self.broken = f"malformed response: {reason}"
            if self._in_head:
                self.fail(MalformedResponseError(reason))
        self.close()
        self._wake()

    def _expect_head(self) -> None:
        self._in_head = True
        self._framed = False
        self.status = 0
        self.headers = {}

    def _take(self) -> bytes:
        pieces = self._pieces
        self._pieces = []
        self._waiting = 0
        if self._paused:
            self._paused = False
            if not self.closed and self._transport is not None:
                self._transport.resume_reading()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _pour(self, sink: Sink) -> None:
        try:
            if sink(self._take()):
                return
            self._sink = None
        except Exception as error:  # noqa: BLE001 - raised where the sink was given
            self._error = error
        self._wake()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
