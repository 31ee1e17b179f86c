"""Adding steps: totals add, null stays null only if nobody reported the count."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tellstream.core.usage import FinishReason, Usage

COUNTS = st.integers(min_value=0, max_value=2**53)
OPTIONAL = st.none() | COUNTS
USAGES = st.builds(Usage, COUNTS, COUNTS, OPTIONAL, OPTIONAL, OPTIONAL)


def test_all_five_keys_are_written_in_the_order_of_the_wire() -> None:
    assert msgspec.json.encode(Usage(1, 2)) == (
        b'{"prompt_tokens":1,"completion_tokens":2,"cache_write_input_tokens":null,'
        b'"cache_read_input_tokens":null,"thought_tokens":null}'
    )


def test_a_count_that_one_step_reported_is_the_sum() -> None:
    total = Usage(1, 2, None, 3, None) + Usage(10, 20, 30, None, None)
    assert total == Usage(11, 22, 30, 3, None)


def test_a_reported_zero_is_not_null() -> None:
    assert (Usage(thought_tokens=0) + Usage()).thought_tokens == 0


@given(USAGES, USAGES, USAGES)
def test_the_order_of_steps_does_not_matter(one: Usage, two: Usage, three: Usage) -> None:
    assert (one + two) + three == three + (two + one)
    assert one + Usage() == one


def test_finish_reasons_are_the_names_of_the_wire() -> None:
    assert set(FinishReason) == {
        "Stop",
        "Length",
        "ContentFilter",
        "ToolCalls",
        "Error",
        "Other",
        "Unknown",
        "Cancelled",
    }
