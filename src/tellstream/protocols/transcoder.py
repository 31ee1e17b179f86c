"""From native frames to the bytes of another protocol.

Each frame is decoded once for each reader, and a batch becomes one piece of bytes. The last block
of an event carries the event's number as its ``id``, so that a reader of any protocol can come back
after it.
"""

from collections.abc import Sequence
from typing import Final

from tellstream.core import events as ev
from tellstream.core.frames import decode_frame
from tellstream.protocols.base import Encoder

DONE: Final = b"data: [DONE]\n\n"
"""What ends the streams of protocols that need an end of their own."""


class Transcoder:
    """Turns the frames of one stream into another protocol.

    Args:
        encoder: fresh, of that protocol.
        terminal: what follows the last event.
        after: number of the last event that the reader has; what comes up to it is not said again.
    """

    __slots__ = ("_after", "_encode", "_terminal")

    def __init__(self, encoder: Encoder, terminal: bytes = b"", after: int = 0) -> None:
        self._encode = encoder.encode
        self._terminal = terminal
        self._after = after

    def __call__(self, frames: Sequence[bytes]) -> bytes:
        """Encode the next frames of the stream, from its first one on.

        Raises:
            ValueError: one is not a native frame.
        """
        blocks: list[bytes] = []
        for frame in frames:
            number, event = decode_frame(frame)
            payloads = self._encode(event)
            if number <= self._after:
                continue
            if payloads:
                *first, last = payloads
                blocks += [b"data: %b\n\n" % ev.encode(payload) for payload in first]
                blocks.append(b"id: %d\ndata: %b\n\n" % (number, ev.encode(last)))
            if event.type == ev.StreamEnd.type:
                blocks.append(self._terminal)
        return b"".join(blocks)
