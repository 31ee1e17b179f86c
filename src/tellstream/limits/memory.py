"""The counters of one process.

Every check-and-take happens without an await, so it is atomic in one process.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from tellstream.limits import rates
from tellstream.limits.counters import LAPSED_SECONDS, Hold, Lease, Outcome
from tellstream.limits.rates import Policy
from tellstream.limits.tally import Tally

FORGOTTEN_AT_ONCE: Final = 4
"""Rate states looked at per request: twice as many as a request can add, so that they stay few."""


class MemoryCounters:
    """The counters of one process; see ``Counters``.

    Args:
        clock: Unix seconds.
        lease: seconds until a lease that is not renewed runs out.
        lapsed: seconds after that until its reservation is given back.
    """

    def __init__(
        self, clock: Callable[[], float], lease: float = 10.0, lapsed: float = LAPSED_SECONDS
    ) -> None:
        self.local = True
        self._clock = clock
        self._lease = lease
        self._lapsed = lapsed
        self._tallies: dict[int, Tally] = {}
        # By last use; a state that is over says the same as none.
        self._tats: OrderedDict[tuple[int, str, str], float] = OrderedDict()

    async def start(self) -> None:
        """Get ready."""

    async def close(self) -> None:
        """Stop."""

    async def take(
        self, tenant: int, subject: str, rules: Sequence[Policy], *, look: bool = False
    ) -> tuple[list[float | None], float]:
        """See ``Counters.take``."""
        now = self._clock()
        self._forget(now)
        keys = [(tenant, rule.name, subject if rule.name == "subject" else "") for rule in rules]
        before = [self._tats.get(key) for key in keys]
        if not look:
            passed, taken = rates.take_all(rules, before, now)
            if passed:
                for key, one in zip(keys, taken, strict=True):
                    self._tats[key] = one.tat
                    self._tats.move_to_end(key)
        return before, now

    async def reserve(self, hold: Hold) -> Outcome:
        """See ``Counters.reserve``."""
        return self.tally(hold.lease.tenant).reserve(hold, self._clock())

    async def settle(self, lease: Lease, tokens: int, cost: int, *, used: bool = True) -> None:
        """See ``Counters.settle``."""
        self.tally(lease.tenant).settle(lease, tokens, cost, self._clock(), used=used)

    async def renew(self, leases: Sequence[Lease]) -> None:
        """See ``Counters.renew``."""
        now = self._clock()
        for lease in leases:
            self.tally(lease.tenant).renew(lease, now)

    def tally(self, tenant: int) -> Tally:
        """Return the counters of one tenant; there are as many as tenants."""
        if tenant not in self._tallies:
            self._tallies[tenant] = Tally(self._lease, self._lapsed)
        return self._tallies[tenant]

    def _forget(self, now: float) -> None:
        """Forget states that are over, of those that were not used for longest."""
        for _ in range(FORGOTTEN_AT_ONCE):
            if not self._tats:
                return
            key, tat = next(iter(self._tats.items()))
            if tat > now:
                self._tats.move_to_end(key)
            else:
                del self._tats[key]
