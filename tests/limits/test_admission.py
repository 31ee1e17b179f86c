"""Admission, leases, allowances and settlements, over counters in memory."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Any

import pytest

from support.admissions import NOON, PATIENCE, Clock, admission, caller, until
from tellstream.core.errors import RequestError, ServerError
from tellstream.core.observer import Check, NullObserver, Queue
from tellstream.core.prices import Price
from tellstream.limits.admission import SEED_TRIES, SharedAdmission
from tellstream.limits.base import LimitsUnavailableError, Need, Spent
from tellstream.limits.counters import Hold, Lease, Outcome
from tellstream.limits.grant import LOW_TOKENS, STEP_TOKENS
from tellstream.limits.memory import MemoryCounters
from tellstream.limits.periods import DAY
from tellstream.limits.places import Places

SMALL = Need(5, 10)


class Away(MemoryCounters):
    """Counters that cannot be reached at times, as Redis.

    Attributes:
        away: whether they cannot be reached now.
        calls: of ``reserve``.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.local = False
        self.away = False
        self.calls = 0

    async def take(self, *args: Any, **names: Any) -> Any:
        await self._answer()
        return await super().take(*args, **names)

    async def reserve(self, hold: Hold) -> Outcome:
        self.calls += 1
        await self._answer()
        return await super().reserve(hold)

    async def settle(self, lease: Lease, tokens: int, cost: int, *, used: bool = True) -> None:
        await self._answer()
        await super().settle(lease, tokens, cost, used=used)

    async def renew(self, leases: Sequence[Lease]) -> None:
        await self._answer()
        await super().renew(leases)

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise LimitsUnavailableError("away")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counters(clock: Clock) -> Away:
    return Away(clock)


# --- requests -------------------------------------------------------------------------------------


async def test_three_hundred_requests_at_once_against_twenty(counters: Away) -> None:
    async with admission(counters) as limits:
        who = caller(requests_per_minute=20)
        found = await asyncio.gather(*(limits.take_request(who) for _ in range(300)))
    assert sum(decision.refusal is None for decision in found) == 20
    assert {d.refusal.code for d in found if d.refusal} == {"rate_limit_exceeded"}
    assert {d.headers["X-RateLimit-Limit"] for d in found} == {"20"}


async def test_without_limits_nothing_is_asked_or_said(counters: Away) -> None:
    counters.away = True
    async with admission(counters) as limits:
        assert (await limits.take_request(caller())).headers == {}
        assert await limits.rate_headers(caller()) == {}


async def test_without_the_counters_requests_are_refused_and_fields_left_out(
    counters: Away,
) -> None:
    who = caller(requests_per_minute=20)
    async with admission(counters) as limits:
        assert (await limits.rate_headers(who))["X-RateLimit-Remaining"] == "20"
        counters.away = True
        with pytest.raises(LimitsUnavailableError) as caught:
            await limits.take_request(who)
        assert (caught.value.status, caught.value.retry_after) == (503, 1)
        assert await limits.rate_headers(who) == {}


# --- streams --------------------------------------------------------------------------------------


async def test_three_hundred_streams_at_once_against_twenty(counters: Away) -> None:
    who = caller(concurrent_streams=20)
    async with admission(counters) as limits:
        found = await asyncio.gather(
            *(limits.admit(who, f"s{n}", SMALL) for n in range(300)), return_exceptions=True
        )
        grants = [one for one in found if not isinstance(one, BaseException)]
        codes = {one.code for one in found if isinstance(one, RequestError)}
        assert (len(grants), codes, limits.running) == (20, {"concurrency_limit_exceeded"}, 20)
        for grant in grants:
            grant.release()
        assert limits.running == 0
    assert counters.tally(1).running(NOON) == 0
    assert counters.tally(1).held() == (0, 0)


async def test_a_stream_gives_everything_back_once(counters: Away) -> None:
    async with admission(counters, places=Places(1, 1.0)) as limits:
        grant = await limits.admit(caller(), "s1", SMALL)
        with pytest.raises(ServerError, match="service_unavailable"):
            await limits.admit(caller(tenant=2), "s2", SMALL)
        await grant.settle(12, 7)
        await grant.settle(99, 99)
        grant.release()
        grant.release()
        assert limits.running == 0
        assert counters.tally(1).spent(NOON) == Spent(12, 7)
        assert counters.tally(1).running(NOON) == 0
        before = counters.calls
        (await limits.admit(caller(), "s3", SMALL)).release()
        assert counters.calls == before + 1  # they still know what was spent


