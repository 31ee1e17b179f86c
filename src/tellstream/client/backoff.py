"""When to try again after a failure: exponential, full jitter, within a budget. Decisions only."""

import math
from typing import Final

_MAX_DOUBLINGS: Final = 30
"""More would only overflow; the cap is reached long before."""


class Backoff:
    """The waits of one outage after the other.

    An outage begins with the first failure after progress and ends with progress. Its budget counts
    from its beginning.

    Args:
        base: seconds; upper end of the first wait.
        cap: seconds; upper end of every wait.
        budget: seconds of one outage after which no further try is made.
    """

    __slots__ = ("_base", "_budget", "_cap", "_failures", "_since")

    def __init__(self, *, base: float, cap: float, budget: float) -> None:
        self._base = base
        self._cap = cap
        self._budget = budget
        self._failures = 0
        self._since: float | None = None

    def progress(self) -> None:
        """End the outage: the next failure begins a new one."""
        self._failures = 0
        self._since = None

    def wait(self, now: float, chance: float, at_least: float = 0.0) -> float | None:
        """Decide what to do after a failure.

        Args:
            now: seconds on a monotonic clock.
            chance: a random number in [0, 1).
            at_least: seconds that the server asked for.

        Returns:
            Seconds to wait before the next try; None to give up. A wait that the server asked for
            and that exceeds the budget is not begun. The last try is made when the budget ends.
        """
        if self._since is None:
            self._since = now
        left = self._since + self._budget - now
        if left <= 0 or at_least > left:
            return None
        most = min(self._cap, math.ldexp(self._base, min(self._failures, _MAX_DOUBLINGS)))
        self._failures += 1
        return max(at_least, min(left, chance * most))
