"""The contract of the counters behind the limits: what one process or Redis keeps per tenant.

Each call is atomic over all workers. ``tests/limits`` runs the same tests on every implementation.

What a tenant has spent is known after ``reserve`` was given a ``Seed``; until then the answer is
``unseeded``, with a version to be given back: whoever settles meanwhile raises it, so that an
outdated seed is refused. Reservations that were given back unsettled are asked about anew, too:
their streams may be in the ledger.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from tellstream.limits.base import Caps, Need, Spent
from tellstream.limits.rates import Policy

LAPSED_SECONDS: Final = 3600.0
"""For which the reservation of a stream is kept after its lease ran out, for whoever ends the
stream to settle it; then it is given back unsettled."""
ADVANCE_SHARE: Final = 4
"""A stream may set aside a quarter of what is left beyond what it needs now: near a cap, one stream
must not take everything in advance while others are stopped."""
ADVANCE_LEAST: Final = 64
"""Tokens in advance that it may have in any case: less would mean a call per word."""
SWEPT_AT_ONCE: Final = 50
"""Reservations given back in one call, at most: a call stays short."""

Status: TypeAlias = Literal[
    "ok",
    "streams",  # the tenant runs as many as it may
    "subject_streams",
    "tokens",  # of today are spent
    "tokens_held",  # are spent or set aside for other streams
    "budget",  # of this month is spent
    "budget_held",
    "unseeded",
    "gone",  # to be extended, but nothing is set aside: settled elsewhere, or the counters are new
]


class Lease(NamedTuple):
    """One running stream.

    Attributes:
        by_subject: whether the streams of its subject are counted.
    """

    tenant: int
    subject: str
    stream_id: str
    by_subject: bool = False


class Seed(NamedTuple):
    """What a tenant has spent, for counters that do not know.

    Attributes:
        version: of the answer that asked.
        spent: without the streams that were held then.
    """

    version: int
    spent: Spent


class Hold(msgspec.Struct, frozen=True):
    """What to set aside for a stream.

    Attributes:
        lease: the stream.
        caps: of its tenant.
        need: what it needs besides output.
        output_tokens: wanted, for the whole answer; no fewer than ``needed``.
        needed: of these, the tokens without which it cannot go on.
        more: the stream is running, and may only be extended.
        seed: what the tenant has spent, if the counters asked.
    """

    lease: Lease
    caps: Caps
    need: Need
    output_tokens: int
    needed: int = 1
    more: bool = False
    seed: Seed | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What came of it.

    Attributes:
        status: ``ok``, or why nothing was changed.
        now: Unix seconds, of the clock of the counters.
        output_tokens: set aside for the whole answer, at most as many as wanted.
        version: to be given back with the seed.
        held: if ``unseeded``, the streams that the seed must not contain: each is counted when it
            is settled here, which is after it was settled in the ledger.
        swept: reservations of other streams that were given back unsettled.
    """

    status: Status
    now: float
    output_tokens: int = 0
    version: int = 0
    held: tuple[str, ...] = ()
    swept: int = 0


class Counters(Protocol):
    """What is counted per tenant. Every method may raise LimitsUnavailableError.

    Attributes:
        local: they are in this process: no method waits or fails.
    """

    local: bool

    async def start(self) -> None:
        """Get ready."""

    async def close(self) -> None:
        """Stop."""

    async def take(
        self, tenant: int, subject: str, rules: Sequence[Policy], *, look: bool = False
    ) -> tuple[list[float | None], float]:
        """Take one request of every policy, or of none.

        Args:
            tenant: whose.
            subject: whose.
            rules: that apply.
            look: take none.

        Returns:
            The state of each before, which says what happened (``rates.take_all``), and Unix
            seconds.
        """

    async def reserve(self, hold: Hold) -> Outcome:
        """Take or renew a stream's lease and set aside what it may use; may be called again."""

    async def settle(self, lease: Lease, tokens: int, cost: int, *, used: bool = True) -> None:
        """Give a lease back, and count what the stream used in place of what was set aside.

        If nothing is set aside the stream was settled before, or the counters are new: what the
        tenant has spent is forgotten then, and asked for again.

        Args:
            lease: of the stream.
            tokens: prompt and completion.
            cost: in ``COST_UNITS`` parts of the currency.
            used: False: it never began, and is not in the ledger.
        """

    async def renew(self, leases: Sequence[Lease]) -> None:
        """Renew the leases that exist."""
