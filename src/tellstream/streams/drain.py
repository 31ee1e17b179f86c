"""Shutting down, as those see it who serve readers."""

from collections.abc import Callable


class DrainNotice:
    """Whether this process is about to go, and whom to tell.

    Attributes:
        given: it is.
    """

    def __init__(self) -> None:
        self.given = False
        self._told: set[Callable[[], None]] = set()

    def give(self) -> None:
        """Say it, once and for all."""
        self.given = True
        for tell in tuple(self._told):
            tell()

    def subscribe(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` when the notice is given."""
        self._told.add(tell)

    def unsubscribe(self, tell: Callable[[], None]) -> None:
        """Call it no more."""
        self._told.discard(tell)
