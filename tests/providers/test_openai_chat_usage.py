"""Usage of thirty hosts, normalised: prompt holds cached tokens, completion holds thinking."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellstream.core.usage import Usage
from tellstream.providers.openai_chat_usage import usage_of


def usage(prompt: Any = 10, completion: Any = 5, *, row: bool = False, **more: Any) -> Usage | None:
    """Normalise; ``cached``, ``written`` and ``reasoning`` go where OpenAI puts them."""
    raw: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": completion}
    names = {"cached": "cached_tokens", "written": "cache_write_tokens"}
    raw["prompt_tokens_details"] = {names[k]: more.pop(k) for k in names if k in more}
    if "reasoning" in more:
        raw["completion_tokens_details"] = {"reasoning_tokens": more.pop("reasoning")}
    return usage_of(raw | more, completion_excludes_reasoning=row)


def test_plain_counts_say_nothing_of_caches_and_thinking() -> None:
    assert usage() == Usage(10, 5, None, None, None)


def test_details_are_taken_over() -> None:
    assert usage(cached=4, written=6, reasoning=3, total_tokens=15) == Usage(10, 5, 6, 4, 3)


def test_a_reported_zero_stays_zero() -> None:
    assert usage(cached=0, written=0, reasoning=0) == Usage(10, 5, 0, 0, 0)


@pytest.mark.parametrize("name", ["prompt_cache_hit_tokens", "num_cached_tokens"])
def test_cached_tokens_are_found_under_the_names_of_other_hosts(name: str) -> None:
    raw = {"prompt_tokens": 10, "completion_tokens": 5, name: 4}
    assert usage_of(raw, completion_excludes_reasoning=False) == Usage(10, 5, None, 4, None)


def test_openais_name_for_cached_tokens_counts_first() -> None:
    assert usage(cached=4, prompt_cache_hit_tokens=9) == Usage(10, 5, None, 4, None)


@pytest.mark.parametrize(
    ("row", "total", "completion"),
    [
        (True, None, 8),  # the row says outside
        (False, None, 5),  # the row says inside
        (True, 15, 5),  # the sum says inside, whatever the row says
        (False, 18, 8),  # the sum says outside
        (True, 18, 8),
        (False, 15, 5),
        (True, 99, 8),  # the sum says neither: the row
        (False, 99, 5),
    ],
)
def test_where_reasoning_is_counted_is_decided_by_the_sum_and_else_by_the_row(
    row: bool, total: int | None, completion: int
) -> None:
    assert usage(row=row, reasoning=3, total_tokens=total) == Usage(
        10, completion, thought_tokens=3
    )


def test_no_reasoning_leaves_the_completion_as_it_is() -> None:
    assert usage(row=True, reasoning=0, total_tokens=15) == Usage(10, 5, thought_tokens=0)


def test_the_recorded_usage_of_xai_is_inclusive() -> None:
    made = usage(12, 9, row=True, cached=5, reasoning=310, total_tokens=331, num_sources_used=0)
    assert made == Usage(12, 319, None, 5, 310)


def test_more_cached_tokens_than_prompt_tokens_stand_outside() -> None:
    assert usage(10, cached=40) == Usage(50, 5, None, 40, None)


def test_as_many_cached_tokens_as_prompt_tokens_stand_inside() -> None:
    assert usage(10, cached=10) == Usage(10, 5, None, 10, None)


def test_a_part_is_never_more_than_the_whole() -> None:
    assert usage(10, 5, written=11, reasoning=6, total_tokens=15) == Usage(10, 5, 10, None, 5)


@pytest.mark.parametrize("raw", [{}, {"total_tokens": 7}, {"prompt_tokens": None}])
def test_an_object_without_counts_is_no_usage(raw: dict[str, Any]) -> None:
    assert usage_of(raw, completion_excludes_reasoning=False) is None


def test_one_of_the_two_counts_is_enough() -> None:
    assert usage(None, 5) == Usage(0, 5)
    assert usage(10, None) == Usage(10, 0)


@pytest.mark.parametrize("odd", [True, -1, "7", 7.5, [], {}, 10**30, 1e300, 2**53 + 1])
def test_what_is_no_count_of_tokens_is_absent(odd: Any) -> None:
    assert usage(10, odd, cached=odd, written=odd, reasoning=odd) == Usage(10, 0)


def test_a_whole_number_written_as_a_float_is_a_count() -> None:
    assert usage(10.0, 5, cached=4.0) == Usage(10, 5, None, 4, None)


def test_details_that_are_no_objects_are_absent() -> None:
    assert usage(prompt_tokens_details=None, completion_tokens_details=[]) == Usage(10, 5)


NUMBER = st.none() | st.integers(min_value=-2, max_value=40)


@settings(max_examples=300, deadline=None)
@given(NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, st.booleans())
def test_the_inclusive_rule_always_holds(
    prompt: int | None,
    completion: int | None,
    cached: int | None,
    written: int | None,
    reasoning: int | None,
    total: int | None,
    row: bool,
) -> None:
    made = usage(
        *(prompt, completion),
        row=row,
        cached=cached,
        written=written,
        reasoning=reasoning,
        total_tokens=total,
    )
    if made is None:
        return
    assert made.prompt_tokens >= max(made.cache_read_input_tokens or 0, prompt or 0)
    assert made.prompt_tokens >= (made.cache_write_input_tokens or 0) >= 0
    assert made.completion_tokens >= max(made.thought_tokens or 0, completion or 0)
