"""The contract of the limits of a tenant. Every check-and-take is atomic over all workers.

``Admission`` is what a server with limits and budgets works with; guarantees:

- **Exact**: of any number of simultaneous requests or streams, in any number of workers, exactly as
  many pass as the limit says.
- **Leased**: a stream of a worker that died stops counting when its lease runs out; its reservation
  is given back when its usage is settled by whoever ends it, and in any case after a while.
- **Reserved, then settled**: what a stream may use is set aside before it starts, and replaced by
  what it really used before its end is visible. Spent and set aside never exceed the cap together.
- **Fail closed, run on**: without the shared counters nothing is admitted, and running streams go
  on; what they used is settled when the counters are back.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import Final, NamedTuple, Protocol, TypeAlias

import msgspec

from tellstream.core.errors import RequestError, ServerError
from tellstream.core.prices import Price

FIRST_OUTPUT_TOKENS: Final = 1024
"""Set aside for an answer whose length the caller did not limit."""
MOST_FIRST_OUTPUT_TOKENS: Final = 8192
"""Set aside at admission at most: callers ask for far longer answers than they get, and what is set
aside is missing to the tenant's other streams. Longer answers set more aside as they grow."""


class LimitsUnavailableError(ServerError):
    """The shared counters cannot be reached now; it is not known whether something was counted."""

    def __init__(self, reason: str) -> None:
        super().__init__("service_unavailable", retry_after=1, reason=reason)


class RateDecision(msgspec.Struct, frozen=True):
    """Whether a request may pass.

    Attributes:
        headers: the rate limit fields of the response, also of a refusal.
        refusal: ``rate_limit_exceeded``, or None if the request may pass.
    """

    headers: dict[str, str]
    refusal: RequestError | None = None


class Caps(msgspec.Struct, frozen=True):
    """What a tenant, and each of its subjects, may use; None is no limit.

    Attributes:
        requests_per_minute: of the tenant.
        subject_requests_per_minute: of each subject.
        concurrent_streams: of the tenant.
        subject_concurrent_streams: of each subject.
        tokens_per_day: prompt and completion, by UTC day of the stream's end.
        budget_per_month: in ``COST_UNITS`` parts of the currency, by UTC month of the stream's end.
    """

    requests_per_minute: int | None = None
    subject_requests_per_minute: int | None = None
    concurrent_streams: int | None = None
    subject_concurrent_streams: int | None = None
    tokens_per_day: int | None = None
    budget_per_month: int | None = None


class Caller(msgspec.Struct, frozen=True):
    """Who is limited, and to what."""

    tenant: int
    subject: str
    caps: Caps


class Need(msgspec.Struct, frozen=True):
    """What a stream is going to use.

    Attributes:
        prompt_tokens: estimated.
        output_tokens: to set aside at first.
        prompt_cost: of the prompt at most, in ``COST_UNITS`` parts of the currency.
        token_cost: of one output token at most; 0: there is no price.
    """

    prompt_tokens: int
    output_tokens: int = FIRST_OUTPUT_TOKENS
    prompt_cost: int = 0
    token_cost: int = 0

    @classmethod
    def of(cls, prompt_tokens: int, max_output_tokens: int | None, price: Price | None) -> "Need":
        """Work out what to set aside.

        Args:
            prompt_tokens: estimated.
            max_output_tokens: of the request, or None.
            price: of the model, or None: its streams count towards no budget.
        """
        output = min(max_output_tokens or FIRST_OUTPUT_TOKENS, MOST_FIRST_OUTPUT_TOKENS)
        if price is None:
            return cls(prompt_tokens, output)
        prompt_cost = price.prompt_at_most(prompt_tokens)
        return cls(prompt_tokens, output, prompt_cost, price.output_token_at_most)


class Spent(msgspec.Struct, frozen=True):
    """What a tenant has used.

    Attributes:
        tokens: today, UTC.
        cost: this month, UTC, in ``COST_UNITS`` parts of the currency.
    """

    tokens: int = 0
    cost: int = 0


History: TypeAlias = Callable[[int, float, Collection[str]], Awaitable[Spent]]
"""Tells what a tenant has used up to now (Unix seconds), from the ledger, without streams, given
by their ids: they are counted when they are settled here, and may be in the ledger already. Asked
when the counters do not know: after a start, when Redis was emptied. May raise ServerError."""


class Terms(NamedTuple):
    """On what terms a stream is admitted.

    Attributes:
        caller: whose limits count.
        price: of the model, or None.
    """

    caller: Caller
    price: Price | None = None


class Grant(Protocol):
    """A stream that was admitted: its place, its lease, and what is set aside for it.

    Ends with ``release`` on every path; ``settle`` comes before, once the usage is known.
    """

    @property
    def limited(self) -> bool:
        """Whether a cap may end the stream, so that its length must be noted."""

    def spent(self, output_tokens: int) -> bool:
        """Note the answer's length so far; whether all that is set aside for it is used up.

        Costs next to nothing and never waits: more is set aside in the background, in time. If it
        is used up nevertheless, ask ``extend``.

        Args:
            output_tokens: estimated or reported, of the whole answer so far.
        """

    async def extend(self, output_tokens: int) -> bool:
        """Wait until more is set aside than these tokens; False: a cap is reached.

        True while the counters cannot be reached: a running stream goes on.
        """

    async def settle(self, tokens: int, cost: int | None) -> None:
        """Replace what is set aside by what was used, and give the lease back.

        Returns soon, also when the counters cannot be reached; it is settled when they are back.
        Later calls do nothing.

        Args:
            tokens: prompt and completion.
            cost: in ``COST_UNITS`` parts of the currency, or None.
        """

    def release(self, *, lost: bool = False) -> None:
        """Give the place in this worker back; may be called again.

        Without ``settle`` before, nothing was used.

        Args:
            lost: another worker has taken the stream over, and settles it.
        """


class Admission(Protocol):
    """Requests per minute, concurrent streams, tokens per day, money per month, fair places."""

    @property
    def running(self) -> int:
        """How many streams have a place in this worker."""

    async def start(self) -> None:
        """Begin to renew leases."""

    async def close(self) -> None:
        """Deliver what is to be settled, for a moment, and stop."""

    async def take_request(self, caller: Caller) -> RateDecision:
        """Count one request.

        Raises:
            LimitsUnavailableError: the counters cannot be reached.
        """

    async def rate_headers(self, caller: Caller) -> dict[str, str]:
        """Return the rate limit fields of a response to a request that is not counted.

        Empty without limits, and while the counters cannot be reached.
        """

    async def admit(self, caller: Caller, stream_id: str, need: Need) -> Grant:
        """Admit a stream, and set aside what it needs.

        If that does not fit under a cap, what is left is set aside, unless the prompt alone exceeds
        it.

        Raises:
            RequestError: ``concurrency_limit_exceeded``; ``quota_exceeded``.
            ServerError: ``service_unavailable``: all places of this worker are taken.
            LimitsUnavailableError: the counters cannot be reached.
        """

    async def settle(
        self, tenant: int, subject: str, stream_id: str, tokens: int, cost: int | None
    ) -> None:
        """Settle a stream of a worker that is gone; see ``Grant.settle``.

        What the ledger stores of the stream must be stored before.
        """
