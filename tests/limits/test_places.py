"""Fair places in one worker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellstream.core.errors import RequestError, ServerError
from tellstream.limits.places import Places, decide


def fill(places: Places, tenant: int) -> int:
    """Take as many places as there are for a tenant; returns how many."""
    for taken in range(10_000):
        try:
            places.take(tenant)
        except (RequestError, ServerError):
            return taken
    raise AssertionError("no end of places")


@pytest.mark.parametrize(("share", "most"), [(0.5, 50), (0.8, 80), (0.1, 10), (1.0, 100)])
def test_one_tenant_alone_gets_its_share(share: float, most: int) -> None:
    assert fill(Places(100, share), 1) == most


def test_a_greedy_tenant_leaves_places_to_the_others_and_is_told_so() -> None:
    places = Places(100, 0.5)
    fill(places, 1)
    with pytest.raises(RequestError) as caught:
        places.take(1)
    assert (caught.value.code, caught.value.retry_after) == ("concurrency_limit_exceeded", 1.0)
    assert fill(places, 2) == 25  # half of what was free


def test_a_full_worker_says_that_it_is_full() -> None:
    places = Places(3, 1.0)
    fill(places, 1)
    with pytest.raises(ServerError) as caught:
        places.take(2)
    assert (caught.value.code, caught.value.retry_after) == ("service_unavailable", 1.0)


def test_a_place_that_is_given_back_can_be_taken_again() -> None:
    places = Places(1, 1.0)
    places.take(1)
    places.release(1)
    places.take(2)
    assert places.running == 1


def test_a_single_place_can_be_taken() -> None:
    assert fill(Places(1, 0.5), 1) == 1


@given(st.lists(st.integers(0, 5), max_size=300), st.floats(0.05, 0.95))
def test_a_tenant_without_a_place_is_refused_only_by_a_full_worker(
    wishes: list[int], share: float
) -> None:
    places, taken = Places(40, share), [0] * 6
    for tenant in wishes:
        running = places.running
        assert decide(running, 0, 40, share) == ("take" if running < 40 else "full")
        try:
            places.take(tenant)
        except (RequestError, ServerError):
            continue
        taken[tenant] += 1
    assert places.running == sum(taken) <= 40
    assert all(n <= 40 * share + 1 for n in taken)
