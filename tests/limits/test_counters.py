"""The same tests on every implementation of the counters, with a clock that the tests move."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.admissions import NOON, Clock, hold
from support.redis import RedisServer, redis_server
from tellstream.limits import rates
from tellstream.limits.base import Caps, Need, Spent
from tellstream.limits.counters import Counters, Hold, Lease, Outcome, Seed
from tellstream.limits.memory import MemoryCounters
from tellstream.limits.redis import RedisCounters

LEASE = 10.0
LAPSED = 100.0
KINDS = ["memory", "redis"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(Path(tmp_path_factory.mktemp("redis")), "--appendfsync", "no") as running:
        yield running


@asynccontextmanager
async def open_counters(kind: str, clock: Clock, request: Any) -> AsyncIterator[Counters]:
    counters: Counters
    if kind == "memory":
        counters = MemoryCounters(clock, LEASE, LAPSED)
    else:
        running = request.getfixturevalue("server")
        running.ask("FLUSHALL")
        counters = RedisCounters(running.url, LEASE, LAPSED, clock)
    await counters.start()
    try:
        yield counters
    finally:
        await counters.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=KINDS)
async def counters(request: Any, clock: Clock) -> AsyncIterator[Counters]:
    async with open_counters(request.param, clock, request) as made:
        yield made


async def reserve(counters: Counters, wish: Hold, spent: Spent | None = None) -> Outcome:
    """Reserve; tell what was spent if asked."""
    outcome = await counters.reserve(wish)
    if outcome.status == "unseeded":
        seed = Seed(outcome.version, spent or Spent())
        outcome = await counters.reserve(msgspec.structs.replace(wish, seed=seed))
    return outcome


# --- requests -------------------------------------------------------------------------------------


async def requests(counters: Counters, count: int, caps: Caps, subject: str = "ann") -> int:
    """Take requests; returns how many passed."""
    rules = rates.policies(caps)
    passed = 0
    for _ in range(count):
        before, now = await counters.take(1, subject, rules)
        passed += rates.take_all(rules, before, now)[0]
    return passed


@pytest.mark.parametrize("per_minute", [1, 3, 7, 11, 60])
async def test_a_burst_of_the_limit_passes_and_no_more(counters: Counters, per_minute: int) -> None:
    caps = Caps(requests_per_minute=per_minute)
    assert await requests(counters, per_minute + 3, caps) == per_minute


async def test_requests_come_back_evenly(counters: Counters, clock: Clock) -> None:
    caps = Caps(requests_per_minute=3)
    assert await requests(counters, 5, caps) == 3
    clock.now += 20
    assert await requests(counters, 5, caps) == 1
    clock.now += 60
    assert await requests(counters, 5, caps) == 3


async def test_subjects_share_the_limit_of_their_tenant_and_have_one_of_their_own(
    counters: Counters,
) -> None:
    caps = Caps(requests_per_minute=5, subject_requests_per_minute=2)
    assert await requests(counters, 4, caps, "ann") == 2
    assert await requests(counters, 4, caps, "bob") == 2
    assert await requests(counters, 4, caps, "cid") == 1


async def test_a_request_that_the_subject_may_not_make_costs_the_tenant_nothing(
    counters: Counters,
) -> None:
    both = Caps(requests_per_minute=5, subject_requests_per_minute=2)
    assert await requests(counters, 50, both, "ann") == 2
    assert await requests(counters, 50, Caps(requests_per_minute=5), "bob") == 3


async def test_looking_takes_nothing_and_tells_the_truth(counters: Counters) -> None:
    rules = rates.policies(Caps(requests_per_minute=4))
    await requests(counters, 1, Caps(requests_per_minute=4))
    for _ in range(9):
        before, now = await counters.take(1, "ann", rules, look=True)
    fields = rates.headers(rules, rates.look_all(rules, before, now), now)
    assert fields["X-RateLimit-Remaining"] == "3"
    assert int(fields["X-RateLimit-Reset"]) == NOON + 15


@pytest.mark.parametrize("subject", ["", "ä\ud800\n{}", "x" * 10_000])
async def test_any_text_is_a_subject(counters: Counters, subject: str) -> None:
    assert await requests(counters, 3, Caps(subject_requests_per_minute=2), subject) == 2
    wish = hold(subject=subject, subject_concurrent_streams=1)
    assert (await reserve(counters, wish)).status == "ok"


# --- streams --------------------------------------------------------------------------------------


async def test_no_more_streams_than_the_limit_run_at_once(counters: Counters) -> None:
    found = [
        (await reserve(counters, hold(f"s{n}", concurrent_streams=2))).status for n in range(4)
    ]
    assert found == ["ok", "ok", "streams", "streams"]
    assert (await reserve(counters, hold("x", tenant=2, concurrent_streams=2))).status == "ok"


async def test_no_more_streams_of_a_subject_than_its_limit_run_at_once(counters: Counters) -> None:
    caps: dict[str, Any] = {"concurrent_streams": 3, "subject_concurrent_streams": 2}
    found = [
        (await reserve(counters, hold(f"s{n}", subject=subject, **caps))).status
        for n, subject in enumerate(["ann", "ann", "ann", "bob", "bob"])
    ]
    assert found == ["ok", "ok", "subject_streams", "ok", "streams"]
    await counters.settle(Lease(1, "ann", "s0"), 0, 0, used=False)
    assert (await reserve(counters, hold("t", subject="ann", **caps))).status == "ok"


async def test_a_stream_that_ended_makes_room_for_one(counters: Counters) -> None:
    await reserve(counters, hold("s1", concurrent_streams=1))
    await counters.settle(Lease(1, "ann", "s1"), 3, 0)
    found = [
        (await reserve(counters, hold(f"t{n}", concurrent_streams=1))).status for n in range(2)
    ]
    assert found == ["ok", "streams"]


async def test_admitting_a_stream_twice_takes_one_place(counters: Counters) -> None:
    for _ in range(3):
        assert (await reserve(counters, hold("s1", concurrent_streams=2))).status == "ok"
    assert (await reserve(counters, hold("s2", concurrent_streams=2))).status == "ok"


async def test_a_lease_that_is_not_renewed_runs_out(counters: Counters, clock: Clock) -> None:
    caps: dict[str, Any] = {"concurrent_streams": 2, "subject_concurrent_streams": 2}
    await reserve(counters, hold("s1", **caps))
    await reserve(counters, hold("s2", **caps))
    clock.now += LEASE - 1
    await counters.renew([Lease(1, "ann", "s2", by_subject=True)])
    assert (await reserve(counters, hold("s3", **caps))).status == "streams"
    clock.now += 1
    found = [(await reserve(counters, hold(f"t{n}", **caps))).status for n in range(2)]
    assert found == ["ok", "streams"]


async def test_a_lease_that_ran_out_while_redis_was_away_is_renewed(
    counters: Counters, clock: Clock
) -> None:
    await reserve(counters, hold("s1", concurrent_streams=1))
    clock.now += LEASE * 2
    await counters.renew([Lease(1, "ann", "s1")])
    assert (await reserve(counters, hold("s2", concurrent_streams=1))).status == "streams"


async def test_renewing_does_not_revive_what_was_settled(counters: Counters) -> None:
    await reserve(counters, hold("s1", concurrent_streams=1))
    await counters.settle(Lease(1, "ann", "s1"), 1, 0)
    await counters.renew([Lease(1, "ann", "s1", by_subject=True)])
    assert (await reserve(counters, hold("s2", concurrent_streams=1))).status == "ok"


async def test_very_many_leases_are_renewed(counters: Counters, clock: Clock) -> None:
    names = [f"s{n}" for n in range(1200)]
    for name in names:
        await reserve(counters, hold(name))
    clock.now += LEASE - 1
    await counters.renew([Lease(1, "ann", name) for name in names])
    clock.now += LEASE - 1
    assert (await reserve(counters, hold("x", concurrent_streams=1200))).status == "streams"


# --- tokens ---------------------------------------------------------------------------------------


async def test_what_fits_is_set_aside_whole(counters: Counters) -> None:
    outcome = await reserve(counters, hold(wanted=95, tokens_per_day=100))
    assert (outcome.status, outcome.output_tokens) == ("ok", 95)


async def test_what_does_not_fit_is_cut_to_what_is_left(counters: Counters) -> None:
    outcome = await reserve(counters, hold(wanted=96, tokens_per_day=100))
    assert (outcome.status, outcome.output_tokens) == ("ok", 95)


async def test_a_prompt_that_leaves_no_room_for_an_answer_is_refused(counters: Counters) -> None:
    assert (await reserve(counters, hold(tokens_per_day=6))).output_tokens == 1
    other = hold("s2", tenant=2, tokens_per_day=5)
    assert (await reserve(counters, other)).status == "tokens"


async def test_what_is_set_aside_for_others_is_not_left(counters: Counters) -> None:
    await reserve(counters, hold("s1", 50, tokens_per_day=100))
    assert (await reserve(counters, hold("s2", 50, tokens_per_day=100))).output_tokens == 40
    assert (await reserve(counters, hold("s3", 50, tokens_per_day=100))).status == "tokens_held"
    await counters.settle(Lease(1, "ann", "s1"), 11, 0)
    # 11 spent and 45 set aside: 44 are left, 5 of them for the prompt
    assert (await reserve(counters, hold("s3", 50, tokens_per_day=100))).output_tokens == 39


async def test_a_reservation_is_extended_up_to_the_cap(counters: Counters) -> None:
    async def extend(wanted: int) -> tuple[str, int]:
        wish = hold("s1", wanted, more=True, tokens_per_day=100)
        outcome = await reserve(counters, wish)
        return outcome.status, outcome.output_tokens

    await reserve(counters, hold("s1", 10, tokens_per_day=100))
    assert await extend(50) == ("ok", 50)
    assert await extend(50) == ("ok", 50)  # a repeated call changes nothing
    await reserve(counters, hold("s2", 10, tokens_per_day=100))
    assert await extend(200) == ("ok", 80)
    assert (await reserve(counters, hold("s3", 1, tokens_per_day=100))).status == "tokens_held"


async def test_near_a_cap_nobody_takes_much_in_advance(counters: Counters) -> None:
    """A quarter of what is left beyond the need, but 64 tokens if there are so many."""
    found = []
    for n in range(8):
        wish = hold(f"s{n}", 1024, Need(0), needed=1, tokens_per_day=1000)
        found.append((await reserve(counters, wish)).output_tokens)
    # 1000 - 1 = 999 left in advance, of which a quarter is 249; then of 749, 561, 421, 315, 235, …
    assert found == [250, 188, 141, 106, 79, 65, 65, 65]
    wish = hold("s0", 1024, Need(0), needed=280, more=True, tokens_per_day=1000)
    assert (await reserve(counters, wish)).output_tokens == 291  # the last 41


async def test_what_is_settled_cannot_be_extended(counters: Counters) -> None:
    await reserve(counters, hold("s1"))
    await counters.settle(Lease(1, "ann", "s1"), 1, 0)
    assert (await reserve(counters, hold("s1", 50, more=True))).status == "gone"


async def test_what_was_set_aside_for_a_stream_that_never_began_is_given_back(
    counters: Counters,
) -> None:
    await reserve(counters, hold("s1", 95, tokens_per_day=100))
    await counters.settle(Lease(1, "ann", "s1"), 0, 0, used=False)
    assert (await reserve(counters, hold("s2", 95, tokens_per_day=100))).output_tokens == 95


async def test_spent_tokens_come_back_at_midnight_utc(counters: Counters, clock: Clock) -> None:
    clock.now = datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    await reserve(counters, hold("s1", tokens_per_day=100))
    await counters.settle(Lease(1, "ann", "s1"), 95, 0)
    assert (await reserve(counters, hold("s2", tokens_per_day=100))).status == "tokens"
    clock.now += 1
    assert (await reserve(counters, hold("s2", 99, tokens_per_day=100))).output_tokens == 95


async def test_what_runs_over_midnight_is_spent_on_the_day_of_its_end(
    counters: Counters, clock: Clock
) -> None:
    clock.now = datetime(2026, 4, 22, 23, 59, 59, tzinfo=UTC).timestamp()
    await reserve(counters, hold("s1", 50, tokens_per_day=100))
    clock.now += 2
    # Set aside on both days, as it will be spent on the second.
    assert (await reserve(counters, hold("s2", 99, tokens_per_day=100))).output_tokens == 40
    await counters.settle(Lease(1, "ann", "s1"), 60, 0)
    await counters.settle(Lease(1, "ann", "s2"), 0, 0, used=False)
    assert (await reserve(counters, hold("s3", 99, tokens_per_day=100))).output_tokens == 35


async def test_the_first_settlement_of_a_day_does_not_add_to_the_day_before(
    counters: Counters, clock: Clock
) -> None:
    await reserve(counters, hold("s1", tokens_per_day=100))
    await reserve(counters, hold("s2", tokens_per_day=100))
    await counters.settle(Lease(1, "ann", "s1"), 60, 0)
    clock.now += 86_400
    await counters.settle(Lease(1, "ann", "s2"), 30, 0)
    assert (await reserve(counters, hold("s3", 99, tokens_per_day=100))).output_tokens == 65


async def test_a_reservation_that_nobody_settles_is_swept(counters: Counters, clock: Clock) -> None:
    await reserve(counters, hold("s1", 90, tokens_per_day=100))
    clock.now += LEASE + LAPSED - 1
    assert (await reserve(counters, hold("s2", 90, tokens_per_day=100))).status == "tokens_held"
    clock.now += 1
    wish = hold("s2", 90, tokens_per_day=100)
    asked = await counters.reserve(wish)  # what became of it may be in the ledger
    assert (asked.status, asked.swept, asked.held) == ("unseeded", 1, ())
    outcome = await reserve(counters, wish)
    assert (outcome.status, outcome.output_tokens, outcome.swept) == ("ok", 90, 0)


async def test_a_stream_of_a_lost_worker_is_settled_by_another(
    counters: Counters, clock: Clock
) -> None:
    await reserve(counters, hold("s1", 80, tokens_per_day=100, concurrent_streams=1))
    clock.now += LEASE
    await counters.settle(Lease(1, "ann", "s1"), 30, 0)
    wish = hold("s2", 90, tokens_per_day=100, concurrent_streams=1)
    assert (await reserve(counters, wish)).output_tokens == 65


# --- money ----------------------------------------------------------------------------------------

DEAR = Need(5, prompt_cost=100, token_cost=10)


async def test_money_cuts_an_answer_to_what_is_left(counters: Counters) -> None:
    outcome = await reserve(counters, hold("s1", 99, DEAR, budget_per_month=399))
    assert (outcome.status, outcome.output_tokens) == ("ok", 29)
    assert (await reserve(counters, hold("s2", 9, DEAR, budget_per_month=399))).status == (
        "budget_held"
    )


async def test_a_spent_budget_comes_back_with_the_month(counters: Counters, clock: Clock) -> None:
    clock.now = datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC).timestamp()
    await reserve(counters, hold("s1", 9, DEAR, budget_per_month=1000))
    await counters.settle(Lease(1, "ann", "s1"), 9, 950)
    assert (await reserve(counters, hold("s2", 9, DEAR, budget_per_month=1000))).status == "budget"
    clock.now += 1
    assert (await reserve(counters, hold("s2", 9, DEAR, budget_per_month=1000))).status == "ok"


async def test_a_day_that_is_over_gives_no_money_back(counters: Counters, clock: Clock) -> None:
    await reserve(counters, hold("s1", 9, DEAR, budget_per_month=1000))
    await counters.settle(Lease(1, "ann", "s1"), 9, 950)
    clock.now += 5 * 86_400
    assert (await reserve(counters, hold("s2", 9, DEAR, budget_per_month=1000))).status == "budget"


async def test_a_free_model_needs_no_budget(counters: Counters) -> None:
    await reserve(counters, hold("s1", 9, DEAR, budget_per_month=1000))
    await counters.settle(Lease(1, "ann", "s1"), 9, 2000)
    assert (await reserve(counters, hold("s2", 9, budget_per_month=1000))).status == "ok"


async def test_large_amounts_are_exact(counters: Counters) -> None:
    budget = 9_000_000 * 10**9
    await reserve(counters, hold("s1", 9, DEAR, budget_per_month=budget))
    await counters.settle(Lease(1, "ann", "s1"), 10**12, budget - 211)
    outcome = await reserve(counters, hold("s2", 99, DEAR, budget_per_month=budget))
    assert (outcome.status, outcome.output_tokens) == ("ok", 11)


# --- what was spent before ------------------------------------------------------------------------


async def test_new_counters_ask_what_was_spent(counters: Counters) -> None:
    wish = hold("s1", 99, DEAR, tokens_per_day=100, budget_per_month=1000)
    outcome = await reserve(counters, wish, Spent(tokens=60, cost=0))
    assert outcome.output_tokens == 35
    await counters.settle(Lease(1, "ann", "s1"), 0, 0, used=False)
    # Not asked again: what is said now does not count.
    assert (await reserve(counters, wish, Spent(99, 999))).output_tokens == 35


async def test_settling_an_unknown_stream_makes_them_ask_again(counters: Counters) -> None:
    await reserve(counters, hold("s1", tokens_per_day=100))
    await counters.settle(Lease(1, "ann", "lost"), 40, 0)
    outcome = await counters.reserve(hold("s2", 99, tokens_per_day=100))
    assert outcome.status == "unseeded"
    found = await reserve(counters, hold("s2", 99, tokens_per_day=100), Spent(40))
    assert found.output_tokens == 100 - 40 - 15 - 5


async def test_settling_twice_does_not_count_twice(counters: Counters) -> None:
    await reserve(counters, hold("s1", tokens_per_day=100))
    for _ in range(2):
        await counters.settle(Lease(1, "ann", "s1"), 40, 0)
    found = await reserve(counters, hold("s2", 99, tokens_per_day=100), Spent(40))
    assert found.output_tokens == 55


async def test_an_outdated_seed_is_refused(counters: Counters) -> None:
    asked = await counters.reserve(hold("s1"))
    assert asked.status == "unseeded"
    await counters.settle(Lease(1, "ann", "lost"), 40, 0)  # the ledger had it after it was read
    wish = Hold(hold("s1").lease, Caps(), Need(5), 10, seed=Seed(asked.version, Spent()))
    assert (await counters.reserve(wish)).status == "unseeded"


async def test_a_seed_leaves_out_what_is_going_to_be_settled(counters: Counters) -> None:
    """It may be in the ledger already, or not: it is counted once, when it is settled here."""
    await reserve(counters, hold("s1", tokens_per_day=100))
    await reserve(counters, hold("s2", tokens_per_day=100))
    await counters.settle(Lease(1, "ann", "lost"), 40, 0)  # has all be asked for again
    asked = await counters.reserve(hold("s3", tokens_per_day=100))
    assert (asked.status, set(asked.held)) == ("unseeded", {"s1", "s2"})
    seeded = await reserve(counters, hold("s3", tokens_per_day=100), Spent(40))
    assert (seeded.status, seeded.held) == ("ok", ())
    for name in ("s1", "s2", "s3"):
        await counters.settle(Lease(1, "ann", name), 10, 0)
    found = await reserve(counters, hold("s4", 99, tokens_per_day=100))
    assert found.output_tokens == 100 - 40 - 30 - 5


# --- any schedule ---------------------------------------------------------------------------------

STREAMS = [f"s{n}" for n in range(5)]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.sampled_from(STREAMS), st.integers(1, 80)),
        st.tuples(st.just("more"), st.sampled_from(STREAMS), st.integers(1, 200)),
        st.tuples(st.just("settle"), st.sampled_from(STREAMS), st.integers(0, 100)),
        st.tuples(st.just("renew"), st.sampled_from(STREAMS), st.just(0)),
        st.tuples(st.just("wait"), st.just(""), st.sampled_from([1, 6, 11, 112, 43_200])),
        st.tuples(st.just("take"), st.just(""), st.integers(1, 3)),
    ),
    max_size=40,
)
CAPS: dict[str, Any] = {"concurrent_streams": 3, "tokens_per_day": 200, "budget_per_month": 2000}


async def play(counters: Counters, clock: Clock, steps: list[Any]) -> list[Any]:
    """Play a schedule; returns all answers."""
    found: list[Any] = []
    for what, stream, number in steps:
        lease = Lease(1, "ann", stream)
        if what == "wait":
            clock.now += number
        elif what == "take":
            found.append(await requests(counters, number, Caps(requests_per_minute=4)))
        elif what == "settle":
            await counters.settle(lease, number, number * 11)
        elif what == "renew":
            await counters.renew([lease])
        else:
            need = Need(5, prompt_cost=50, token_cost=10)
            more, needed = what == "more", number // 2 + 1
            wish = hold(stream, number, need, needed=needed, more=more, **CAPS)
            found.append(await reserve(counters, wish, Spent(7, 70)))
    return found


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
async def test_redis_answers_what_memory_answers(steps: list[Any], request: Any) -> None:
    answers = []
    for kind in KINDS:
        clock = Clock()
        async with open_counters(kind, clock, request) as made:
            answers.append(await play(made, clock, steps))
    assert answers[0] == answers[1]
