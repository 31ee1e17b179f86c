"""What a stream used: the provider's numbers, completed where they say too little."""

import pytest

from tellstream.core import parts as pt
from tellstream.core.chat import ChatRequest, Turn
from tellstream.core.composer import CANCELLED, Composer, Ending
from tellstream.core.errors import ProviderError
from tellstream.core.estimate import estimate
from tellstream.core.ids import EventIds
from tellstream.core.unsaid import count
from tellstream.core.usage import FinishReason, Usage
from tellstream.streams.metering import TOKENS_PER_MESSAGE, prompt_tokens, used

TEXT = "Hello you, how is the weather today?"


def heard(*parts: pt.Part) -> Composer:
    composer = Composer(EventIds(7), "p", "m")
    composer.feed(list(parts), 1000.0)
    return composer


# --- the prompt -----------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["Hi", "four", "é" * 8, "你好"])
def test_a_prompt_costs_its_text_and_the_framing_of_one_message(prompt: str) -> None:
    assert prompt_tokens(ChatRequest(prompt)) == estimate(prompt) + TOKENS_PER_MESSAGE


def test_history_and_instructions_cost_too() -> None:
    chat = ChatRequest("abcd", (Turn("user", "efgh"), Turn("assistant", "ijkl")), system="mnop")
    assert prompt_tokens(chat) == 4 * (estimate("abcd") + TOKENS_PER_MESSAGE)


@pytest.mark.parametrize("system", [None, ""])
def test_no_instructions_cost_nothing(system: str | None) -> None:
    assert prompt_tokens(ChatRequest("Hi", system=system)) == prompt_tokens(ChatRequest("Hi"))


# --- the stream -----------------------------------------------------------------------------------


def test_without_a_word_of_the_provider_everything_is_estimated() -> None:
    usage, estimated = used(heard(pt.Text(TEXT)), 9, CANCELLED)
    assert (usage, estimated) == (Usage(9, estimate(TEXT)), True)
    assert usage.cache_read_input_tokens is None
    assert usage.thought_tokens is None


def test_a_prompt_that_no_provider_has_read_costs_nothing() -> None:
    assert used(heard(), None, CANCELLED) == (Usage(), False)


def test_what_the_provider_said_of_a_whole_answer_is_final() -> None:
    composer = heard(pt.Used(Usage(5, 1)), pt.Text(TEXT), pt.Finished(FinishReason.STOP))
    assert used(composer, 9, CANCELLED) == (Usage(5, 1), False)


def test_a_count_that_came_before_the_answer_was_cut_is_completed() -> None:
    composer = heard(pt.Used(Usage(5, 3, 0, 2)), pt.Text(TEXT))
    assert used(composer, 9, CANCELLED) == (Usage(5, 3 + estimate(TEXT), 0, 2), True)


def test_the_count_of_a_provider_that_failed_stands() -> None:
    composer = heard(pt.Used(Usage(5, 3)), pt.Text(TEXT))
    failed = Ending.failed(ProviderError("upstream_truncated"))
    assert used(composer, 9, failed) == (Usage(5, 3), False)


def test_a_count_beside_the_last_word_needs_no_estimate() -> None:
    composer = heard(pt.Text(TEXT), pt.Used(Usage(5, 8)))
    assert used(composer, 9, CANCELLED) == (Usage(5, 8), False)
    composer.feed([pt.Text("more")], 1001.0)
    assert used(composer, 9, CANCELLED) == (Usage(5, 8 + estimate("more")), True)


def test_what_came_after_a_cancel_is_counted_and_said_to_nobody() -> None:
    composer = heard(pt.Text("a"))
    count(composer, [pt.Text(TEXT), pt.Thinking("hm"), pt.ToolFragment(0, "t", "n", "{}")])
    usage, estimated = used(composer, 9, CANCELLED)
    assert estimated
    assert usage.completion_tokens >= estimate("a" + TEXT + "hm{}")
    count(composer, [pt.Used(Usage(5, 70)), pt.Finished(FinishReason.STOP)])
    assert used(composer, 9, CANCELLED) == (Usage(5, 70), False)
    assert composer.feed([], 1001.0) == []
