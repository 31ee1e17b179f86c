"""What responses say of rate limits."""

import pytest

from tellstream.limits.base import Caps
from tellstream.limits.rates import decision, headers, look_all, policies, take_all

NOW = 1776855811.25
BOTH = policies(Caps(requests_per_minute=6, subject_requests_per_minute=3))


def test_without_limits_nothing_is_said() -> None:
    assert policies(Caps()) == ()
    assert headers((), [], NOW) == {}


def test_both_families_of_fields_tell_of_this_request() -> None:
    passed, taken = take_all(BOTH, [None, None], NOW)
    said = decision(BOTH, taken, NOW)
    assert (passed, said.refusal) == (True, None)
    assert said.headers == {
        "X-RateLimit-Limit": "3",
        "X-RateLimit-Remaining": "2",
        "X-RateLimit-Reset": str(1776855811 + 21),  # 20 s, rounded up
        "RateLimit-Policy": '"tenant";q=6;w=60, "subject";q=3;w=60',
        "RateLimit": '"tenant";r=5;t=10, "subject";r=2;t=20',
    }


def test_the_tightest_policy_is_in_the_old_fields() -> None:
    fields = headers(BOTH, look_all(BOTH, [NOW + 50, None], NOW), NOW)
    assert (fields["X-RateLimit-Limit"], fields["X-RateLimit-Remaining"]) == ("6", "1")


def test_a_refusal_names_the_wait_and_takes_nothing_of_the_other_policy() -> None:
    passed, taken = take_all(BOTH, [NOW + 60, None], NOW)
    said = decision(BOTH, taken, NOW)
    assert not passed
    assert said.refusal is not None
    assert said.refusal.code == "rate_limit_exceeded"
    assert said.refusal.retry_after == pytest.approx(10)
    assert said.headers["RateLimit"] == '"tenant";r=0;t=10, "subject";r=3;t=0'
    assert said.headers["X-RateLimit-Reset"] == str(1776855811 + 61)


def test_the_longer_of_two_waits_counts() -> None:
    _, taken = take_all(BOTH, [NOW + 60, NOW + 60], NOW)
    refusal = decision(BOTH, taken, NOW).refusal
    assert refusal is not None
    assert refusal.retry_after == pytest.approx(20)
