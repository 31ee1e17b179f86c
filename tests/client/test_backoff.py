from hypothesis import given
from hypothesis import strategies as st

from tellstream.client.backoff import Backoff


def test_waits_double_up_to_the_cap_and_are_random_below() -> None:
    backoff = Backoff(base=0.25, cap=8.0, budget=1e6)
    assert [backoff.wait(0.0, 1.0) for _ in range(7)] == [0.25, 0.5, 1, 2, 4, 8, 8]
    assert backoff.wait(0.0, 0.5) == 4
    assert backoff.wait(0.0, 0.0) == 0


def test_progress_begins_anew() -> None:
    backoff = Backoff(base=1, cap=8, budget=10)
    assert [backoff.wait(0, 1.0), backoff.wait(9, 1.0)] == [1, 1]
    backoff.progress()
    assert [backoff.wait(100, 1.0), backoff.wait(109, 0.5)] == [1, 1]


def test_the_last_try_is_made_when_the_budget_ends() -> None:
    backoff = Backoff(base=8, cap=8, budget=10)
    assert backoff.wait(50, 1.0) == 8
    assert backoff.wait(58, 1.0) == 2
    assert backoff.wait(60, 0.0) is None


def test_a_budget_of_nothing_never_tries_again() -> None:
    assert Backoff(base=1, cap=1, budget=0).wait(5, 0.0) is None


def test_the_server_is_given_the_time_it_asks_for_if_the_budget_has_it() -> None:
    backoff = Backoff(base=1, cap=1, budget=10)
    assert backoff.wait(0, 0.5, 7) == 7
    assert backoff.wait(7, 0.5, 3) == 3
    assert backoff.wait(7, 0.5, 3.1) is None


@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 1, exclude_max=True), st.floats(0, 9))))
def test_no_wait_leaves_the_budget_or_is_shorter_than_asked(
    failures: list[tuple[float, float, float]],
) -> None:
    backoff = Backoff(base=0.25, cap=8, budget=30)
    now = 0.0
    for later, chance, asked in failures:
        wait = backoff.wait(now, chance, asked)
        if wait is None:
            assert now + asked >= 30 - 1e-9
            return
        assert asked <= wait <= max(asked, 8)
        assert now + wait <= 30 + 1e-9
        now += wait + later
