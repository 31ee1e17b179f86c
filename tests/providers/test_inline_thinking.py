"""Thinking inside text: the tags go, everything else stays to the letter, however it is cut."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellstream.core.parts import Text, Thinking
from tellstream.providers.inline_thinking import InlineThinking


def split(*deltas: str) -> tuple[str, str]:
    """The thinking and the text of an answer."""
    inline = InlineThinking()
    parts = [part for delta in deltas for part in inline.feed(delta)] + inline.flush()
    assert all(part.delta for part in parts if isinstance(part, (Text, Thinking)))
    thinking = "".join(part.delta for part in parts if isinstance(part, Thinking))
    return thinking, "".join(part.delta for part in parts if isinstance(part, Text))


@pytest.mark.parametrize(
    ("answer", "thinking", "text"),
    [
        ("Hello", "", "Hello"),
        ("0", "", "0"),
        ("<think>hm</think>Hello", "hm", "Hello"),
        ("<think>\nhm\n</think>\n\nHello", "\nhm\n", "\n\nHello"),
        (" \n<think>hm</think>Hello", "hm", "Hello"),
        ("<think></think>Hello", "", "Hello"),
        ("<think>hm</think>", "hm", ""),
        ("<think>cut off", "cut off", ""),
        ("<think>a</thin", "a</thin", ""),
        ("<think>a < b </ c</think>d", "a < b </ c", "d"),
        ("<think>a<think>b</think>c</think>d", "a<think>b", "c</think>d"),
        ("Use <think>x</think> tags", "", "Use <think>x</think> tags"),
        ("</think>Hello", "", "</think>Hello"),
        ("<thinking>Hello", "", "<thinking>Hello"),
        ("<th", "", "<th"),
        ("<", "", "<"),
        ("  ", "", "  "),
        ("  Hello", "", "  Hello"),
        ("<Think>Hello", "", "<Think>Hello"),
        ("< think>Hello", "", "< think>Hello"),
        ("<think>a</think><think>b</think>", "a", "<think>b</think>"),
    ],
)
def test_an_answer_is_split_the_same_in_one_piece_and_by_character(
    answer: str, thinking: str, text: str
) -> None:
    assert split(answer) == (thinking, text)
    assert split(*answer) == (thinking, text)


PIECES = ["<think>", "</think>", "<", "</", "think>", "a", " ", "\n", "é", "</th", "<th"]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES), max_size=10),
    st.lists(st.integers(min_value=0, max_value=40), max_size=8),
)
def test_how_the_answer_is_cut_changes_nothing(pieces: list[str], cuts: list[int]) -> None:
    answer = "".join(pieces)
    edges = [0, *sorted(cuts), len(answer)]
    deltas = [answer[start:stop] for start, stop in itertools.pairwise(edges)]
    assert split(*filter(None, deltas)) == split(answer)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=10))
def test_only_the_tags_and_white_space_before_them_are_removed(pieces: list[str]) -> None:
    answer = "".join(pieces)
    thinking, text = split(answer)
    rest = answer.lstrip()
    if rest.startswith("<think>"):
        inside, closed, outside = rest.removeprefix("<think>").partition("</think>")
        assert (thinking, text) == (inside, outside if closed else "")
    else:
        assert (thinking, text) == ("", answer)


def test_text_is_passed_on_at_once_when_it_is_no_tag() -> None:
    inline = InlineThinking()
    assert inline.feed("Hel") == [Text("Hel")]
    assert inline.feed("<think>") == [Text("<think>")]


def test_thinking_is_passed_on_as_far_as_it_is_no_tag() -> None:
    inline = InlineThinking()
    assert inline.feed("<think>hm</") == [Thinking("hm")]
    assert inline.feed("x") == [Thinking("</x")]


def test_after_a_flush_everything_is_text() -> None:
    inline = InlineThinking()
    assert inline.feed(" <thi") == []
    assert inline.flush() == [Text(" <thi")]
    assert inline.feed("<think>") == [Text("<think>")]
    assert inline.flush() == []
