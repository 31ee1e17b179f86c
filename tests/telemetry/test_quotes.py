"""Quotations of private texts are found, whole and in part."""

import asyncio
import json
import time

import pytest

from tellstream.core.private import PRIVATE, keep_private
from tellstream.telemetry.quotes import QUOTE_CHARS, mask_quotes
from tellstream.telemetry.redaction import Redactor

PROMPT = "My name is Kanarina Vogel and I owe the bank 4711 euros. What should I do about it?"
OTHER = "An earlier question about something else altogether, of some length."


def masked(text: str) -> str:
    return mask_quotes(text, [OTHER, PROMPT], "#")


@pytest.mark.parametrize("begin", range(0, len(PROMPT) - QUOTE_CHARS, 5))
@pytest.mark.parametrize("length", [QUOTE_CHARS, QUOTE_CHARS + 7, 60])
def test_every_part_of_some_length_is_found_wherever_it_stands(begin: int, length: int) -> None:
    part = PROMPT[begin : begin + length]
    if len(part) < QUOTE_CHARS:
        return
    for before in range(13):
        assert (
            masked("x" * before + part + "~ is not allowed") == "x" * before + "#~ is not allowed"
        )


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_quotation_is_found_as_json_escapes_it(times: int, ascii_only: bool) -> None:
    private = 'Is "Kanarina" née Vögel, or not?\n\tA \\ is a backslash.'
    quoted = private
    for _ in range(times):
        quoted = json.dumps(quoted, ensure_ascii=ascii_only)[1:-1]
    for begin, end in ((0, len(quoted)), (0, 30), (12, 50)):
        text = f'bad request: {{"said": "{quoted[begin:end]}"}}'
        assert mask_quotes(text, [private], "#") == 'bad request: {"said": "#"}'


def test_several_quotations_are_found() -> None:
    assert masked(f"'{PROMPT[:30]}' and '{OTHER[10:50]}' and '{PROMPT}'.") == "'#' and '#' and '#'."


def test_what_is_not_quoted_stays() -> None:
    text = "HTTP 400: This model's maximum context length is 8192 tokens, you asked for 9000."
    assert masked(text) == text
    assert mask_quotes(text, ["context length", "hi", "What is a context window?"], "#") == (
        text.replace("context length", "#")
    )


def test_a_part_that_stands_twice_in_a_private_text_is_followed_to_its_longest() -> None:
    private = "abcdefghijkl? abcdefghijkl, and here it goes on for long enough"
    assert mask_quotes("abcdefghijkl, and here it goes on", [private], "#") == "#"


@pytest.mark.parametrize("unit", ["a", "ab", "abc" * 4 + "d", "question "])
def test_hostile_texts_cost_little(unit: str) -> None:
    started = time.process_time()
    mask_quotes(unit * (8000 // len(unit)) + "!", [unit * (4000 // len(unit)) + "?"] * 20, "#")
    mask_quotes(unit * (8000 // len(unit)), [f"{unit * 3}-" * 2000], "#")
    assert time.process_time() - started < 2


async def test_no_line_of_a_task_or_of_those_it_starts_quotes_what_it_keeps() -> None:
    redactor = Redactor()
    text = f"HTTP 400: invalid prompt '{PROMPT[:40]}...'"

    async def show() -> str:
        return redactor.text(text)

    async def handle() -> str:
        keep_private([PROMPT])
        return await asyncio.create_task(show())

    assert await asyncio.create_task(handle()) == "HTTP 400: invalid prompt '[private]...'"
    assert await show() == text
    assert PRIVATE.get() is None
