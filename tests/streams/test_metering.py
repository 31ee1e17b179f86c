"""The estimate of what a stream used, for providers that do not say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellstream.core.chat import ChatRequest, Turn
from tellstream.core.usage import Usage
from tellstream.streams.metering import estimate


@pytest.mark.parametrize(
    ("characters", "tokens"), [(0, 0), (1, 1), (4, 1), (5, 2), (8, 2), (4000, 1000)]
)
def test_four_characters_of_output_are_one_token_rounded_up(characters: int, tokens: int) -> None:
    assert estimate(ChatRequest("Hi"), characters).completion_tokens == tokens


@pytest.mark.parametrize(("prompt", "tokens"), [("Hi", 1), ("four", 1), ("fives", 2), ("é" * 8, 2)])
def test_a_prompt_costs_its_characters_and_the_framing_of_one_message(
    prompt: str, tokens: int
) -> None:
    assert estimate(ChatRequest(prompt), 0) == Usage(tokens + 4, 0)


def test_history_and_instructions_cost_too() -> None:
    chat = ChatRequest("abcd", (Turn("user", "efgh"), Turn("assistant", "ijkl")), system="mnop")
    assert estimate(chat, 0).prompt_tokens == 4 + 4 * 4


@pytest.mark.parametrize("system", [None, ""])
def test_no_instructions_cost_nothing(system: str | None) -> None:
    assert estimate(ChatRequest("abcd", system=system), 0).prompt_tokens == 5


def test_what_cannot_be_estimated_stays_unknown() -> None:
    made = estimate(ChatRequest("Hi"), 5)
    assert made.cache_read_input_tokens is None
    assert made.cache_write_input_tokens is None
    assert made.thought_tokens is None


@settings(max_examples=100, deadline=None)
@given(st.text(), st.text(), st.integers(min_value=0, max_value=10**9))
def test_more_text_never_costs_less(prompt: str, more: str, characters: int) -> None:
    less = estimate(ChatRequest(prompt), characters)
    grown = estimate(ChatRequest(prompt + more), characters + len(more))
    assert grown.prompt_tokens >= less.prompt_tokens
    assert grown.completion_tokens >= less.completion_tokens
