"""Puts pieces together for wires that say more at once than a word: whole calls, whole answers.

Invariant: nothing is lost and no token counts twice: a call is worth the pieces it was made of.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from tellstream.providers.simulator.answer import (
    Close,
    Delta,
    Finish,
    Piece,
    Refusal,
    Text,
    Thinking,
    ToolArguments,
    ToolStart,
)
from tellstream.providers.simulator.failure import Failure
from tellstream.providers.simulator.wire import Tally


class Call(msgspec.Struct, frozen=True):
    """A tool call with all its arguments."""

    start: ToolStart
    fragments: list[ToolArguments]

    @property
    def arguments(self) -> str:
        """The JSON of the arguments."""
        return "".join(each.fragment for each in self.fragments)

    @property
    def deltas(self) -> list[Delta]:
        """The pieces it was made of."""
        return [self.start, *self.fragments]


Words = Text | Thinking | Refusal
WORDS: Final = (Text, Thinking, Refusal)


def with_whole_calls(
    pieces: Iterable[Piece],
) -> Iterator[Words | Call | Finish | Failure | Close]:
    """Replace the interleaved pieces of parallel calls by the calls, one after the other."""
    calls: dict[int, Call] = {}
    for piece in pieces:
        if isinstance(piece, ToolStart):
            calls[piece.index] = Call(piece, [])
        elif isinstance(piece, ToolArguments):
            calls[piece.index].fragments.append(piece)
        else:
            if calls:
                yield from calls.values()
                calls.clear()
            yield piece


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """An answer in one piece; ``reason`` is the last finish reason, none if there is none."""

    text: str
    thinking: str
    refusal: str
    calls: list[Call]
    reason: str
    tally: Tally


def whole_answer(pieces: Iterable[Piece], prompt_tokens: int, cached: int = 0) -> Whole:
    """Join the pieces of an answer that ends."""
    said: dict[type, list[str]] = {kind: [] for kind in WORDS}
    calls: list[Call] = []
    tally = Tally(prompt_tokens, cached)
    reason = "none"
    for piece in with_whole_calls(pieces):
        if isinstance(piece, WORDS):
            tally.add(piece)
            said[type(piece)].append(piece.text)
        elif isinstance(piece, Call):
            tally.add(*piece.deltas)
            calls.append(piece)
        elif isinstance(piece, Finish):
            reason = piece.reason
    text, thinking, refusal = ("".join(said[kind]) for kind in WORDS)
    return Whole(
        text=text, thinking=thinking, refusal=refusal, calls=calls, reason=reason, tally=tally
    )
