"""Server-sent events: the incremental decoder.

Decoding follows the WHATWG rules (HTML standard, section 9.2.6): UTF-8, one leading BOM dropped,
CR, LF and CRLF end a line, an event without data is not dispatched, an event without its blank
line at the end of the stream is discarded. Bytes may be split anywhere; every split gives the same
events. Two additions for reading providers: sizes are capped, and a field that the standard would
ignore can be asked for as an event of its own (one server family reports errors as a bare
``error: …`` line).
"""

from typing import Final

import msgspec

# One event of a provider: base64 images come in single events of several hundred KiB.
MAX_EVENT_BYTES: Final = 1024 * 1024

_LF: Final = 0x0A
_CR: Final = 0x0D
_COLON: Final = 0x3A
_BOM: Final = b"\xef\xbb\xbf"


class SseError(ValueError):
    """The bytes exceed a size cap.

    Attributes:
        events: what the same call had decoded before.
    """

    def __init__(self, message: str, events: "list[ServerSentEvent]") -> None:
        super().__init__(message)
        self.events = events


class ServerSentEvent(msgspec.Struct, frozen=True, gc=False):
    """One dispatched event.

    Attributes:
        event: the event type, ``message`` if none was given.
        data: the data lines joined by LF, undecoded UTF-8.
        id: the last event id seen so far in the stream.
    """

    event: str
    data: bytes
    id: str = ""


class SseDecoder:
    """Decodes one stream.

    Args:
        max_event_bytes: cap for one line and for the data of one event.
        bare: names of non-standard fields of which each line is dispatched at once, as an event of
            that name.

    Attributes:
        retry_ms: the last reconnection time the server asked for, in milliseconds, or None.
    """

    __slots__ = (
        "_after_cr",
        "_bare",
        "_bom",
        "_data",
        "_event",
        "_id",
        "_max",
        "_pending",
        "_pending_size",
        "_size",
        "retry_ms",
    )

    def __init__(
        self, max_event_bytes: int = MAX_EVENT_BYTES, bare: frozenset[bytes] = frozenset()
    ) -> None:
        self._max = max_event_bytes
        self._bare = bare
        self._bom = b""  # first bytes that may be the beginning of a BOM
        self._pending: list[bytes] = []  # pieces of an unfinished line
        self._pending_size = -1  # bytes of _pending; -1 until the first bytes were seen
        self._after_cr = False
        self._data: list[bytes] = []
        self._size = 0
        self._event = b""
        self._id = ""
        self.retry_ms: int | None = None

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Decode the next bytes.

        Returns:
            The events that became complete, in order.

        Raises:
            SseError: a line or an event exceeds the cap.
        """
        if chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") and b"\r" not in chunk:
            events = self._plain(chunk)
            if events is not None:
                return events
        if self._pending_size < 0:
            chunk = self._without_bom(chunk)
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk[0] == _LF:
                chunk = chunk[1:]
        if b"\r" in chunk:
            self._after_cr = chunk[-1] == _CR
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not chunk:
            return []
        if b"\n" not in chunk:
            return self._hold(chunk, [])
        lines = chunk.split(b"\n")
        if self._pending:
            lines[0] = b"".join(self._pending) + lines[0]
            self._pending = []
            self._pending_size = 0
        rest = lines.pop()
        events = self._lines(lines)
        return self._hold(rest, events) if rest else events

    def _plain(self, chunk: bytes) -> list[ServerSentEvent] | None:
        """Decode what nearly all reads bring, whole events of one line each; None: it is not."""
        if (
            self._pending or self._data or self._event or self._after_cr or self._pending_size < 0
        ) or len(chunk) > self._max:
            return None
        ends = chunk.count(b"\n")
        if ends == 2:  # noqa: PLR2004 - of the line, and of the blank one
            return [ServerSentEvent("message", chunk[6:-2], self._id)]
        lines = chunk[6:-2].split(b"\n\ndata: ")
        if ends != 2 * len(lines):
            return None
        return [ServerSentEvent("message", line, self._id) for line in lines]

    def _lines(self, lines: list[bytes]) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        for line in lines:
            if not line:
                if self._data:
                    events.append(self._dispatch())
                self._event = b""
            elif len(line) > self._max:
                raise SseError("one line exceeds the size cap", events)
            elif line.startswith(b"data:"):
                self._append(line[6:] if line[5:6] == b" " else line[5:], events)
            elif line[0] != _COLON:  # a colon first is a comment
                name, _, value = line.partition(b":")
                value = value.removeprefix(b" ")
                if name in self._bare:
                    events.append(ServerSentEvent(name.decode(), value, self._id))
                elif name == b"data":  # the line without a colon
                    self._append(value, events)
                else:
                    self._field(name, value)
        return events

    def _append(self, value: bytes, events: list[ServerSentEvent]) -> None:
        """Add a line of data; the LF that will join it to the one before counts too."""
        self._size += len(value) + bool(self._data)
        if self._size > self._max:
            raise SseError("one event exceeds the size cap", events)
        self._data.append(value)

    def _dispatch(self) -> ServerSentEvent:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        event = self._event.decode("utf-8", "replace") if self._event else "message"
        self._data = []
        self._size = 0
        return ServerSentEvent(event, data, self._id)

    def _field(self, name: bytes, value: bytes) -> None:
        match name:
            case b"event":
                self._event = value
            case b"id":
                if b"\0" not in value:
                    self._id = value.decode("utf-8", "replace")
            case b"retry":
                if value.isdigit():
                    self.retry_ms = int(value[:10])
            case _:
                pass  # other fields are ignored

    def _hold(self, piece: bytes, events: list[ServerSentEvent]) -> list[ServerSentEvent]:
        """Keep the beginning of a line; returns ``events``."""
        self._pending.append(piece)
        self._pending_size += len(piece)
        if self._pending_size > self._max:
            raise SseError("one line exceeds the size cap", events)
        return events

    def _without_bom(self, chunk: bytes) -> bytes:
        """Drop a BOM from the first bytes; hold them back while they may still become one."""
        head = self._bom + chunk
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._bom = head
            return b""
        self._bom = b""
        self._pending_size = 0
        return head.removeprefix(_BOM)
