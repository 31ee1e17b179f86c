"""What streams cost: exact, against fractions."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellstream.core.prices import COST_UNITS, MAX_AMOUNT, Price, amount
from tellstream.core.usage import Usage
from tellstream.storage import base as storage

SONNET = Price.of(3.00, 15.00, 0.30, 3.75)
COUNTS = st.integers(min_value=0, max_value=10**12)


def test_the_unit_is_that_of_the_ledger() -> None:
    assert COST_UNITS == storage.COST_UNITS


def test_cached_tokens_are_part_of_the_prompt_and_cost_their_own_rates() -> None:
    usage = Usage(1_000_000, 0, 200_000, 300_000, None)
    # 500,000 plain, 200,000 written, 300,000 read
    assert SONNET.cost(usage) == amount("1.50") + amount("0.75") + amount("0.09")


def test_thinking_is_part_of_the_completion_and_costs_nothing_more() -> None:
    assert SONNET.cost(Usage(0, 1000, None, None, 900)) == amount("0.015")


def test_a_cache_without_a_rate_costs_what_input_does() -> None:
    price = Price.of("2.5", "10")
    assert price.cost(Usage(1000, 0, 100, 800)) == price.cost(Usage(1000, 0)) == amount("0.0025")


def test_more_cached_tokens_than_the_prompt_has_are_not_charged() -> None:
    assert SONNET.cost(Usage(10, 0, 50, 8)) == 8 * 300 + 2 * 3750


def test_a_price_may_be_per_thousand() -> None:
    assert Price.of("0.003", "0.015", per=1000).cost(Usage(1000, 1000)) == amount("0.018")


def test_half_a_unit_is_rounded_up_once() -> None:
    price = Price.of("0.0005", "0.0005")  # half a unit per token
    assert price.cost(Usage(1, 0)) == 1
    assert price.cost(Usage(1, 1)) == 1
    assert price.cost(Usage(1, 2)) == 2


@pytest.mark.parametrize("written", [0.1, "0.1", Decimal("0.1")])
def test_an_amount_is_what_was_written(written: str | float | Decimal) -> None:
    assert amount(written) == 100_000_000


@pytest.mark.parametrize(
    "bad", [-1, "-0.01", "nan", "inf", "x", "", "0.0000000001", MAX_AMOUNT + 1, float("nan")]
)
def test_an_amount_that_cannot_be_counted_is_refused(bad: str | float) -> None:
    with pytest.raises(ValueError, match="must"):
        amount(bad)


def test_a_price_for_no_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="one token"):
        Price.of(1, 1, per=0)


@given(COUNTS, COUNTS, st.none() | COUNTS, st.none() | COUNTS, st.integers(1, 10**7))
def test_a_cost_is_the_exact_sum_rounded_once(
    prompt: int, completion: int, written: int | None, read: int | None, per: int
) -> None:
    price = Price(3, 15_000_000_001, 1, 7, per)
    reading = min(read or 0, prompt)
    writing = min(written or 0, prompt - reading)
    exact = Fraction(
        (prompt - reading - writing) * 3 + reading + writing * 7 + completion * 15_000_000_001, per
    )
    cost = price.cost(Usage(prompt, completion, written, read))
    assert abs(cost - exact) <= Fraction(1, 2)


@given(COUNTS, COUNTS, st.integers(1, 10**7))
def test_a_reservation_is_never_less_than_the_bill(prompt: int, completion: int, per: int) -> None:
    price = Price(3_000_000_007, 15_000_000_001, 300, 3_750_000_000, per)
    reserved = price.prompt_at_most(prompt) + completion * price.output_token_at_most
    assert reserved >= price.cost(Usage(prompt, completion, prompt // 2, prompt // 3))
