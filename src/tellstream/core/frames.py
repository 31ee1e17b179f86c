"""Native frames: the bytes of one event on the wire and in the log.

LF only, ``id`` inside the block, exactly one ``data`` line, then a blank line.
"""

from typing import Final

from tellstream.core import events as ev

KEEP_ALIVE: Final = b": keep-alive\n"
"""A comment line without a blank line, which would make some clients see an empty event."""

_NAMES: Final = {name: f"\nevent: {name}\ndata: ".encode() for name in ev.EVENT_TYPES}


def encode_frames(first: int, events: list[ev.Event]) -> list[bytes]:
    """Encode events as frames numbered from ``first``."""
    return [
        b"id: %d%b%b\n\n" % (number, _NAMES[event.type], ev.encode(event))
        for number, event in enumerate(events, first)
    ]


def decode_frame(frame: bytes) -> tuple[int, ev.Event]:
    """Decode one frame of ours into its sequence number and event.

    Raises:
        ValueError: it is not such a frame.
    """
    number, event_type, data, *_ = frame.split(b"\n", 3)
    name = event_type.removeprefix(b"event: ").decode()
    if name not in ev.EVENT_TYPES:
        raise ValueError("not a native frame")
    return int(number.removeprefix(b"id: ")), ev.decode(name, data.removeprefix(b"data: "))