async def test_a_refused_stream_keeps_no_place(counters: Away) -> None:
    async with admission(counters) as limits:
        for _ in range(3):
            with pytest.raises(RequestError):
                await limits.admit(caller(tokens_per_day=2), "s1", SMALL)
        counters.away = True
        with pytest.raises(LimitsUnavailableError):
            await limits.admit(caller(), "s1", SMALL)
        assert limits.running == 0


async def test_a_cancelled_admission_keeps_neither_place_nor_lease(counters: Away) -> None:
    async with admission(counters) as limits:
        task = asyncio.create_task(limits.admit(caller(), "s1", SMALL))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not limits.due)
        assert limits.running == 0
    assert counters.tally(1).running(NOON) == 0
    assert counters.tally(1).held() == (0, 0)


async def test_a_stream_that_was_lost_to_another_worker_is_left_to_it(counters: Away) -> None:
    async with admission(counters) as ours, admission(counters) as theirs:
        grant = await ours.admit(caller(), "s1", SMALL)
        grant.release(lost=True)
        assert (ours.running, counters.tally(1).held().tokens) == (0, 15)
        await theirs.settle(1, "ann", "s1", 8, 3)
        assert counters.tally(1).spent(NOON) == Spent(8, 3)
        assert counters.tally(1).held() == (0, 0)


async def test_leases_are_renewed_until_the_end(counters: Away, clock: Clock) -> None:
    async with admission(counters, renew=0.01) as limits:
        grant = await limits.admit(caller(), "s1", SMALL)
        for _ in range(4):
            clock.now += 8
            await until(lambda: counters.tally(1)._live["s1"][0] == clock.now + 10)
        grant.release(lost=True)
        clock.now += 10
        assert counters.tally(1).running(clock.now) == 0


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caps", "code", "wait"),
    [
        ({"concurrent_streams": 1}, "concurrency_limit_exceeded", 1),
        ({"subject_concurrent_streams": 1}, "concurrency_limit_exceeded", 1),
        ({"tokens_per_day": 15}, "quota_exceeded", 1),
        ({"tokens_per_day": 5}, "quota_exceeded", DAY / 2),
        ({"budget_per_month": 150}, "quota_exceeded", 1),
        ({"budget_per_month": 59}, "quota_exceeded", 8.5 * DAY),
    ],
)
async def test_a_refusal_says_when_to_come_back(
    counters: Away, caps: dict[str, Any], code: str, wait: float
) -> None:
    need = Need(5, 10, prompt_cost=50, token_cost=10)
    async with admission(counters) as limits:
        found = await asyncio.gather(
            *(limits.admit(caller(**caps), f"s{n}", need) for n in range(2)),
            return_exceptions=True,
        )
        refused = found[-1]
        assert isinstance(refused, RequestError)
        assert (refused.code, refused.retry_after) == (code, wait)


# --- during the stream ----------------------------------------------------------------------------


async def test_a_stream_without_caps_is_never_stopped(counters: Away) -> None:
    async with admission(counters) as limits:
        grant = await limits.admit(caller(), "s1", SMALL)
        assert not grant.spent(10**9)
        assert counters.calls == 2  # of which one brought the seed
        grant.release()


async def test_a_stream_is_stopped_at_the_cap_of_the_day(counters: Away) -> None:
    async with admission(counters) as limits:
        grant = await limits.admit(caller(tokens_per_day=25), "s1", Need(5))
        assert not grant.spent(19)
        assert grant.spent(20)
        assert not await grant.extend(20)
        await grant.settle(25, None)
        grant.release()
        with pytest.raises(RequestError, match="quota_exceeded"):
            await limits.admit(caller(tokens_per_day=25), "s2", Need(1))


async def test_a_stream_is_stopped_at_the_end_of_the_budget(counters: Away) -> None:
    price = Price.of("3", "15")
    need = Need.of(100, None, price)
    assert (need.prompt_cost, need.token_cost) == (300_000, 15_000)
    async with admission(counters) as limits:
        budget = need.prompt_cost + 40 * need.token_cost
        grant = await limits.admit(caller(budget_per_month=budget), "s1", need)
        assert not grant.spent(39)
        assert grant.spent(40)
        assert not await grant.extend(40)
        grant.release()


async def test_more_is_set_aside_in_the_background_in_time(counters: Away) -> None:
    async with admission(counters) as limits:
        grant = await limits.admit(caller(tokens_per_day=100_000), "s1", Need(5))
        for length in range(0, 20_000, 100):
            assert not grant.spent(length)
            await asyncio.sleep(0.001)
        assert counters.tally(1).held().tokens < 5 + 20_000 + STEP_TOKENS + LOW_TOKENS
        assert counters.calls < 45  # not one call per look
        grant.release()


