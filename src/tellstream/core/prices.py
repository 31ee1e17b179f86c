"""What a model costs: exact integer arithmetic, rounded once per stream.

Counts are inclusive (core/usage.py): tokens read from or written to a cache are part of
``prompt_tokens`` and have rates of their own; thinking is part of ``completion_tokens`` and costs
what output costs.
"""

from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec

from tellstream.core.usage import Usage

COST_UNITS: Final = 1_000_000_000
"""Costs are integers, in billionths of the currency: prices per million tokens with three decimals
are exact, sums need no rounding, and 64 bits hold nine thousand million of the currency."""
PER: Final = 1_000_000
"""Tokens that a price is for, unless it says otherwise: providers quote prices per million."""
MAX_AMOUNT: Final = 9_000_000
"""The largest amount that ``amount`` takes: what counts budgets is exact up to 2^53 units."""


class Price(msgspec.Struct, frozen=True):
    """The rates of one model, in ``COST_UNITS`` parts of the currency per ``per`` tokens.

    Attributes:
        input: of a prompt token that is neither read from nor written to a cache.
        output: of a completion token.
        cache_read: of a prompt token read from a cache.
        cache_write: of a prompt token written to a cache.
        per: tokens.
    """

    input: int
    output: int
    cache_read: int
    cache_write: int
    per: int = PER

    @classmethod
    def of(
        cls,
        input_price: str | float | Decimal,
        output_price: str | float | Decimal,
        cache_read: str | float | Decimal | None = None,
        cache_write: str | float | Decimal | None = None,
        per: int = PER,
    ) -> "Price":
        """Make a price from amounts of the currency; a cache without a rate costs what input does.

        Raises:
            ValueError: an amount is negative, too large, or finer than the unit of costs.
        """
        if per < 1:
            raise ValueError("must be at least one token")
        plain = amount(input_price)
        return cls(
            input=plain,
            output=amount(output_price),
            cache_read=plain if cache_read is None else amount(cache_read),
            cache_write=plain if cache_write is None else amount(cache_write),
            per=per,
        )

    def cost(self, usage: Usage) -> int:
        """Return what ``usage`` costs, in ``COST_UNITS`` parts of the currency, half rounded up."""
        read = min(usage.cache_read_input_tokens or 0, usage.prompt_tokens)
        written = min(usage.cache_write_input_tokens or 0, usage.prompt_tokens - read)
        plain = usage.prompt_tokens - read - written
        total = (
            plain * self.input
            + read * self.cache_read
            + written * self.cache_write
            + usage.completion_tokens * self.output
        )
        return (2 * total + self.per) // (2 * self.per)

    def prompt_at_most(self, tokens: int) -> int:
        """Return what a prompt of so many tokens costs if its dearest rate applies to all."""
        return -(-tokens * max(self.input, self.cache_read, self.cache_write) // self.per)

    @property
    def output_token_at_most(self) -> int:
        """What one output token costs, rounded up: for reservations, never for bills."""
        return -(-self.output // self.per)


def amount(money: str | float | Decimal) -> int:
    """Return an amount of the currency in ``COST_UNITS``.

    A float counts as the shortest decimal that stands for it, which is what was written.

    Raises:
        ValueError: it is negative, above ``MAX_AMOUNT``, or finer than the unit.
    """
    try:
        exact = Decimal(str(money))
    except InvalidOperation:
        raise ValueError("must be an amount of money") from None
    if not exact.is_finite() or not 0 <= exact <= MAX_AMOUNT:
        raise ValueError(f"must be from 0 to {MAX_AMOUNT}")
    units = exact * COST_UNITS
    if units != units.to_integral_value():
        raise ValueError("must not have more than nine decimals")
    return int(units)
