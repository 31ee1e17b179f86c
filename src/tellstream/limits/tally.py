"""What one tenant runs, has set aside and has spent: the rules, without a backend.

Pure: time is an argument, in Unix seconds, and must not go back by much. The script ``RESERVE`` in
redis_scripts.py follows the same rules.
"""

from typing import NamedTuple

from tellstream.limits.base import Spent
from tellstream.limits.counters import (
    ADVANCE_LEAST,
    ADVANCE_SHARE,
    SWEPT_AT_ONCE,
    Hold,
    Lease,
    Outcome,
    Status,
)
from tellstream.limits.periods import day_of, month_of


class Held(NamedTuple):
    """What is set aside for one stream: tokens in all, and their cost."""

    tokens: int
    cost: int


NOTHING = Held(0, 0)


def fit(hold: Hold, spent: Spent, held: Held) -> tuple[Status, int]:
    """Decide how many output tokens can be set aside: at least one, at most what is wanted.

    Args:
        hold: what is asked for.
        spent: by the tenant today, and this month.
        held: set aside for its other streams.
    """
    caps, need = hold.caps, hold.need
    most = hold.output_tokens
    capped = False
    if caps.tokens_per_day is not None:
        left = caps.tokens_per_day - spent.tokens - need.prompt_tokens
        if left < 1:
            return "tokens", 0
        most, capped = left - held.tokens, True
        if most < 1:
            return "tokens_held", 0
    least = need.prompt_cost + need.token_cost
    if caps.budget_per_month is not None and least > 0:  # what is free is free of limits
        left = caps.budget_per_month - spent.cost - least
        if left < 0:
            return "budget", 0
        if left < held.cost:
            return "budget_held", 0
        if need.token_cost:
            affordable = 1 + (left - held.cost) // need.token_cost
            most, capped = min(most, affordable) if capped else affordable, True
    if capped and most > hold.needed:
        spare = most - hold.needed
        most = hold.needed + max(spare // ADVANCE_SHARE, min(ADVANCE_LEAST, spare))
    return "ok", min(most, hold.output_tokens)


class Tally:
    """The counters of one tenant.

    Args:
        lease: seconds until a lease that is not renewed runs out.
        lapsed: seconds after that until its reservation is given back.
    """

    def __init__(self, lease: float, lapsed: float) -> None:
        self._lease = lease
        self._lapsed_for = lapsed
        # By expiry: all leases are equally long, and a renewed one goes to the end.
        self._live: dict[str, tuple[float, str]] = {}
        self._lapsed: dict[str, tuple[float, str]] = {}
        self._subjects: dict[str, set[str]] = {}
        self._held: dict[str, Held] = {}
        self._held_sum = NOTHING
        self._day = self._month = 0
        self._spent = Spent()
        self._seeded = False
        self._version = 0

    def running(self, now: float) -> int:
        """How many leases have not run out."""
        self._expire(now)
        return len(self._live)

    def held(self) -> Held:
        """What is set aside, in all."""
        return self._held_sum

    def spent(self, now: float) -> Spent:
        """What is spent today, and this month."""
        self._roll(now)
        return self._spent

    def reserve(self, hold: Hold, now: float) -> Outcome:
        """See ``Counters.reserve``."""
        self._expire(now)
        swept = self._sweep(now) if self._seeded and hold.seed is None else 0
        status = self._seed(hold, now) or self._room(hold)
        if status is not None:
            held = tuple(self._held) if status == "unseeded" else ()
            return Outcome(status, now, 0, self._version, held, swept)
        stream_id, need = hold.lease.stream_id, hold.need
        mine = self._held.get(stream_id, NOTHING)
        others = Held(self._held_sum.tokens - mine.tokens, self._held_sum.cost - mine.cost)
        status, granted = fit(hold, self._spent, others)
        if status == "ok":
            tokens = need.prompt_tokens + granted
            cost = need.prompt_cost + granted * need.token_cost
            self._hold(stream_id, Held(max(tokens, mine.tokens), max(cost, mine.cost)))
            self._touch(hold.lease, now)
        return Outcome(status, now, granted, self._version, swept=swept)

    def settle(self, lease: Lease, tokens: int, cost: int, now: float, *, used: bool) -> None:
        """See ``Counters.settle``."""
        stream_id = lease.stream_id
        for leases in (self._live, self._lapsed):
            leases.pop(stream_id, None)
        self._leave(lease.subject, stream_id)
        known = self._held.get(stream_id) is not None
        self._hold(stream_id, NOTHING)
        if not used:
            return
        if known and self._seeded:
            self._roll(now)
            self._spent = Spent(self._spent.tokens + tokens, self._spent.cost + cost)
        else:
            self._forget()

    def renew(self, lease: Lease, now: float) -> None:
        """See ``Counters.renew``."""
        if lease.stream_id in self._live or lease.stream_id in self._lapsed:
            self._touch(lease, now)

    def _seed(self, hold: Hold, now: float) -> Status | None:
        if not self._seeded:
            if hold.seed is None or hold.seed.version != self._version:
                return "unseeded"
            self._seeded = True
            self._day, self._month = day_of(now), month_of(now)
            self._spent = hold.seed.spent
        self._roll(now)
        return None

    def _room(self, hold: Hold) -> Status | None:
        """Whether there is room for one more stream, if this is one."""
        lease, caps = hold.lease, hold.caps
        if lease.stream_id in self._held:
            return None
        if hold.more:
            return "gone"
        if caps.concurrent_streams is not None and len(self._live) >= caps.concurrent_streams:
            return "streams"
        most = caps.subject_concurrent_streams
        if most is not None and len(self._subjects.get(lease.subject, ())) >= most:
            return "subject_streams"
        return None

    def _touch(self, lease: Lease, now: float) -> None:
        for leases in (self._live, self._lapsed):
            leases.pop(lease.stream_id, None)
        self._live[lease.stream_id] = (now + self._lease, lease.subject)
        if lease.by_subject:
            self._subjects.setdefault(lease.subject, set()).add(lease.stream_id)

    def _leave(self, subject: str, stream_id: str) -> None:
        streams = self._subjects.get(subject)
        if streams is not None:
            streams.discard(stream_id)
            if not streams:
                del self._subjects[subject]

    def _expire(self, now: float) -> None:
        """Move the leases that ran out."""
        while self._live:
            stream_id, (expiry, subject) = next(iter(self._live.items()))
            if expiry > now:
                return
            del self._live[stream_id]
            self._lapsed[stream_id] = (expiry, subject)
            self._leave(subject, stream_id)

    def _sweep(self, now: float) -> int:
        """Give back what nobody came to settle, though it may be in the ledger."""
        swept = 0
        while self._lapsed and swept < SWEPT_AT_ONCE:
            stream_id, (expiry, _) = next(iter(self._lapsed.items()))
            if expiry + self._lapsed_for > now:
                break
            del self._lapsed[stream_id]
            self._hold(stream_id, NOTHING)
            swept += 1
        if swept:
            self._forget()
        return swept

    def _forget(self) -> None:
        """Have what is spent asked for again."""
        self._seeded = False
        self._version += 1

    def _hold(self, stream_id: str, held: Held) -> None:
        mine = self._held.pop(stream_id, NOTHING)
        if held != NOTHING:
            self._held[stream_id] = held
        self._held_sum = Held(
            self._held_sum.tokens - mine.tokens + held.tokens,
            self._held_sum.cost - mine.cost + held.cost,
        )

    def _roll(self, now: float) -> None:
        """Begin a new day or month with nothing spent."""
        day, month = day_of(now), month_of(now)
        if day > self._day:
            self._spent = Spent(0, self._spent.cost)
        if month > self._month:
            self._spent = Spent(self._spent.tokens, 0)
        self._day, self._month = max(day, self._day), max(month, self._month)
