"""One HTTP/1.1 connection to a provider, and the exchange that runs on it.

Bytes are parsed in the call in which the socket delivers them (httptools, which is Node's parser),
and the body goes to whoever reads it in that same call: a task is woken only if it asks to be.
Source: RFC 9112. One exchange at a time, no pipelining, no upgrade; responses without a length end
with the connection.
"""

import asyncio
from typing import Final, cast

import httptools

from tellstream.providers.base import Sink

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of a response's head; providers send some hundred bytes."""
BUFFER_BYTES: Final = 128 * 1024
"""Of a body that nobody has read yet; beyond it the socket is not read (back-pressure)."""
_INFORMATIONAL: Final = range(100, 200)
_SWITCHING: Final = 101


class BrokenConnectionError(OSError):
    """The connection was lost before the response was whole."""


class MalformedResponseError(ValueError):
    """What the provider sent is not HTTP, or too much of it."""


class Connection(asyncio.Protocol):
    """A connection.

    Attributes:
        closed: it cannot be used any more.
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
        self._head_bytes = self._unparsed = 0
        self._in_head = True
        self._framed = False
        self._keep_alive = False
        self._error: BaseException | None = None
        self.closed = False
        self.status = 0
        self.headers: dict[str, str] = {}
        self.complete = False
        self.broken: str | None = None

    # -- the exchange -----------------------------------------------------------------------------

    def send(self, request: bytes) -> None:
        """Begin an exchange with a whole request."""
        assert self._transport is not None
        self._parser = httptools.HttpResponseParser(self)
        self._error = None
        self.complete = self._framed = self._keep_alive = False
        self.broken = None
        self._expect_head()
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

    def fail(self, error: BaseException) -> None:
        """Let whoever reads fail with this."""
        if self._error is None:
            self._error = error
            self._wake()

    def reusable(self) -> bool:
        """Whether another exchange may follow this one."""
        return self.complete and self._keep_alive and not self.closed and self._error is None

    def close(self) -> None:
        """Close at once."""
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
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._malformed(str(error.__context__ or error))
        if self._in_head:  # fields are counted one by one; this is what is not whole yet
            self._unparsed += len(data)
            if self._unparsed > MAX_HEAD_BYTES:
                self._malformed("the head is too large")
        if self._sink is not None and self._pieces and self._error is None and not self._held:
            self._pour(self._sink)
        elif self._waiting > BUFFER_BYTES and not self._paused and not self.closed:
            self._paused = True
            assert self._transport is not None
            self._transport.pause_reading()
        if self._sink is None or self.complete:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the body where nothing else says its end; else it is broken."""
        self.closed = True
        if not self.complete:
            if self._in_head or self._framed:
                self.broken = self.broken or repr(exc or "closed by the provider")
            else:
                self.complete = True
        self._wake()

    # -- httptools --------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head; those after the body are not used."""
        if not self._in_head:
            return
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise MalformedResponseError("the head is too large")
        key = name.decode("latin-1").lower()
        self.headers[key] = value.decode("latin-1")
        if key in {"content-length", "transfer-encoding"}:
            self._framed = True

    def on_headers_complete(self) -> None:
        """The head is here."""
        assert self._parser is not None
        self.status = self._parser.get_status_code()
        if self.status not in _INFORMATIONAL or self.status == _SWITCHING:
            self._in_head = False

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
        self._keep_alive = self._parser.should_keep_alive()
        self.complete = True

    # -- plumbing ---------------------------------------------------------------------------------

    def _malformed(self, reason: str) -> None:
        self.broken = f"malformed response: {reason}"
        if self._in_head:
            self.fail(MalformedResponseError(reason))
        self.close()
        self._wake()

    def _expect_head(self) -> None:
        self._in_head = True
        self._head_bytes = self._unparsed = 0
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
