"""Thinking that arrives inside the text, as ``<think>…</think>`` at its beginning.

Open models served without a reasoning parser (and Perplexity) write their thinking so. Only the
beginning of an answer counts: a tag later on is the model talking about tags. The tags are removed;
everything else is kept to the letter. Tags may be cut anywhere between two deltas.
"""

from enum import Enum, auto
from typing import Final

from tellstream.core.parts import Part, Text, Thinking

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"


class _Mode(Enum):
    UNDECIDED = auto()
    THINKING = auto()
    TEXT = auto()


class InlineThinking:
    """Splits the text deltas of one answer."""

    __slots__ = ("_held", "_mode")

    def __init__(self) -> None:
        self._mode = _Mode.UNDECIDED
        self._held = ""

    def feed(self, delta: str) -> list[Part]:
        """Split the next delta (not empty)."""
        if self._mode is _Mode.TEXT:
            return [Text(delta)]
        self._held += delta
        if self._mode is _Mode.UNDECIDED:
            start = self._held.lstrip()
            if _OPEN.startswith(start[: len(_OPEN)]) and len(start) < len(_OPEN):
                return []  # white space, or the beginning of a tag
            if not start.startswith(_OPEN):
                return self.flush()
            self._mode = _Mode.THINKING
            self._held = start[len(_OPEN) :]
        return self._thinking()

    def flush(self) -> list[Part]:
        """Give out what is held back: something else arrived, or the end."""
        held, self._held = self._held, ""
        kind = Thinking if self._mode is _Mode.THINKING else Text
        self._mode = _Mode.TEXT
        return [kind(held)] if held else []

    def _thinking(self) -> list[Part]:
        thinking, close, text = self._held.partition(_CLOSE)
        if close:
            self._mode = _Mode.TEXT
            self._held = ""
            parts: list[Part] = [Thinking(thinking)] if thinking else []
            return [*parts, Text(text)] if text else parts
        keep = _overlap(thinking, _CLOSE)
        self._held = thinking[len(thinking) - keep :]
        thinking = thinking[: len(thinking) - keep]
        return [Thinking(thinking)] if thinking else []


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of ``text`` may be the beginning of ``tag``."""
    return next((n for n in range(len(tag) - 1, 0, -1) if text.endswith(tag[:n])), 0)
