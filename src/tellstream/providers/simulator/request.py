"""Reads HTTP/1.1 requests from bytes, within limits. Sans-IO: httptools parses, this gathers.

Invariant: whatever the bytes and however they are divided, the result is whole requests, in order,
or one ProtocolError after which nothing more is read. No request exceeds the limits below.
"""

from typing import Final

import httptools
import msgspec

MAX_BODY_BYTES: Final = 4 << 20  # a chat request with a long history is far below
MAX_HEAD_BYTES: Final = 64 << 10


class ProtocolError(Exception):
    """Bytes that are not a request this server reads; ``status`` is the answer to it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Request(msgspec.Struct, frozen=True):
    """One complete request. ``path`` includes the query; header names are in lower case."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    keep_alive: bool


class RequestReader:
    """Feed it bytes; it returns the requests they complete."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._complete: list[Request] = []
        self._refusal: ProtocolError | None = None
        self.expects_continue = False
        self.on_message_begin()

    def feed(self, data: bytes) -> list[Request]:
        """Read more bytes.

        Raises:
            ProtocolError: the connection must be answered with its status and closed.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise ProtocolError(400, "This server does not upgrade connections.") from None
        except httptools.HttpParserError:
            raise self._refusal or ProtocolError(400, "This is not HTTP/1.1.") from None
        self._fed += len(data)
        if self._in_head and self._fed > MAX_HEAD_BYTES:
            raise ProtocolError(431, "The request head is too large.")
        complete, self._complete = self._complete, []
        return complete

    # What the parser calls. What they raise stops it; feed() raises it again.

    def on_message_begin(self) -> None:
        """Forget the previous request."""
        self._in_head = True
        self._fed = self._body_bytes = 0
        self._path: list[bytes] = []
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        """Take a piece of the path."""
        self._path.append(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """Refuse what is foreseeably too much."""
        self._in_head = False
        if self._parser.get_http_version() != "1.1":
            self._refuse(505, "Only HTTP/1.1 is spoken here.")
        for name, value in self._headers:
            if name == "content-length" and int(value) > MAX_BODY_BYTES:
                self._refuse(413, f"The body is larger than {MAX_BODY_BYTES} bytes.")
            if name == "expect" and value.lower() == "100-continue":
                self.expects_continue = True

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._body_bytes += len(data)
        if self._body_bytes > MAX_BODY_BYTES:
            self._refuse(413, f"The body is larger than {MAX_BODY_BYTES} bytes.")
        self._body.append(data)

    def on_message_complete(self) -> None:
        """Put the request together."""
        self.expects_continue = False
        request = Request(
            self._parser.get_method().decode("ascii"),
            b"".join(self._path).decode("latin-1"),
            self._headers,
            b"".join(self._body),
            self._parser.should_keep_alive(),
        )
        self._complete.append(request)

    def _refuse(self, status: int, message: str) -> None:
        self._refusal = ProtocolError(status, message)
        raise self._refusal
