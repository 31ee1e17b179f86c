"""A row of a report, as an object and flat."""

import pytest

from tellstream.core.usage import FinishReason
from tellstream.server.usage_rows import columns, decimal, flat, shown
from tellstream.storage.base import Totals
from tellstream.storage.first_token import BOUNDS, FirstToken

FIRST = FirstToken(2, 900, 150, 750, (0, 1, 0, 0, 0, 1, *[0] * (len(BOUNDS) - 5)))
ENDS = {FinishReason.STOP: 2, FinishReason.ERROR: 1}
ROW = Totals("small", 3, 30, 20, None, 2, 1, 1, 1_234_567, ENDS, FIRST)
NONE = Totals("big", 1, 0, 0, None, None, None, 0, None, {FinishReason.ERROR: 1}, None)


def test_a_row_shows_its_key_under_the_name_of_what_it_stands_for() -> None:
    assert list(shown("model", ROW).items()) == [
        ("model", "small"),
        ("streams", 3),
        ("prompt_tokens", 30),
        ("completion_tokens", 20),
        ("cache_read_input_tokens", None),
        ("cache_write_input_tokens", 2),
        ("thought_tokens", 1),
        ("estimated_streams", 1),
        ("cost", "0.001234567"),
        ("finish_reasons", {"Stop": 2, "Error": 1}),
        (
            "first_token_ms",
            {
                "streams": 2, "mean": 450, "p50": 200, "p95": 745, "max": 750,
                "counts": {"200": 1, "1000": 1},
            },
        ),
    ]  # fmt: skip


def test_the_class_beyond_the_last_bound_has_a_name() -> None:
    late = FirstToken(1, 61_000, 61_000, 61_000, (*[0] * len(BOUNDS), 1))
    row = Totals("a", 1, 0, 0, None, None, None, 0, None, {FinishReason.STOP: 1}, late)
    assert shown("model", row)["first_token_ms"]["counts"] == {"more": 1}


def test_a_flat_row_has_every_column_whatever_there_was() -> None:
    for row in (ROW, NONE):
        assert sorted(flat(shown("day", row))) == sorted(columns("day"))
    full, empty = flat(shown("day", ROW)), flat(shown("day", NONE))
    assert (full["finish_reasons.Stop"], full["finish_reasons.Cancelled"]) == (2, 0)
    assert (full["first_token_ms.streams"], full["first_token_ms.p95"]) == (2, 745)
    assert empty["first_token_ms.streams"] == 0
    assert empty["first_token_ms.mean"] is None
    assert (empty["day"], empty["finish_reasons.Error"]) == ("big", 1)


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        (0, "0.000000000"),
        (1, "0.000000001"),
        (10**9, "1.000000000"),
        (2**63 - 1, "9223372036.854775807"),
    ],
)
def test_a_cost_is_shown_exactly(cost: int, text: str) -> None:
    assert decimal(cost) == text
