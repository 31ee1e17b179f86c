"""Admission of requests and streams: the counters, this worker's places, and the leases it renews.

Everything that waits for the counters is bounded by their own deadline; what could not be settled
is kept and delivered again with each renewal.
"""

import asyncio
from collections.abc import Collection, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import msgspec
import structlog

from tellstream.core.errors import ChatError, RequestError, ServerError
from tellstream.core.observer import ALLOWED, Check, NullObserver, Observer
from tellstream.limits import rates
from tellstream.limits.base import (
    Caller,
    Grant,
    History,
    LimitsUnavailableError,
    Need,
    RateDecision,
    Spent,
)
from tellstream.limits.counters import Counters, Hold, Lease, Outcome, Seed, Status
from tellstream.limits.grant import StreamGrant
from tellstream.limits.periods import until_next_month, until_tomorrow
from tellstream.limits.places import Places

SETTLE_SECONDS: Final = 0.5
"""For which the end of a stream waits until its usage is counted; then it is counted later."""
CLOSE_SECONDS: Final = 2.0
"""For which a worker that stops delivers what is to be settled."""
MAX_DUE: Final = 100_000
"""Settlements kept while the counters are away: more than a worker runs streams, each some hundred
bytes. What does not fit is logged; its reservation runs out by itself."""
MAX_UNSURE: Final = 1000
"""Of these, such that only say that an admission of unknown outcome was none. What is beyond is
refused during a long outage, and was hardly counted."""
SEED_TRIES: Final = 5
"""Of telling the counters what a tenant has spent, while its streams end all the time."""
SLOT_RETRY: Final = 1.0
"""Seconds to advise when all streams of a tenant are busy, or all that is left is set aside for
them: one may end at any moment."""

log = structlog.get_logger("tellstream.limits")

_Value = TypeVar("_Value")


async def nothing_spent(_tenant: int, _now: float, _without: Collection[str]) -> Spent:
    """Be the history of a server without a ledger."""
    return Spent()


class _Answer:
    """What was decided: ``allowed`` or the code of the refusal; empty: nothing."""

    __slots__ = ("decision",)

    def __init__(self) -> None:
        self.decision = ALLOWED