async def test_an_answer_that_outruns_its_reservation_waits_for_more(counters: Away) -> None:
    async with admission(counters) as limits:
        grant = await limits.admit(caller(tokens_per_day=10_000), "s1", Need(5))
        assert not grant.spent(1000)  # a refill begins
        assert grant.spent(5000)
        assert await grant.extend(5000)
        assert not grant.spent(5001)
        assert grant.spent(9995)
        assert not await grant.extend(9995)
        grant.release()


async def test_what_others_give_back_can_be_used(counters: Away) -> None:
    who = caller(tokens_per_day=100)
    async with admission(counters) as limits:
        first = await limits.admit(who, "s1", Need(10, 50))
        second = await limits.admit(who, "s2", Need(10, 50))
        assert second.spent(30)
        await first.settle(20, None)
        first.release()
        assert await second.extend(30)
        assert not second.spent(69)
        assert second.spent(70)
        assert not await second.extend(70)
        second.release()


async def test_streams_together_never_get_more_than_the_cap(counters: Away) -> None:
    who = caller(tokens_per_day=5000)
    used: list[int] = []

    async def stream(n: int) -> None:
        try:
            grant = await limits.admit(who, f"s{n}", Need(7, 50))
        except RequestError:
            return
        length = 0
        try:
            while length < 400 + 37 * n:
                if grant.spent(length + 1) and not await grant.extend(length + 1):
                    break
                length += 1
                if length % 50 == 0:
                    await asyncio.sleep(0)
            await grant.settle(7 + length, None)
            used.append(7 + length)
        finally:
            grant.release()

    async with admission(counters) as limits:
        await asyncio.gather(*(stream(n) for n in range(20)))
        assert 4000 < sum(used) <= 5000
        assert counters.tally(1).spent(NOON).tokens == sum(used)
        assert counters.tally(1).held() == (0, 0)


# --- outages --------------------------------------------------------------------------------------


async def test_running_streams_go_on_without_the_counters_and_are_settled_later(
    counters: Away,
) -> None:
    who = caller(tokens_per_day=4000)
    async with admission(counters, renew=0.01) as limits:
        grant = await limits.admit(who, "s1", Need(5))
        counters.away = True
        assert grant.spent(1024)
        assert await grant.extend(1024)
        assert await grant.extend(3900)
        await grant.settle(3905, 9)
        grant.release()
        assert (limits.running, limits.due) == (0, 1)
        counters.away = False
        await until(lambda: not limits.due)
        assert counters.tally(1).spent(NOON) == Spent(3905, 9)


async def test_after_an_outage_the_whole_answer_counts_again(counters: Away) -> None:
    async with admission(counters) as limits:
        grant = await limits.admit(caller(tokens_per_day=2000), "s1", Need(5))
        counters.away = True
        assert await grant.extend(5000)
        counters.away = False
        assert grant.spent(5001 + STEP_TOKENS)
        assert not await grant.extend(5001 + STEP_TOKENS)
        grant.release()


async def test_what_a_stopping_worker_could_not_deliver_is_delivered_at_its_end(
    counters: Away,
) -> None:
    async with admission(counters) as limits:
        grant = await limits.admit(caller(), "s1", SMALL)
        counters.away = True
        await grant.settle(9, 1)
        grant.release()
        counters.away = False
    assert counters.tally(1).spent(NOON) == Spent(9, 1)


async def test_a_cancelled_settlement_is_delivered(counters: Away) -> None:
    async with admission(counters) as limits:
        grant = await limits.admit(caller(), "s1", SMALL)
        task = asyncio.create_task(grant.settle(9, 1))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        grant.release()
        await until(lambda: not limits.due)
    assert counters.tally(1).spent(NOON) == Spent(9, 1)


async def test_refusals_of_a_long_outage_leave_little_behind(counters: Away) -> None:
    counters.away = True
    async with admission(counters, places=Places(10_000, 1.0)) as limits:
        for start in range(0, 3000, 500):
            found = await asyncio.gather(
                *(limits.admit(caller(), f"s{start + n}", SMALL) for n in range(500)),
                return_exceptions=True,
            )
            assert all(isinstance(one, LimitsUnavailableError) for one in found)
        assert (limits.due <= 1500, limits.running) == (True, 0)
        counters.away = False


# --- history --------------------------------------------------------------------------------------


async def test_what_was_spent_before_the_start_counts(counters: Away) -> None:
    asked = []

    async def history(tenant: int, now: float, without: Collection[str]) -> Spent:
        asked.append((tenant, now))
        return Spent(tokens=95)

    async with admission(counters, history=history) as limits:
        with pytest.raises(RequestError, match="quota_exceeded"):
            await limits.admit(caller(tokens_per_day=100), "s1", Need(5))
        grant = await limits.admit(caller(tokens_per_day=101), "s2", Need(5))
        grant.release()
    assert asked == [(1, NOON)]


