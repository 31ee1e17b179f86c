"""How much has been said, in tokens, where the provider does not say."""

from typing import Final

from tellstream.core.estimate import CALL_TOKENS, tokens, weight

MOST_PIECES: Final = 256
"""Deltas that are kept before they are weighed together: some kilobytes. One weighing costs a
microsecond, however short the text."""
_CALL_WEIGHT: Final = 100 * CALL_TOKENS


class OutputCount:
    """Counts text, thinking and tool calls as they arrive; costs next to nothing until asked."""

    __slots__ = ("_pieces", "_reported", "_unreported", "_weight")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._weight = 0
        self._unreported = 0
        self._reported: int | None = None  # pieces that the provider's last count includes

    def say(self, text: str) -> None:
        """Count a piece of output."""
        self._pieces.append(text)
        if len(self._pieces) >= MOST_PIECES:
            self._weigh()

    def call(self) -> None:
        """Count a tool call; its arguments are counted by themselves."""
        self._weigh()
        self._weight += _CALL_WEIGHT
        self._unreported += _CALL_WEIGHT

    def report(self) -> None:
        """Note that the provider has told its own count up to here."""
        self._reported = len(self._pieces)

    @property
    def tokens(self) -> int:
        """Of everything so far."""
        self._weigh()
        return tokens(self._weight)

    @property
    def unreported_tokens(self) -> int:
        """Of what came after the provider's last count."""
        self._weigh()
        return tokens(self._unreported)

    def _weigh(self) -> None:
        if self._reported is not None:
            self._weight += weight("".join(self._pieces[: self._reported]))
            self._unreported = 0
            del self._pieces[: self._reported]
            self._reported = None
        if self._pieces:
            rest = weight("".join(self._pieces))
            self._weight += rest
            self._unreported += rest
            self._pieces.clear()
