"""The limits of one process, with a clock that only the test moves."""

import pytest

from tellstream.core.errors import RequestError
from tellstream.limits.memory import DAY, MemoryLimits

NOON = 1776816000.0 + 12 * 3600  # 2026-04-22, 12:00 UTC


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> MemoryLimits:
    return MemoryLimits(clock)


def request(limits: MemoryLimits, count: int, per_minute: int = 3, tenant: int = 1) -> int:
    """Take ``count`` requests; returns how many passed."""
    decisions = [limits.take_request(tenant, per_minute) for _ in range(count)]
    return sum(decision.refusal is None for decision in decisions)


# --- requests per minute --------------------------------------------------------------------------


def test_a_burst_of_the_limit_passes_and_no_more(limits: MemoryLimits) -> None:
    assert request(limits, 10) == 3


@pytest.mark.parametrize("per_minute", [9, 11, 60, 100])
def test_a_burst_passes_whole_with_a_unix_clock(limits: MemoryLimits, per_minute: int) -> None:
    assert request(limits, per_minute + 1, per_minute) == per_minute


def test_tenants_do_not_share_their_limit(limits: MemoryLimits) -> None:
    assert request(limits, 10, tenant=1) == 3
    assert request(limits, 10, tenant=2) == 3


def test_requests_come_back_evenly(limits: MemoryLimits, clock: Clock) -> None:
    request(limits, 3)
    clock.now += 20
    assert request(limits, 10) == 1
    clock.now += 60
    assert request(limits, 10) == 3


def test_the_headers_count_this_request_and_tell_when_the_limit_is_whole(
    limits: MemoryLimits,
) -> None:
    said = [limits.take_request(1, 3).headers for _ in range(3)]
    assert [headers["X-RateLimit-Limit"] for headers in said] == ["3", "3", "3"]
    assert [headers["X-RateLimit-Remaining"] for headers in said] == ["2", "1", "0"]
    resets = [int(headers["X-RateLimit-Reset"]) - NOON for headers in said]
    assert resets == [20, 40, 60]


def test_the_reset_is_rounded_up(limits: MemoryLimits, clock: Clock) -> None:
    clock.now += 0.5
    assert int(limits.take_request(1, 3).headers["X-RateLimit-Reset"]) == NOON + 21


def test_a_refused_request_is_told_how_long_to_wait(limits: MemoryLimits, clock: Clock) -> None:
    request(limits, 3)
    clock.now += 5
    decision = limits.take_request(1, 3)
    assert decision.refusal is not None
    assert (decision.refusal.code, decision.refusal.status) == ("rate_limit_exceeded", 429)
    assert decision.refusal.retry_after == pytest.approx(15)
    assert decision.headers["X-RateLimit-Remaining"] == "0"


# --- tokens per day -------------------------------------------------------------------------------


def test_tokens_are_left_until_the_quota_is_used_up(limits: MemoryLimits) -> None:
    limits.check_tokens(1, 100)
    limits.settle_tokens(1, 60)
    limits.settle_tokens(1, 39)
    limits.check_tokens(1, 100)
    limits.settle_tokens(1, 1)
    with pytest.raises(RequestError, match="quota_exceeded"):
        limits.check_tokens(1, 100)


def test_a_used_up_quota_comes_back_at_midnight_utc(limits: MemoryLimits, clock: Clock) -> None:
    limits.settle_tokens(1, 100)
    with pytest.raises(RequestError) as caught:
        limits.check_tokens(1, 100)
    assert caught.value.retry_after == DAY / 2
    clock.now += DAY / 2 - 1
    with pytest.raises(RequestError):
        limits.check_tokens(1, 100)
    clock.now += 1
    limits.check_tokens(1, 100)


def test_tokens_of_yesterday_do_not_count_today(limits: MemoryLimits, clock: Clock) -> None:
    limits.settle_tokens(1, 99)
    clock.now += DAY
    limits.settle_tokens(1, 99)
    limits.check_tokens(1, 100)


def test_tokens_of_another_tenant_do_not_count(limits: MemoryLimits) -> None:
    limits.settle_tokens(2, 1000)
    limits.check_tokens(1, 100)


def test_without_a_quota_any_number_of_tokens_is_fine(limits: MemoryLimits) -> None:
    limits.settle_tokens(1, 10**12)
    limits.check_tokens(1, None)


# --- concurrent streams ---------------------------------------------------------------------------


def test_no_more_than_the_limit_run_at_once(limits: MemoryLimits) -> None:
    limits.take_stream(1, 2)
    limits.take_stream(1, 2)
    with pytest.raises(RequestError) as caught:
        limits.take_stream(1, 2)
    assert (caught.value.code, caught.value.retry_after) == ("concurrency_limit_exceeded", 1.0)
    assert limits.running(1) == 2


def test_a_stream_that_ended_makes_room_for_one(limits: MemoryLimits) -> None:
    limits.take_stream(1, 1)
    limits.release_stream(1)
    limits.take_stream(1, 1)
    assert limits.running(1) == 1


def test_streams_of_another_tenant_do_not_count(limits: MemoryLimits) -> None:
    limits.take_stream(2, 1)
    limits.take_stream(1, 1)
    assert (limits.running(1), limits.running(2), limits.running(3)) == (1, 1, 0)


def test_without_a_limit_streams_are_counted_all_the_same(limits: MemoryLimits) -> None:
    for _ in range(3):
        limits.take_stream(1, None)
    with pytest.raises(RequestError):
        limits.take_stream(1, 3)


def test_nothing_is_kept_of_a_tenant_without_streams(limits: MemoryLimits) -> None:
    limits.take_stream(1, 1)
    limits.release_stream(1)
    assert limits._streams == {}