async def test_a_rush_asks_the_ledger_once(counters: Away) -> None:
    asked = asyncio.Event()
    calls = 0

    async def history(tenant: int, now: float, without: Collection[str]) -> Spent:
        nonlocal calls
        calls += 1
        await asked.wait()
        return Spent(tokens=40)

    async with admission(counters, history=history) as limits:
        who = caller(concurrent_streams=20, tokens_per_day=1_000_000)
        rush = [asyncio.create_task(limits.admit(who, f"s{n}", SMALL)) for n in range(300)]
        other = asyncio.create_task(limits.admit(caller(tenant=2), "s", SMALL))
        rush[0].cancel()  # the first one to ask leaves
        await until(lambda: calls == 2)
        asked.set()
        found = await asyncio.gather(*rush, return_exceptions=True)
        grants = [one for one in found if not isinstance(one, BaseException)]
        assert (len(grants), calls) == (20, 2)
        assert counters.tally(1).spent(NOON) == Spent(tokens=40)
        for grant in [*grants, await other]:
            grant.release()


async def test_an_unreadable_ledger_is_told_to_all_who_asked(counters: Away) -> None:
    calls = 0

    async def history(tenant: int, now: float, without: Collection[str]) -> Spent:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.01)
        raise ServerError("service_unavailable", retry_after=1)

    async with admission(counters, history=history) as limits:
        rush = (limits.admit(caller(), f"s{n}", SMALL) for n in range(20))
        found = await asyncio.gather(*rush, return_exceptions=True)
        assert {getattr(one, "code", "") for one in found} == {"service_unavailable"}
        assert (calls, limits.running) == (1, 0)


async def test_an_unreadable_ledger_admits_nobody(counters: Away) -> None:
    async def history(tenant: int, now: float, without: Collection[str]) -> Spent:
        raise ServerError("service_unavailable", retry_after=1)

    async with admission(counters, history=history) as limits:
        with pytest.raises(ServerError, match="service_unavailable"):
            await limits.admit(caller(), "s1", SMALL)
        assert limits.running == 0


async def test_counters_that_ask_for_ever_admit_nobody(counters: Away) -> None:
    async def history(tenant: int, now: float, without: Collection[str]) -> Spent:
        await counters.settle(Lease(1, "ann", "other"), 1, 1)  # makes this answer outdated
        return Spent()

    async with admission(counters, history=history) as limits:
        with pytest.raises(LimitsUnavailableError):
            await limits.admit(caller(), "s1", SMALL)
        assert counters.calls == SEED_TRIES


# --- what is observed -----------------------------------------------------------------------------


class Noting(NullObserver):
    """Notes decisions."""

    def __init__(self) -> None:
        self.decided: list[tuple[str, str]] = []
        self.waits: list[str] = []

    def limit_decided(self, check: Check, decision: str, seconds: float) -> None:
        assert 0 <= seconds < PATIENCE
        self.decided.append((check, decision))

    def waited(self, queue: Queue, seconds: float) -> None:
        assert 0 <= seconds < PATIENCE
        self.waits.append(queue)


async def test_each_decision_is_told_with_its_outcome(counters: Away) -> None:
    told = Noting()
    limits = SharedAdmission(counters, Places(2, 1.0), 3600.0, observer=told)
    await limits.start()
    who = caller(requests_per_minute=1, concurrent_streams=1, tokens_per_day=40)
    for _ in range(2):
        await limits.take_request(who)
    grant = await limits.admit(who, "s1", SMALL)
    with pytest.raises(RequestError):
        await limits.admit(who, "s2", SMALL)
    assert await grant.extend(30)
    assert not await grant.extend(35)
    counters.away = True
    assert await grant.extend(40)  # a running stream goes on
    with pytest.raises(LimitsUnavailableError):
        await limits.take_request(who)
    with pytest.raises(LimitsUnavailableError):
        await limits.admit(who, "s3", SMALL)
    counters.away = False
    other = await limits.admit(caller(tenant=2), "s4", SMALL)
    with pytest.raises(ServerError):
        await limits.admit(caller(tenant=3), "s5", SMALL)
    for each in (grant, other):
        each.release()
    await limits.close()
    assert told.decided == [
        ("requests", "allowed"),
        ("requests", "rate_limit_exceeded"),
        ("admission", "allowed"),
        ("admission", "concurrency_limit_exceeded"),
        ("extension", "allowed"),
        ("extension", "quota_exceeded"),
        ("extension", "service_unavailable"),
        ("requests", "service_unavailable"),
        ("admission", "service_unavailable"),
        ("admission", "allowed"),
        ("admission", "service_unavailable"),  # all places are taken
    ]
    assert told.waits == ["admission"] * 5
