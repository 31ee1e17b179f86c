"""A transcript that grows with the stream."""

from typing import Final

import msgspec

from tellstream.core import events as ev
from tellstream.core.transcript import Transcript, fold

_PENDING_EVENTS: Final = 256
"""Events kept before they are folded: memory is that of the answer, not of its deltas."""
_GROWING: Final = frozenset(
    {"text", "thinking", "tool_calls", "citations", "artifacts", "provider_tools"}
)


class Folding:
    """Folds events as they come; equal to folding all of them at once."""

    __slots__ = ("_pending", "_said")

    def __init__(self) -> None:
        self._said = Transcript()
        self._pending: list[ev.Event] = []

    def add(self, event: ev.Event) -> None:
        """Take the next event."""
        self._pending.append(event)
        if len(self._pending) >= _PENDING_EVENTS:
            self._fold()

    @property
    def transcript(self) -> Transcript:
        """What was said so far; does not change later."""
        if self._pending:
            self._fold()
        return self._said

    def _fold(self) -> None:
        self._said = _join(self._said, fold(self._pending))
        self._pending = []


def _join(before: Transcript, after: Transcript) -> Transcript:
    """Join two folds: text and lists add up; of the rest the later word counts."""
    said = msgspec.structs.asdict(after)
    for name, value in said.items():
        earlier = getattr(before, name)
        if name in _GROWING:
            said[name] = earlier + value
        elif value is None or value == "":
            said[name] = earlier
    return Transcript(**said)
