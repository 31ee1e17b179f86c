"""A stream that was admitted, as its producer has it."""

import asyncio
from typing import Final, Protocol

import structlog

from tellstream.core.errors import ServerError
from tellstream.limits.base import Caller, Need
from tellstream.limits.counters import Hold, Lease, Outcome

STEP_TOKENS: Final = 1024
"""Set aside at a time beyond the first reservation: seconds of a fast model's output, so that few
calls are made, and little is missing to the tenant's other streams."""
LOW_TOKENS: Final = 512
"""More is asked for in the background when so many are left, or half of the last reservation if it
was cut short: Redis answers long before they are used up."""

log = structlog.get_logger("tellstream.limits")


class Desk(Protocol):
    """What a grant asks of the admission it comes from."""

    async def extend(self, hold: Hold) -> Outcome:
        """Set more aside."""

    async def deliver(self, lease: Lease, tokens: int, cost: int, *, used: bool) -> None:
        """Settle; returns soon."""

    def post(self, lease: Lease) -> None:
        """Give everything back soon: nothing was used."""

    def leave(self, lease: Lease) -> None:
        """Give the place back and renew no more."""


class StreamGrant:
    """See ``Grant``.

    Args:
        desk: where it comes from.
        caller: whose stream it is.
        lease: of the stream.
        need: of the stream.
        output_tokens: set aside so far.
    """

    def __init__(
        self, desk: Desk, caller: Caller, lease: Lease, need: Need, output_tokens: int
    ) -> None:
        self.lease = lease
        self._desk = desk
        self._caller = caller
        self._need = need
        self.limited = _is_limited(caller, need)
        self._reserved = output_tokens
        self._refill: asyncio.Task[bool] | None = None
        self._settled = False
        self._released = False
        self._refill_at = self._early(0)

    def spent(self, output_tokens: int) -> bool:
        """Note the answer's length so far; whether all that is set aside for it is used up."""
        if output_tokens < self._refill_at or not self.limited:
            return False
        if output_tokens >= self._reserved:
            return True
        if self._refill is None and not self._released:
            self._refill = asyncio.get_running_loop().create_task(self._ask(output_tokens))
            self._refill.add_done_callback(self._asked)
        return False

    async def extend(self, output_tokens: int) -> bool:
        """Wait until more is set aside than these tokens; False: a cap is reached."""
        while output_tokens >= self._reserved and self.limited:
            task = self._refill
            if task is None:
                if not await self._ask(output_tokens):
                    return False
            else:
                # Asked in time, for less than is needed now; a cancelled caller leaves it alone.
                await asyncio.wait({task})
                await asyncio.sleep(0)  # its callback runs
        return True

    async def settle(self, tokens: int, cost: int | None) -> None:
        """Replace what is set aside by what was used, and give the lease back."""
        if self._settled or self._released:
            return
        self._settled = True
        await self._desk.deliver(self.lease, tokens, cost or 0, used=True)

    def release(self, *, lost: bool = False) -> None:
        """Give the place in this worker back; may be called again."""
        if self._released:
            return
        self._released = True
        if self._refill is not None:
            self._refill.cancel()
        self._desk.leave(self.lease)
        if not lost and not self._settled:
            self._desk.post(self.lease)

    async def _ask(self, output_tokens: int) -> bool:
        """Set more aside; whether it is more than these tokens."""
        needed = output_tokens + 1
        wanted = max(self._reserved, needed) + STEP_TOKENS
        caps = self._caller.caps
        hold = Hold(self.lease, caps, self._need, wanted, needed=needed, more=True)
        try:
            outcome = await self._desk.extend(hold)
        except ServerError as error:  # the counters, or the ledger that seeds them, are away
            log.warning("limits.not_extended", stream=self.lease.stream_id, reason=error.reason)
            granted = wanted  # a running stream goes on; the next call asks for the whole
        else:
            granted = wanted if outcome.status == "gone" else outcome.output_tokens
        if granted > self._reserved:
            self._reserved = granted
            self._refill_at = self._early(output_tokens)
        else:
            self._refill_at = self._reserved  # nothing is left: ask again when it is used up
        return output_tokens < self._reserved

    def _early(self, output_tokens: int) -> int:
        """Tell at which length to ask for more."""
        return self._reserved - min(LOW_TOKENS, (self._reserved - output_tokens) // 2)

    def _asked(self, task: "asyncio.Task[bool]") -> None:
        self._refill = None
        if not task.cancelled() and task.exception() is not None:
            log.error("limits.refill_failed", reason=repr(task.exception()))


def _is_limited(caller: Caller, need: Need) -> bool:
    caps = caller.caps
    money = caps.budget_per_month is not None and need.token_cost > 0
    return caps.tokens_per_day is not None or money
