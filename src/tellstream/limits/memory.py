"""Limits of one process: requests per minute, concurrent streams and tokens per day, per tenant.

Every check-and-take happens without an await, so it is atomic in one process.
"""

import math
from collections.abc import Callable
from typing import Final

from tellstream.core.errors import RequestError
from tellstream.limits import gcra
from tellstream.limits.base import RateDecision

WINDOW: Final = 60.0
"""Seconds; the limit is named requests per minute."""
SLOT_RETRY: Final = 1.0
"""Seconds to advise when all streams of a tenant are busy: one may end at any moment."""
DAY: Final = 86_400


class MemoryLimits:
    """The limits of all tenants.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tats: dict[int, float] = {}
        self._streams: dict[int, int] = {}
        self._tokens: dict[int, tuple[int, int]] = {}  # tenant -> (day, tokens)

    def take_request(self, tenant: int, per_minute: int) -> RateDecision:
        """Count one request."""
        now = self._clock()
        taken = gcra.take(self._tats.get(tenant), now, per_minute, WINDOW)
        self._tats[tenant] = taken.tat
        headers = {
            "X-RateLimit-Limit": str(taken.limit),
            "X-RateLimit-Remaining": str(taken.remaining),
            "X-RateLimit-Reset": str(math.ceil(now + taken.reset_after)),
        }
        if taken.allowed:
            return RateDecision(headers)
        refusal = RequestError("rate_limit_exceeded", retry_after=taken.retry_after)
        return RateDecision(headers, refusal)

    def check_tokens(self, tenant: int, per_day: int | None) -> None:
        """Check that the tenant has tokens left today (UTC).

        Raises:
            RequestError: ``quota_exceeded``.
        """
        if per_day is None:
            return
        now = self._clock()
        day, used = self._tokens.get(tenant, (0, 0))
        if day == int(now) // DAY and used >= per_day:
            raise RequestError("quota_exceeded", retry_after=DAY - now % DAY)

    def settle_tokens(self, tenant: int, tokens: int) -> None:
        """Count the tokens of a finished stream."""
        today = int(self._clock()) // DAY
        day, used = self._tokens.get(tenant, (today, 0))
        self._tokens[tenant] = (today, tokens + (used if day == today else 0))

    def take_stream(self, tenant: int, at_most: int | None) -> None:
        """Take one of the tenant's concurrent streams; give it back with ``release_stream``.

        Raises:
            RequestError: ``concurrency_limit_exceeded``.
        """
        running = self._streams.get(tenant, 0)
        if at_most is not None and running >= at_most:
            raise RequestError("concurrency_limit_exceeded", retry_after=SLOT_RETRY)
        self._streams[tenant] = running + 1

    def release_stream(self, tenant: int) -> None:
        """Give a stream back."""
        left = self._streams[tenant] - 1
        if left:
            self._streams[tenant] = left
        else:
            del self._streams[tenant]

    def running(self, tenant: int) -> int:
        """How many streams of the tenant run now."""
        return self._streams.get(tenant, 0)
