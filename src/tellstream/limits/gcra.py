"""The generic cell rate algorithm: a rate limit in one number per key.

Pure arithmetic (ITU-T I.371, annex A): ``tat`` is the theoretical arrival time of the next request
if all came evenly spaced. A backend only makes ``take`` atomic.
"""

import math

import msgspec


class Taken(msgspec.Struct, frozen=True):
    """The outcome of one request.

    Attributes:
        allowed: whether it may pass.
        tat: the new state of the key.
        limit: requests per window.
        remaining: how many more would pass now.
        reset_after: seconds until the full limit is available again.
        retry_after: seconds until the next request passes; 0 if this one did.
    """

    allowed: bool
    tat: float
    limit: int
    remaining: int
    reset_after: float
    retry_after: float


def take(tat: float | None, now: float, limit: int, window: float) -> Taken:
    """Take one request of ``limit`` per ``window`` seconds at ``now``.

    Args:
        tat: the state of the key, or None if it has none.
        now: seconds, of the clock that ``tat`` was made with.
        limit: requests that pass at once after a pause of one window.
        window: seconds.
    """
    emission = window / limit
    base = now if tat is None else max(tat, now)
    following = base + emission
    # Unix seconds as floats are exact to a tenth of a microsecond only, and each request of a burst
    # adds its rounding: without slack the last one of a burst would often be refused.
    slack = emission / 4
    if following - now > window + slack:
        wait = following - window - now
        return Taken(False, base, limit, 0, base - now, wait)
    remaining = math.floor((window - (following - now) + slack) / emission)
    return Taken(True, following, limit, remaining, following - now, 0.0)


def look(tat: float | None, now: float, limit: int, window: float) -> Taken:
    """Tell the state of a key without taking a request; see ``take``."""
    emission = window / limit
    base = now if tat is None else max(tat, now)
    remaining = max(0, math.floor((window - (base - now) + emission / 4) / emission))
    return Taken(True, base, limit, remaining, base - now, 0.0)
