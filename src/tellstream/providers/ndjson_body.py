"""A response body that should be one JSON object per line, and what to do when it is not.

LF or CRLF ends a line, a BOM may stand first, empty lines mean nothing, and the last line needs no
end. Bytes may be split anywhere; every split gives the same lines. A page instead of an answer is
found out by its first visible byte, which begins no JSON.
"""

from typing import Final

from tellstream.core.errors import ProviderError

MAX_LINE_BYTES: Final = 1024 * 1024
"""Of one line: a delta, or a whole call with its arguments."""

_BOM: Final = b"\xef\xbb\xbf"
_INVISIBLE: Final = _BOM + b" \t\r\n"
_PAGE: Final = ord("<")


class NdjsonBody:
    """Cuts a body into lines, or finds out that it is a page.

    Attributes:
        overflow: set once a line exceeds the size cap.
    """

    __slots__ = ("_page", "_pending", "_size", "_sniffed", "overflow")

    def __init__(self) -> None:
        self._pending: list[bytes] = []  # pieces of an unfinished line
        self._size = 0
        self._sniffed = False
        self._page = False
        self.overflow: ProviderError | None = None

    def feed(self, chunk: bytes) -> list[bytes]:
        """Cut the next bytes; returns the lines that became complete, without the empty ones."""
        if self.overflow is not None or self._page:
            return []
        if not self._sniffed:
            visible = chunk.lstrip(_INVISIBLE)
            if not visible:
                return []
            self._sniffed = True
            self._page = visible[0] == _PAGE
            if self._page:
                return []
            chunk = visible
        *ended, rest = chunk.split(b"\n")
        lines: list[bytes] = []
        for piece in ended:
            line = self._whole(piece)
            if line is None:
                return lines
            if line:
                lines.append(line)
        self._hold(rest)
        return lines

    def eof(self) -> list[bytes]:
        """Return the last line, if it has no end."""
        line = self._whole(b"")
        return [line] if line else []

    def failure(self) -> ProviderError | None:
        """Say what a body without lines of JSON means, at its end."""
        if not self._page:
            return None
        return ProviderError("provider_protocol", reason="the body is a page, not lines of JSON")

    def _whole(self, piece: bytes) -> bytes | None:
        """End the line that is held; None if it is too long."""
        self._hold(piece)
        if self.overflow is not None:
            return None
        line = b"".join(self._pending).strip()
        self._pending = []
        self._size = 0
        return line

    def _hold(self, piece: bytes) -> None:
        if piece:
            self._pending.append(piece)
            self._size += len(piece)
        if self._size > MAX_LINE_BYTES:
            self.overflow = ProviderError("provider_protocol", reason="one line exceeds the cap")
