"""What the rate limits of one request came to, and how a response says it. Pure.

A request passes if it passes every policy that applies to it, and counts towards all or none.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

from tellstream.core.errors import RequestError
from tellstream.limits.base import Caps, RateDecision
from tellstream.limits.gcra import Taken, look, take

MAX_KNOWN: Final = 1000
"""Limits of tenants whose policies are remembered."""
WINDOW: Final = 60.0
"""Seconds; the limits are named requests per minute."""


class Policy(msgspec.Struct, frozen=True):
    """One limit.

    Attributes:
        name: in the response fields.
        limit: requests per window.
    """

    name: str
    limit: int


@lru_cache(MAX_KNOWN)
def policies(caps: Caps) -> tuple[Policy, ...]:
    """Return the policies that apply, that of the tenant first."""
    limits = (
        ("tenant", caps.requests_per_minute),
        ("subject", caps.subject_requests_per_minute),
    )
    return tuple(Policy(name, limit) for name, limit in limits if limit is not None)


@lru_cache(MAX_KNOWN)
def _policy_field(rules: tuple[Policy, ...]) -> str:
    return ", ".join(f'"{rule.name}";q={rule.limit};w={WINDOW:.0f}' for rule in rules)


def take_all(
    rules: Sequence[Policy], tats: Sequence[float | None], now: float
) -> tuple[bool, list[Taken]]:
    """Take one request of every policy, or of none if one refuses.

    Args:
        rules: that apply.
        tats: the state of each.
        now: seconds.

    Returns:
        Whether it may pass, and the outcome for each.
    """
    taken = [take(tat, now, rule.limit, WINDOW) for rule, tat in zip(rules, tats, strict=True)]
    if all(one.allowed for one in taken):
        return True, taken
    kept = [
        look(tat, now, one.limit, WINDOW) if one.allowed else one
        for one, tat in zip(taken, tats, strict=True)
    ]
    return False, kept


def look_all(rules: Sequence[Policy], tats: Sequence[float | None], now: float) -> list[Taken]:
    """Tell the state of every policy without taking a request."""
    return [look(tat, now, rule.limit, WINDOW) for rule, tat in zip(rules, tats, strict=True)]


def decision(rules: Sequence[Policy], taken: Sequence[Taken], now: float) -> RateDecision:
    """Put an outcome into words.

    Args:
        rules: that apply.
        taken: the outcome for each.
        now: Unix seconds.
    """
    fields = headers(rules, taken, now)
    waits = [one.retry_after for one in taken if not one.allowed]
    if not waits:
        return RateDecision(fields)
    return RateDecision(fields, RequestError("rate_limit_exceeded", retry_after=max(waits)))


def headers(rules: Sequence[Policy], taken: Sequence[Taken], now: float) -> dict[str, str]:
    """Return the response fields: ``X-RateLimit-*``, and those of the IETF's draft.

    ``X-RateLimit-*`` tell of the tightest policy; Reset is the Unix second at which its full limit
    is back. In ``RateLimit``, t is the number of seconds until then; of a policy that refused the
    request, until the next one passes, as Retry-After says.
    """
    if not rules:
        return {}
    tightest = min(taken, key=lambda one: (one.remaining, -one.reset_after))
    said = [
        f'"{rule.name}";r={one.remaining};t={math.ceil(one.retry_after or one.reset_after)}'
        for rule, one in zip(rules, taken, strict=True)
    ]
    return {
        "X-RateLimit-Limit": str(tightest.limit),
        "X-RateLimit-Remaining": str(tightest.remaining),
        "X-RateLimit-Reset": str(math.ceil(now + tightest.reset_after)),
        "RateLimit-Policy": _policy_field(tuple(rules)),
        "RateLimit": ", ".join(said),
    }
