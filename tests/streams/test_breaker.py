import pytest

from tellstream.core.errors import ProviderError
from tellstream.streams.breaker import MIN_CALLS, OPEN_SECONDS, WINDOW, Breaker, Breakers

DOWN = ProviderError("provider_unavailable", network=True)
HOST = "http://provider"


def call(breakers: Breakers, tenant: int, now: float, error: ProviderError | None = None) -> None:
    credential = (tenant, "p", "m")
    breakers.check(HOST, credential, now)
    breakers.record(HOST, credential, now, error)


def opened(error: ProviderError = DOWN) -> Breakers:
    breakers = Breakers()
    for _ in range(MIN_CALLS):
        call(breakers, 1, 0.0, error)
    return breakers


def test_it_opens_when_half_of_enough_calls_fail() -> None:
    breaker = Breaker()
    for number in range(MIN_CALLS):
        assert breaker.wait(0.0) == 0
        breaker.record(0.0, failed=number % 2 == 0)
    assert breaker.state == "open"
    assert breaker.wait(1.0) == OPEN_SECONDS - 1


def test_few_calls_say_nothing() -> None:
    breaker = Breaker()
    for _ in range(MIN_CALLS - 1):
        breaker.record(0.0, failed=True)
    assert breaker.state == "closed"


def test_old_failures_are_forgotten() -> None:
    breaker = Breaker()
    for _ in range(MIN_CALLS - 1):
        breaker.record(0.0, failed=True)
    for _ in range(MIN_CALLS):
        breaker.record(WINDOW + 1, failed=False)
    assert breaker.state == "closed"


def test_one_probe_decides() -> None:
    breakers = opened()
    later = OPEN_SECONDS + 1
    breakers.check(HOST, (1, "p", "m"), later)
    with pytest.raises(ProviderError):
        breakers.check(HOST, (2, "p", "m"), later)
    with pytest.raises(ProviderError):  # the refusal did not take the probe's place
        breakers.check(HOST, (2, "p", "m"), later)
    breakers.record(HOST, (1, "p", "m"), later, None)
    call(breakers, 2, later)


def test_a_failed_probe_opens_it_again() -> None:
    breakers = opened()
    later = OPEN_SECONDS + 1
    call(breakers, 1, later, DOWN)
    with pytest.raises(ProviderError) as refused:
        call(breakers, 1, later + 1)
    assert refused.value.retry_after == OPEN_SECONDS - 1


def test_a_cancelled_probe_leaves_room_for_another() -> None:
    breakers = opened()
    later = OPEN_SECONDS + 1
    breakers.check(HOST, (1, "p", "m"), later)
    breakers.abandon(HOST, (1, "p", "m"))
    call(breakers, 1, later)


def test_a_host_that_is_down_is_down_for_every_tenant() -> None:
    with pytest.raises(ProviderError):
        call(opened(), 2, 1.0)


@pytest.mark.parametrize(
    "code", ["provider_auth", "provider_quota", "provider_unavailable", "provider_timeout"]
)
def test_what_a_tenant_is_answered_stops_only_that_tenant(code: str) -> None:
    breakers = opened(ProviderError(code))
    with pytest.raises(ProviderError):
        call(breakers, 1, 1.0)
    call(breakers, 2, 1.0)


@pytest.mark.parametrize("code", ["provider_rate_limited", "provider_rejected"])
def test_rate_limits_and_rejected_requests_count_for_nothing(code: str) -> None:
    call(opened(ProviderError(code)), 1, 1.0)
