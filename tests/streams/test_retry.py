import pytest

from tellstream.core.errors import ProviderError
from tellstream.streams.retry import BUDGET_RESERVE, PATIENCE, RetryBudget, RetryPolicy

POLICY = RetryPolicy(max=2, give_up_after=60)


def delay(
    code: str = "provider_unavailable",
    *,
    retry_after: float | None = None,
    attempt: int = 1,
    elapsed: float = 0.0,
    waited: float = 0.0,
    dice: float = 1.0,
) -> float | None:
    error = ProviderError(code, retry_after=retry_after)
    return POLICY.delay(error, attempt=attempt, elapsed=elapsed, waited=waited, random=lambda: dice)


@pytest.mark.parametrize(
    "code", ["provider_unavailable", "provider_rate_limited", "upstream_truncated"]
)
def test_temporary_failures_are_tried_again(code: str) -> None:
    assert delay(code) == 0.5


@pytest.mark.parametrize(
    "code",
    [
        "provider_auth", "provider_quota", "provider_rejected", "provider_timeout",
        "context_length_exceeded", "content_filtered", "provider_protocol",
    ],
)  # fmt: skip
def test_lasting_failures_are_not(code: str) -> None:
    assert delay(code) is None


def test_the_backoff_doubles_and_its_jitter_is_full() -> None:
    assert [delay(attempt=n) for n in (1, 2)] == [0.5, 1.0]
    assert delay(dice=0.0) == 0.0


def test_there_are_at_most_max_further_calls() -> None:
    assert delay(attempt=3) is None


def test_what_the_provider_asks_for_is_waited() -> None:
    assert delay(retry_after=2.0) == 2.0


def test_a_long_wait_is_the_callers() -> None:
    assert delay(retry_after=PATIENCE + 1) is None
    assert delay(retry_after=3.0, waited=3.0) is None


def test_nothing_is_tried_after_the_first_token_deadline() -> None:
    assert delay(elapsed=59.9) is None


def test_retries_are_a_share_of_the_calls() -> None:
    budget = RetryBudget()
    taken = sum(budget.take() for _ in range(100))
    assert taken == BUDGET_RESERVE
    for _ in range(10):
        budget.call()
    assert [budget.take() for _ in range(3)] == [True, True, False]
