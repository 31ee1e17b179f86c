"""uvicorn's HTTP/1.1 protocol with the deadlines it lacks.

uvicorn waits for ever for a request head, takes heads of any size, and keeps a connection whose
client stopped reading. Here a connection must deliver a head within ``HEAD_SECONDS`` and
``MAX_HEAD_BYTES``, and must take what is written within ``WRITE_SECONDS``; otherwise it is closed.
Bodies have their own deadline (body.py), idle keep-alive connections uvicorn's.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tellstream.core.errors import RequestError
from tellstream.server.asgi import encode
from tellstream.server.errors import error_body
from tellstream.server.pipe import PIPE, Pipe

HEAD_SECONDS: Final = 10.0
"""From the first byte allowed to the end of the request head."""
MAX_HEAD_BYTES: Final = 32 * 1024
"""Of one request head: an 8 KiB token fits four times."""
WRITE_SECONDS: Final = 30.0
"""For which a client may refuse to read before its connection is closed."""


def _refusal(status: bytes, body: bytes) -> bytes:
    return (
        b"HTTP/1.1 %b\r\nconnection: close\r\ncache-control: no-store\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
    ) % (status, len(body), body)


_TIMEOUT: Final = _refusal(
    b"408 Request Timeout", encode(error_body(RequestError("request_timeout")))
)
_TOO_LARGE: Final = _refusal(
    b"431 Request Header Fields Too Large",
    encode(error_body(RequestError("payload_too_large", "The request head is too large."))),
)


_MALFORMED: Final = _refusal(
    b"400 Bad Request", encode(error_body(RequestError("invalid_request", "This is not HTTP.")))
)


class _HeadTooLargeError(Exception):
    """Ends the parsing of a head."""


class DeadlineProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._field_bytes = 0
        self._in_head = True
        self._pipe: Pipe | None = None  # of the last request

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the head's deadline: a client that connects must speak."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all deadlines."""
        self._stop_timers()
        super().connection_lost(exc)
        if self._pipe is not None:
            self._pipe.lost()

    def data_received(self, data: bytes) -> None:
        """Count the bytes of a head while one arrives."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._expect_head()
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(_TOO_LARGE)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._field_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count the fields too: a head can be whole within one read."""
        self._field_bytes += len(name) + len(value)
        if self._field_bytes > MAX_HEAD_BYTES:
            raise _HeadTooLargeError  # ends the parsing; see send_400_response
        super().on_header(name, value)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        """Answer what is no HTTP, or too much of it."""
        if self._field_bytes > MAX_HEAD_BYTES:
            self._refuse(_TOO_LARGE)
        else:
            self._refuse(_MALFORMED)

    def on_headers_complete(self) -> None:
        """The head is here."""
        self._in_head = False
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        super().on_headers_complete()
        if not self.transport.is_closing():
            self._pipe = Pipe(self.cycle)
            self.scope["extensions"] = {PIPE: {"pipe": self._pipe}}

    def on_message_complete(self) -> None:
        """The next bytes begin another head."""
        super().on_message_complete()
        self._in_head = True

    def pause_writing(self) -> None:
        """The client does not read as fast as we write; it has this long to catch up."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client caught up."""
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_late)

    def _head_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._refuse(_TIMEOUT)

    def _refuse(self, response: bytes) -> None:
        self.transport.write(response)
        self.transport.close()

    def _stop_timers(self) -> None:
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._write_timer = None
