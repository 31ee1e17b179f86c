"""What the current task has been told in confidence: texts that no log line may quote.

A provider's error message may quote the prompt, and is logged. Whoever takes a request says here
what was asked; tasks that are started then inherit it.
"""

from collections.abc import Iterable
from contextvars import ContextVar
from typing import Final

PRIVATE: Final[ContextVar[tuple[str, ...]]] = ContextVar("private", default=())


def keep_private(texts: Iterable[str]) -> None:
    """Let no log line of this task, and of the tasks it starts, quote these texts."""
    PRIVATE.set(tuple(texts))
