"""What the current task has been told in confidence: texts that no log line may quote.

A provider's error message may quote the prompt, and is logged. Whoever takes a request says here
what was asked; tasks that are started then inherit it.
"""

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, Final


class Private:
    """Texts told in confidence.

    Attributes:
        texts: as they were told.
        prepared: what the filter of the log made of them; kept here so that it is made once.
    """

    __slots__ = ("prepared", "texts")

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts = tuple(texts)
        self.prepared: Any = None


PRIVATE: Final[ContextVar[Private | None]] = ContextVar("private", default=None)


def keep_private(texts: Iterable[str]) -> None:
    """Let no log line of this task, and of the tasks it starts, quote these texts."""
    PRIVATE.set(Private(texts))
