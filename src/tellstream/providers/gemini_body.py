"""A body of the ``gemini`` dialect, cut into JSON documents.

Normally each is the data of one server-sent event. But Google's servers write an error that happens
after the start as a bare JSON document behind the events, and answer with one JSON array when
``alt=sse`` got lost on the way. A line that begins with ``{`` or ``[`` cannot be SSE, so there the
cutting changes over to counting brackets, and back behind the last of them.

Invariant: any split of the same bytes gives the same documents. What a document means, and whether
it is JSON at all, is the decoder's to say; one that is never completed is given out as it is.
"""

import re
from typing import Final

from tellstream.core.errors import ProviderError
from tellstream.core.sse import MAX_EVENT_BYTES, SseDecoder, SseError

MAX_DOCUMENT_BYTES: Final = MAX_EVENT_BYTES
"""As of one event on the other wires."""
_SPACE: Final = b" \t\r\n"
_INVISIBLE: Final = b"\xef\xbb\xbf" + _SPACE
_OPENING: Final = b"{["
_LINE_ENDS: Final = b"\r\n"
_ELEMENT: Final = 2
"""Depth inside an element of the outermost array."""
_BARE: Final = re.compile(rb"[\r\n][ \t]*[{\[]")
_OUTSIDE: Final = re.compile(rb'["{}\[\]\r\n]')
_INSIDE: Final = re.compile(rb'["\\\r\n]')
"""What matters outside and inside of a JSON string."""


class GeminiBody:
    """Cuts one body.

    Attributes:
        overflow: set once the bytes exceed a size cap.
    """

    def __init__(self) -> None:
        self.overflow: ProviderError | None = None
        self._sse = SseDecoder(MAX_DOCUMENT_BYTES)
        self._untouched = True  # nothing visible came yet
        self._page = False
        self._blank = True  # the current line has only white space yet
        # Of bare JSON:
        self._depth = 0  # 0: the bytes are events
        self._in_array = False
        self._in_string = False
        self._escaped = False
        self._after_line_end = False
        self._document: list[bytes] | None = None  # pieces of the open document
        self._size = 0
        self._start = 0  # of the open document, in the chunk at hand

    def feed(self, chunk: bytes) -> list[bytes]:
        """Cut the next bytes; nothing comes after ``overflow`` is set."""
        documents: list[bytes] = []
        while chunk and self.overflow is None and not self._page:
            chunk = self._bare(chunk, documents) if self._depth else self._events(chunk, documents)
        return documents

    def eof(self) -> list[bytes]:
        """Give out an event whose blank line never came; the decoder sees whether it is whole."""
        documents: list[bytes] = []
        if self.overflow is None and not self._page:
            if self._depth:
                self._abandon(documents)
            self._decode(b"\n\n", documents)
        return documents

    def failure(self) -> ProviderError | None:
        """Say what a body that is neither events nor JSON means."""
        if self._page:
            return ProviderError("provider_protocol", reason="the body is not an event stream")
        return None

    # -- events -----------------------------------------------------------------------------------

    def _events(self, chunk: bytes, documents: list[bytes]) -> bytes:
        """Decode events up to a bare document; returns what was not looked at."""
        start = self._bare_start(chunk)
        if self._page:
            return b""
        self._decode(chunk if start is None else chunk[:start], documents)
        if start is None or self.overflow is not None:
            return b""
        self._in_array = chunk[start : start + 1] == b"["
        self._depth = 1
        self._document = None if self._in_array else []
        self._size = 0
        self._keep(chunk[start : start + 1])
        return chunk[start + 1 :]

    def _bare_start(self, chunk: bytes) -> int | None:
        if self._blank:
            visible = chunk.lstrip(_INVISIBLE if self._untouched else _SPACE)
            if not visible:
                return None
            self._page = self._untouched and visible[:1] == b"<"
            self._untouched = False
            if visible[0] in _OPENING:
                return len(chunk) - len(visible)
        found = _BARE.search(chunk)
        if found is not None:
            return found.end() - 1
        self._blank = chunk.rstrip(b" \t").endswith((b"\r", b"\n"))
        return None

    def _decode(self, chunk: bytes, documents: list[bytes]) -> None:
        try:
            documents += [event.data for event in self._sse.feed(chunk)]
        except SseError as error:
            documents += [event.data for event in error.events]
            self.overflow = ProviderError("provider_protocol", reason=str(error))

    # -- bare JSON --------------------------------------------------------------------------------

    def _bare(self, chunk: bytes, documents: list[bytes]) -> bytes:
        """Count brackets up to the last one; returns what was not looked at."""
        self._start = 0
        position = int(self._escaped)
        self._escaped = False
        while self._depth and position < len(chunk) and self.overflow is None:
            if self._after_line_end and chunk[position : position + 1] == b"d":
                self._keep(chunk[self._start : position])
                self._abandon(documents)  # no JSON goes on like this, but an event begins so
                break
            self._after_line_end = False
            found = (_INSIDE if self._in_string else _OUTSIDE).search(chunk, position)
            if found is None:
                position = len(chunk)
            elif found[0] == b"\\":
                position = found.end() + 1
                self._escaped = position > len(chunk)
            else:
                position = found.end()
                self._token(found[0], chunk, position, documents)
        self._keep(chunk[self._start :])
        return chunk[position:]

    def _token(self, token: bytes, chunk: bytes, end: int, documents: list[bytes]) -> None:
        """Count one bracket, quotation mark or line end, which ends at ``end``."""
        if token in _LINE_ENDS:
            self._after_line_end = True
        elif token == b'"':
            self._in_string = not self._in_string
        elif token in _OPENING:
            self._depth += 1
            if self._depth == _ELEMENT and self._in_array and token == b"{":
                self._document = []
                self._size = 0
                self._start = end - 1
        else:
            self._depth -= 1
            if self._document is not None and self._depth == int(self._in_array):
                self._keep(chunk[self._start : end])
                if self.overflow is None:
                    documents.append(b"".join(self._document))
                self._document = None
            self._blank = not self._depth

    def _keep(self, piece: bytes) -> None:
        """Add to the open document, if there is one."""
        if self._document is None:
            return
        self._document.append(piece)
        self._size += len(piece)
        if self._size > MAX_DOCUMENT_BYTES:
            reason = "one JSON document exceeds the size cap"
            self.overflow = ProviderError("provider_protocol", reason=reason)

    def _abandon(self, documents: list[bytes]) -> None:
        documents.append(b"".join(self._document or ()))
        self._depth = 0
        self._document = None
        self._in_string = self._escaped = self._after_line_end = False
        self._blank = True
