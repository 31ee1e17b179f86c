"""Fair admission in one worker: how many streams it runs, and how many of them for one tenant.

There is no queue: who finds no place is refused at once and told when to come back. A queue would
hold connections and memory for callers of whom many have left, and would hide the overload from
those who could go to another worker.

A tenant may have as many places as ``share / (1 - share)`` times the number that is free (the
dynamic threshold of shared-memory switches, Choudhury and Hahne 1998). So one tenant alone gets
``share`` of all places, several get less each, and some place always stays free for a tenant that
has none: nobody has to wait until a greedy one's streams end, and nothing has to be known about
who would like to come.
"""

from typing import Final, Literal, TypeAlias

from tellstream.core.errors import RequestError, ServerError

RETRY_SECONDS: Final = 1.0
"""To advise when all places are taken: a stream may end at any moment."""

Verdict: TypeAlias = Literal["take", "full", "over_share"]


def decide(running: int, of_tenant: int, places: int, share: float) -> Verdict:
    """Decide whether a tenant gets another place.

    Args:
        running: places taken, by all tenants.
        of_tenant: places taken by this one.
        places: that there are.
        share: of all places that one tenant alone may have; 1: all.
    """
    free = places - running
    if free < 1:
        return "full"
    # of_tenant >= share / (1 - share) * free, without the division; rounded, for exact shares.
    if share < 1 and of_tenant >= round(share * (of_tenant + free), 6):
        return "over_share"
    return "take"


class Places:
    """The places of this worker.

    Args:
        places: that there are, at least one.
        share: of all places that one tenant alone may have, above 0; 1: all.
    """

    def __init__(self, places: int, share: float) -> None:
        self._places = places
        self._share = share
        self._of: dict[int, int] = {}
        self._running = 0

    @property
    def running(self) -> int:
        """How many places are taken."""
        return self._running

    def take(self, tenant: int) -> None:
        """Take a place; give it back with ``release``.

        Raises:
            ServerError: ``service_unavailable``: there is none.
            RequestError: ``concurrency_limit_exceeded``: the rest is for other tenants.
        """
        verdict = decide(self._running, self._of.get(tenant, 0), self._places, self._share)
        if verdict == "full":
            raise ServerError(
                "service_unavailable", retry_after=RETRY_SECONDS, reason="all places are taken"
            )
        if verdict == "over_share":
            raise RequestError(
                "concurrency_limit_exceeded", retry_after=RETRY_SECONDS, reason="over its share"
            )
        self._of[tenant] = self._of.get(tenant, 0) + 1
        self._running += 1

    def release(self, tenant: int) -> None:
        """Give a place back."""
        left = self._of[tenant] - 1
        if left:
            self._of[tenant] = left
        else:
            del self._of[tenant]
        self._running -= 1
