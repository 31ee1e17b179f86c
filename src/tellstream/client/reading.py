"""From bytes to numbered events: nothing twice, nothing left out, over many connections."""

import re
from typing import Final, NamedTuple

import msgspec

from tellstream.client.errors import StreamGapError, StreamProtocolError
from tellstream.client.policy import MAX_FRAME_BYTES
from tellstream.core import events as ev
from tellstream.core.sse import ServerSentEvent, SseDecoder, SseError

MAX_POSITION: Final = 999_999_999
"""Largest sequence number; a server ends streams long before."""
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_LAST: Final = ev.StreamEnd.type


class Arrived(NamedTuple):
    """One event of a stream.

    Attributes:
        position: its sequence number.
        event: None for a type that this client does not know.
        wire: what was received.
    """

    position: int
    event: ev.Event | None
    wire: ServerSentEvent

    @property
    def frame(self) -> bytes:
        """The bytes of the native frame."""
        data = self.wire.data.replace(b"\n", b"\ndata: ")
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (self.position, self.wire.event.encode(), data)


class Reading:
    """Reads the bodies of one stream's connections.

    Args:
        after: sequence number of the last event that is known already.
        snapshot: whether sequence numbers may jump.

    Attributes:
        position: sequence number of the last event that arrived.
        over: whether ``stream_end`` arrived.
        fault: why nothing more can be read, or None; what arrived before it still counts.
        retry_seconds: the server's wish for waits before reconnections; 0 for none.
    """

    def __init__(self, stream_id: str, after: int, *, snapshot: bool) -> None:
        self.stream_id = stream_id
        self.position = after
        self.over = False
        self.fault: StreamProtocolError | None = None
        self.retry_seconds = 0.0
        self._snapshot = snapshot
        self._decoder = SseDecoder(MAX_FRAME_BYTES)

    def connected(self) -> None:
        """Begin with a new body; half a frame of the one before is forgotten."""
        self._decoder = SseDecoder(MAX_FRAME_BYTES)

    def feed(self, chunk: bytes) -> list[Arrived]:
        """Decode the next bytes; gives the events that are new, in order."""
        arrived: list[Arrived] = []
        try:
            try:
                received = self._decoder.feed(chunk)
            except SseError as error:
                self._take(error.events, arrived)
                raise StreamProtocolError(str(error)) from error
            self._take(received, arrived)
        except StreamProtocolError as fault:
            self.fault = fault
        if self._decoder.retry_ms is not None:
            self.retry_seconds = self._decoder.retry_ms / 1000
        return arrived

    def _take(self, received: list[ServerSentEvent], arrived: list[Arrived]) -> None:
        for wire in received:
            if self.over:
                return
            if not _NUMBER.fullmatch(wire.id):
                raise StreamProtocolError("an event has no sequence number")
            number = int(wire.id)
            if number <= self.position:
                continue
            if number > self.position + 1 and not self._snapshot:
                raise StreamGapError(self.stream_id, self.position, number)
            arrived.append(Arrived(number, _decode(wire), wire))
            self.position = number
            self.over = wire.event == _LAST


def _decode(wire: ServerSentEvent) -> ev.Event | None:
    if wire.event not in ev.EVENT_TYPES:
        return None
    try:
        return ev.decode(wire.event, wire.data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StreamProtocolError(f"event {wire.id} is malformed: {error}") from error