class SharedAdmission:
    """See ``Admission``.

    Args:
        counters: shared by all workers, or of this process.
        places: of this worker.
        renew_seconds: between two renewals of the leases: a third of their length.
        history: what tenants have spent, for counters that do not know.
        observer: is told of each decision.
    """

    def __init__(
        self,
        counters: Counters,
        places: Places,
        renew_seconds: float,
        history: History = nothing_spent,
        observer: Observer | None = None,
    ) -> None:
        self._observer = observer or NullObserver()
        self._counters = counters
        self._places = places
        self._renew_seconds = renew_seconds
        self._history = history
        self._leases: dict[tuple[int, str], Lease] = {}
        self._due: dict[tuple[int, str], tuple[Lease, int, int, bool]] = {}
        self._flying: set[tuple[int, str]] = set()
        self._asked: dict[int, asyncio.Task[Seed]] = {}  # what tenants have spent
        self._tasks: set[asyncio.Task[Any]] = set()
        self._renewing: asyncio.Task[None] | None = None

    @property
    def running(self) -> int:
        """How many streams run in this worker."""
        return self._places.running

    @property
    def due(self) -> int:
        """How many settlements the counters have not got yet."""
        return len(self._due)

    async def start(self) -> None:
        """Begin to renew leases."""
        await self._counters.start()
        self._renewing = asyncio.get_running_loop().create_task(self._renew_all())

    async def close(self) -> None:
        """Deliver what is to be settled, for a moment, and stop."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait({self._renewing})
            self._renewing = None
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + CLOSE_SECONDS
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_SECONDS)
        if self._due and loop.time() < give_up_at:
            task = self._spawn(self._deliver_due())
            await asyncio.wait({task}, timeout=give_up_at - loop.time())
        if self._due:
            log.error("limits.not_settled", streams=len(self._due))
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._counters.close()

    async def take_request(self, caller: Caller) -> RateDecision:
        """Count one request.

        Raises:
            LimitsUnavailableError: the counters cannot be reached.
        """
        rules = rates.policies(caller.caps)
        if not rules:
            return RateDecision({})
        with self._deciding("requests") as answer:
            before, now = await self._counters.take(caller.tenant, caller.subject, rules)
            _, taken = rates.take_all(rules, before, now)
            decision = rates.decision(rules, taken, now)
            if decision.refusal is not None:
                answer.decision = decision.refusal.code
        return decision

    async def rate_headers(self, caller: Caller) -> dict[str, str]:
        """Return the rate limit fields of a response to a request that is not counted."""
        rules = rates.policies(caller.caps)
        if not rules:
            return {}
        try:
            before, now = await self._counters.take(caller.tenant, caller.subject, rules, look=True)
        except LimitsUnavailableError as error:
            # Looking at a stream needs no counters; the fields are hints.
            log.warning("limits.headers_unknown", reason=error.reason)
            return {}
        return rates.headers(rules, rates.look_all(rules, before, now), now)

    async def admit(self, caller: Caller, stream_id: str, need: Need) -> Grant:
        """Admit a stream, and set aside what it needs.

        Raises:
            RequestError: ``concurrency_limit_exceeded``; ``quota_exceeded``.
            ServerError: ``service_unavailable``: all places of this worker are taken.
            LimitsUnavailableError: the counters cannot be reached.
        """
        started = asyncio.get_running_loop().time()
        try:
            with self._deciding("admission"):
                return await self._admit(caller, stream_id, need)
        finally:
            self._observer.waited("admission", asyncio.get_running_loop().time() - started)

    async def _admit(self, caller: Caller, stream_id: str, need: Need) -> Grant:
        by_subject = caller.caps.subject_concurrent_streams is not None
        lease = Lease(caller.tenant, caller.subject, stream_id, by_subject)
        self._places.take(caller.tenant)
        admitted = False
        try:
            outcome = await self.reserve(Hold(lease, caller.caps, need, need.output_tokens))
            error = refusal(outcome)
            if error is not None:
                raise error
            admitted = True
        except (asyncio.CancelledError, LimitsUnavailableError):
            if len(self._due) < MAX_UNSURE:
                self.post(lease)  # it may have been admitted
            raise
        finally:
            if not admitted:
                self._places.release(caller.tenant)
        self._leases[caller.tenant, stream_id] = lease
        return StreamGrant(self, caller, lease, need, outcome.output_tokens)

    async def settle(
        self, tenant: int, subject: str, stream_id: str, tokens: int, cost: int | None
    ) -> None:
        """Settle a stream of a worker that is gone."""
        await self.deliver(Lease(tenant, subject, stream_id), tokens, cost or 0, used=True)

    # --- for grants ------------------------------------------------------------------------------

    async def extend(self, hold: Hold) -> Outcome:
        """Set more aside for a running stream.

        Raises:
            ServerError: see ``reserve``.
        """
        with self._deciding("extension") as answer:
            outcome = await self.reserve(hold)
            if outcome.status != "gone" and outcome.output_tokens < hold.needed:
                answer.decision = "quota_exceeded"
        return outcome

    async def reserve(self, hold: Hold) -> Outcome:
        """Set aside what a stream needs; tell the counters what its tenant has spent if they ask.

        Raises:
            LimitsUnavailableError: the counters cannot be reached.
            ServerError: the ledger cannot.
        """
        tenant = hold.lease.tenant
        for _ in range(SEED_TRIES):
            outcome = await self._counters.reserve(hold)
            if outcome.swept:
                log.warning("limits.swept", tenant=tenant, streams=outcome.swept)
            if outcome.status != "unseeded":
                return outcome
            hold = msgspec.structs.replace(hold, seed=await self._seed(tenant, outcome))
        raise LimitsUnavailableError("what the tenant has spent changes all the time")

    async def _seed(self, tenant: int, outcome: Outcome) -> Seed:
        """Look up what a tenant has spent: once for all who ask at the same time.

        An answer that is too old for one of them has the wrong version, so that it asks again.
        """
        asked = self._asked.get(tenant)
        if asked is None:
            asked = self._asked[tenant] = self._spawn(self._look_up(tenant, outcome))
            asked.add_done_callback(lambda _: self._asked.pop(tenant))
        return await asyncio.shield(asked)

    async def _look_up(self, tenant: int, outcome: Outcome) -> Seed:
        return Seed(outcome.version, await self._history(tenant, outcome.now, outcome.held))

    async def deliver(self, lease: Lease, tokens: int, cost: int, *, used: bool) -> None:
        """Settle; returns soon, whatever happens."""
        key = (lease.tenant, lease.stream_id)
        self._leases.pop(key, None)
        if self._counters.local:
            await self._counters.settle(lease, tokens, cost, used=used)
            return
        if len(self._due) >= MAX_DUE:
            log.error("limits.not_settled", stream=lease.stream_id, tokens=tokens, cost=cost)
            return
        self._due[key] = (lease, tokens, cost, used)
        # Goes on when nobody waits any more.
        await asyncio.wait({self._spawn(self._deliver_one(key))}, timeout=SETTLE_SECONDS)

    def post(self, lease: Lease) -> None:
        """Give everything back soon: nothing was used."""
        self._spawn(self.deliver(lease, 0, 0, used=False))

    def leave(self, lease: Lease) -> None:
        """Give the place back and renew no more."""
        self._leases.pop((lease.tenant, lease.stream_id), None)
        self._places.release(lease.tenant)

    @contextmanager
    def _deciding(self, check: Check) -> Iterator[_Answer]:
        """Tell the observer what a decision came to, and how long it took."""
        time = asyncio.get_running_loop().time
        started, answer = time(), _Answer()
        try:
            yield answer
        except ChatError as error:
            answer.decision = error.code
            raise
        except asyncio.CancelledError:
            answer.decision = ""  # whoever asked has left
            raise
        finally:
            if answer.decision:
                self._observer.limit_decided(check, answer.decision, time() - started)

    # --- in the background -----------------------------------------------------------------------

    async def _renew_all(self) -> None:
        while True:
            await asyncio.sleep(self._renew_seconds)
            try:
                if self._leases:
                    await self._counters.renew(list(self._leases.values()))
                await self._deliver_due()
            except LimitsUnavailableError as error:
                log.warning("limits.not_renewed", streams=len(self._leases), reason=error.reason)
            except Exception:
                log.exception("limits.renewal_failed")

    async def _deliver_due(self) -> None:
        for key in list(self._due):
            if not await self._delivered(key):
                return

    async def _deliver_one(self, key: tuple[int, str]) -> None:
        await self._delivered(key)

    async def _delivered(self, key: tuple[int, str]) -> bool:
        due = self._due.get(key)
        if due is None or key in self._flying:
            return True
        lease, tokens, cost, used = due
        self._flying.add(key)
        try:
            await self._counters.settle(lease, tokens, cost, used=used)
        except LimitsUnavailableError as error:
            log.warning("limits.settled_later", stream=lease.stream_id, reason=error.reason)
            return False
        finally:
            self._flying.discard(key)
        self._due.pop(key, None)
        return True

    def _spawn(self, work: Coroutine[Any, Any, _Value]) -> asyncio.Task[_Value]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ChatError):  # else whoever waits is told
            log.error("limits.task_failed", exc_info=error)


def refusal(outcome: Outcome) -> ChatError | None:
    """Say why a stream is not admitted, and when it may be; None: it is."""
    if outcome.status == "ok":
        return None
    now = outcome.now
    rows: dict[Status, tuple[str, float]] = {
        "streams": ("concurrency_limit_exceeded", SLOT_RETRY),
        "subject_streams": ("concurrency_limit_exceeded", SLOT_RETRY),
        "tokens": ("quota_exceeded", until_tomorrow(now)),
        "tokens_held": ("quota_exceeded", SLOT_RETRY),
        "budget": ("quota_exceeded", until_next_month(now)),
        "budget_held": ("quota_exceeded", SLOT_RETRY),
    }
    if outcome.status not in rows:
        return ServerError("server_error", reason=f"admission came to {outcome.status}")
    code, retry_after = rows[outcome.status]
    return RequestError(code, retry_after=retry_after, reason=outcome.status)
