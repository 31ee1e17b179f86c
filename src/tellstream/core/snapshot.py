"""A snapshot: the events so far with each run of deltas folded into few large ones.

Same grammar, same ids at every cut: a folded delta carries the sequence number, event id and time
of the last delta in it, so a reader can resume after it like after any event. Numbers rise but have
gaps where deltas were folded.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from tellstream.core import events as ev
from tellstream.core.frames import decode_frame, encode_frames

MAX_DELTA_CHARACTERS: Final = 64 * 1024
"""Of one folded delta: clients that cap an event at 1 MiB can take it in any encoding."""

# What deltas of one run have in common, besides their type.
_PART: Final = {
    "text_delta": "message_id",
    "thinking_delta": "reasoning_id",
    "tool_call_delta": "tool_id",
}


class Snapshot:
    """Folds native frames, in portions."""

    def __init__(self) -> None:
        self._deltas: list[str] = []
        self._characters = 0
        self._number = 0
        self._last: ev.Event | None = None
        self._part: tuple[str, str] | None = None

    def feed(self, frames: Iterable[bytes]) -> list[bytes]:
        """Fold the next frames; a run of deltas that may go on is kept."""
        folded: list[bytes] = []
        for frame in frames:
            number, event = decode_frame(frame)
            attribute = _PART.get(event.type)
            if attribute is None:
                folded += [*self.flush(), frame]
            else:
                folded += self._take(number, event, getattr(event, attribute))
        return folded

    def flush(self) -> list[bytes]:
        """Give what is kept."""
        if self._last is None:
            return []
        event = msgspec.structs.replace(self._last, delta="".join(self._deltas))
        frames = encode_frames(self._number, [event])
        self._deltas, self._characters, self._last = [], 0, None
        return frames

    def _take(self, number: int, event: ev.Event, part_id: str) -> list[bytes]:
        """Add a delta to the run, or give the run and begin another."""
        delta: str = event.delta  # type: ignore[attr-defined]
        part = event.type, part_id
        full = self._characters + len(delta) > MAX_DELTA_CHARACTERS
        given = self.flush() if part != self._part or full else []
        self._part, self._number, self._last = part, number, event
        self._deltas.append(delta)
        self._characters += len(delta)
        return given
