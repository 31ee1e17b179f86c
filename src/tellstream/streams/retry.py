"""Whether and when to call a provider again: decisions only, no waiting.

A call is repeated only before the first content event, only for what the table of errors says may
succeed on another try, with exponential backoff and full jitter, or after the time the provider
asked for. Long waits are the caller's: it is told the status and the time instead.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from tellstream.core.errors import ProviderError

BASE: Final = 0.5
CAP: Final = 8.0
"""Seconds: the backoff doubles from BASE up to CAP, and a random part of it is waited."""
PATIENCE: Final = 5.0
"""Seconds that one stream waits between calls, all together. It is the time for which a response
head is held by default: whoever must wait longer should learn so by a status and Retry-After."""
CALLS_PER_RETRY: Final = 5
"""More than one retry in five calls would turn a provider's trouble into an avalanche."""
BUDGET_RESERVE: Final = 10
"""Retries that are always possible at first, so that a quiet server may retry too."""


class RetryPolicy(msgspec.Struct, frozen=True):
    """The rules for one stream.

    Attributes:
        max: further calls per target.
        give_up_after: seconds from the start of the stream; later nothing is tried again.
    """

    max: int = 2
    give_up_after: float = 60.0

    def delay(
        self,
        error: ProviderError,
        *,
        attempt: int,
        elapsed: float,
        waited: float,
        random: Callable[[], float],
    ) -> float | None:
        """Decide how long to wait before calling the same target again.

        Args:
            error: how the last call failed.
            attempt: calls of this target so far, from 1.
            elapsed: seconds since the stream began.
            waited: seconds this stream has already waited between calls.
            random: uniform in 0..1.

        Returns:
            Seconds, or None: go on to the next target, or give up.
        """
        if not error.retryable or attempt > self.max:
            return None
        backoff = random() * min(CAP, BASE * 2 ** (attempt - 1))
        wait = max(error.retry_after or 0.0, backoff)
        fits = waited + wait <= PATIENCE and elapsed + wait < self.give_up_after
        return wait if fits else None


class RetryBudget:
    """Retries of the whole process, as a share of its calls."""

    __slots__ = ("_saved",)

    def __init__(self) -> None:
        self._saved = BUDGET_RESERVE * CALLS_PER_RETRY  # calls not yet spent on a retry

    def call(self) -> None:
        """Count a first call of a target."""
        self._saved = min(self._saved + 1, BUDGET_RESERVE * CALLS_PER_RETRY)

    def take(self) -> bool:
        """Take one retry, if there is one."""
        if self._saved < CALLS_PER_RETRY:
            return False
        self._saved -= CALLS_PER_RETRY
        return True
