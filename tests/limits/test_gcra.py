"""The generic cell rate algorithm against a token bucket, and the numbers it reports."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellstream.limits.gcra import Taken, take

UNIX = 1776855811.25


def burst(count: int, limit: int, now: float = UNIX, tat: float | None = None) -> list[Taken]:
    """Take ``count`` requests of ``limit`` per minute at one instant."""
    taken = []
    for _ in range(count):
        taken.append(take(tat, now, limit, 60.0))
        tat = taken[-1].tat
    return taken


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 9, 11, 19, 60, 97, 600, 1000, 4999])
@pytest.mark.parametrize("now", [0.0, 5000.1, UNIX, 1776855811.123456])
def test_exactly_the_limit_passes_at_once(limit: int, now: float) -> None:
    taken = burst(limit + 2, limit, now)
    assert [one.allowed for one in taken] == [True] * limit + [False] * 2
    assert [one.remaining for one in taken[:limit]] == list(range(limit - 1, -1, -1))


def test_a_first_request_reports_the_whole_limit() -> None:
    assert take(None, 100.0, 4, 60.0) == Taken(True, 115.0, 4, 3, 15.0, 0.0)


def test_a_refused_request_says_when_the_next_passes_and_costs_nothing() -> None:
    full = burst(4, 4, 100.0)[-1]
    refused = take(full.tat, 101.0, 4, 60.0)
    assert refused == Taken(False, full.tat, 4, 0, 59.0, 14.0)
    assert take(refused.tat, 101.0 + refused.retry_after, 4, 60.0).allowed


def test_one_request_comes_back_with_each_share_of_the_window() -> None:
    tat = burst(4, 4, 100.0)[-1].tat
    assert not take(tat, 110.0, 4, 60.0).allowed
    one = take(tat, 115.0, 4, 60.0)
    assert one.allowed
    assert not take(one.tat, 115.0, 4, 60.0).allowed


@pytest.mark.parametrize("pause", [60.0, 61.0, 10_000.0])
def test_after_a_window_of_silence_the_whole_limit_is_back(pause: float) -> None:
    tat = burst(4, 4, 100.0)[-1].tat
    assert [one.allowed for one in burst(5, 4, 100.0 + pause, tat)] == [True] * 4 + [False]


def test_the_time_until_the_full_limit_is_the_sum_of_what_was_taken() -> None:
    assert [one.reset_after for one in burst(3, 4, 100.0)] == [15.0, 30.0, 45.0]


def test_a_clock_that_steps_back_does_not_give_more() -> None:
    tat = burst(4, 4, 100.0)[-1].tat
    assert not take(tat, 90.0, 4, 60.0).allowed


def test_a_raised_limit_counts_at_once() -> None:
    tat = burst(4, 4, 100.0)[-1].tat
    assert not take(tat, 100.0, 4, 60.0).allowed
    assert take(tat - 15.0, 100.0, 8, 60.0).allowed


class Bucket:
    """A bucket of ``limit`` tokens that fills evenly: the same rule, told with exact numbers."""

    def __init__(self, limit: int) -> None:
        self.limit = Fraction(limit)
        self.tokens = self.limit

    def take(self, passed: Fraction) -> bool:
        self.tokens = min(self.limit, self.tokens + passed * self.limit / 60)
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


# Steps are thirds of the share of one request, so that no request stands near the edge of a share.
@settings(max_examples=200, deadline=None)
@given(
    st.integers(min_value=1, max_value=12),
    st.lists(st.integers(min_value=0, max_value=9), min_size=1, max_size=60),
)
def test_any_schedule_passes_what_a_token_bucket_would(limit: int, steps: list[int]) -> None:
    bucket = Bucket(limit)
    now, tat = Fraction(1776855811), None
    for step in steps:
        passed = Fraction(step * 20, limit)
        now += passed
        taken = take(tat, float(now), limit, 60.0)
        tat = taken.tat
        assert taken.allowed is bucket.take(passed)
        assert taken.remaining == int(bucket.tokens)
        assert (taken.retry_after > 0) is not taken.allowed
