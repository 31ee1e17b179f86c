"""What is said depends on the script and the request, and on nothing else."""

import json
from collections import defaultdict
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellstream.providers.simulator.answer import (
    Close,
    Finish,
    Piece,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolArguments,
    ToolStart,
    Turn,
    pieces,
    sample,
    split_words,
)
from tellstream.providers.simulator.failure import Failure
from tellstream.providers.simulator.prose import STAMP
from tellstream.providers.simulator.script import parse_model

WEATHER = Tool(
    "weather",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
)
CLOCK = Tool("clock", {})


def say(model: str, question: str = "", **fields: Any) -> list[Piece]:
    turn = Turn(model=model, digest="d1", question=question, **fields)
    return list(pieces(parse_model(model), turn))


def text(said: list[Piece]) -> str:
    return "".join(piece.text for piece in said if isinstance(piece, Text))


@pytest.mark.parametrize("count", [0, 1, 2, 60, 500])
def test_words_are_counted_exactly(count: int) -> None:
    said = say(f"sim:words={count}")
    assert sum(isinstance(piece, Text) for piece in said) == count
    assert len(text(said).split()) == count
    assert said[-2:] == [Finish("stop"), Close()]


def test_the_friendly_answer_introduces_itself_and_quotes_the_question() -> None:
    answer = text(say("sim", "Where  is\nthe sea? " + "x" * 80))
    assert "simulator" in answer
    assert "> Where is the sea? " + "x" * 42 + "…\n" in answer
    assert 50 <= len(answer.split()) <= 75


def test_the_same_turn_gets_the_same_answer_and_a_seed_another_one() -> None:
    assert say("sim:words=9,seed=1") == say("sim:words=9,seed=1")
    assert text(say("sim:words=9,seed=1")) != text(say("sim:words=9,seed=2"))


def test_marked_words_are_numbered() -> None:
    assert text(say("sim:mark=a,words=3")) == "a1 a2 a3"
    assert len(text(say("sim:mark=a")).split()) == 60


def test_stamped_words_wait_for_their_time() -> None:
    assert text(say("sim:stamp=1,words=2")) == f"{STAMP} {STAMP}"
    assert len(text(say("sim:stamp=1")).split()) == 60


def test_echo_and_literal_text_are_exact() -> None:
    question = " one\n\n two  "
    assert text(say("sim:echo=1", question)) == question
    assert text(say("sim:text=a%20b")) == "a b"


@given(st.text())
def test_splitting_into_words_loses_nothing(whole: str) -> None:
    words = list(split_words(whole))
    assert "".join(words) == whole
    assert all(words)


def test_thinking_comes_before_the_text() -> None:
    said = say("sim:think=3,words=2")
    assert [type(piece) for piece in said[:5]] == [Thinking] * 3 + [Text] * 2


def test_a_refusal_is_said_as_one() -> None:
    said = say("sim-refusal")
    assert "".join(piece.text for piece in said if isinstance(piece, Refusal)).startswith("I'm")
    assert not text(said)


def test_parallel_calls_interleave_and_join_into_their_arguments() -> None:
    said = say("sim:tools=3", tools=(WEATHER, CLOCK))
    starts = [piece for piece in said if isinstance(piece, ToolStart)]
    assert [start.name for start in starts] == ["weather", "clock", "weather"]
    assert len({start.id for start in starts}) == 3
    order = [piece.index for piece in said if isinstance(piece, ToolArguments)]
    assert order[:3] == [0, 1, 2]
    assert order != sorted(order)
    arguments: defaultdict[int, str] = defaultdict(str)
    for piece in said:
        if isinstance(piece, ToolArguments):
            arguments[piece.index] += piece.fragment
    assert json.loads(arguments[0]) == {"city": "simulated", "days": 1}
    assert json.loads(arguments[1]) == {}
    assert said[-2] == Finish("tool_calls")
    assert not text(said)


def test_without_declared_tools_there_is_text() -> None:
    assert "simulator" in text(say("sim-tools"))


def test_text_asked_for_is_said_before_the_call() -> None:
    said = say("sim:words=1,tools=1", tools=(CLOCK,))
    assert [type(piece) for piece in said[:2]] == [Text, ToolStart]


def test_a_tool_result_is_answered_with_text() -> None:
    said = say("sim-tools", tools=(CLOCK,), result="noon")
    assert "> noon\n" in text(said)
    assert said[-2] == Finish("stop")


@pytest.mark.parametrize(
    ("fault", "ending"),
    [
        ("dupfinish", [Finish("stop"), Finish("stop"), Close()]),
        ("afterfinish", [Finish("stop"), Text(" (too late)"), Close()]),
        ("afterdone", [Finish("stop"), Close(), Text(" (too late)")]),
    ],
)
def test_faults_of_the_ending(fault: str, ending: list[Piece]) -> None:
    assert say(f"sim:words=0,fault={fault}") == ending


def test_an_error_after_the_finish_ends_the_answer() -> None:
    finish, last = say("sim:words=0,fault=errorafter,code=overloaded")
    assert finish == Finish("stop")
    assert isinstance(last, Failure)
    assert last.code == "overloaded"


def test_an_endless_answer_does_not_end() -> None:
    said = pieces(parse_model("sim:fault=endless"), Turn(model="", digest=""))
    assert all(isinstance(piece, Text) for piece in islice(said, 5_000))


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "simulated"),
        ({"type": "number"}, 1.5),
        ({"type": "boolean"}, True),
        ({"type": "array", "items": {}}, []),
        ({"type": ["integer", "null"]}, 1),
        ({"type": "string", "enum": ["b", "a"]}, "b"),
        ({"const": 3}, 3),
        ({}, "simulated"),
        ({"type": {}}, "simulated"),
        ({"type": "object"}, {}),
        (True, None),
    ],
)
def test_samples_fit_their_schema(schema: Any, value: Any) -> None:
    assert sample({"properties": {"x": schema, "y": {}}, "required": ["x"]}) == {"x": value}


def test_a_schema_without_end_has_a_sample() -> None:
    schema: dict[str, Any] = {"type": "object", "required": ["again"]}
    schema["properties"] = {"again": schema}
    assert str(sample(schema)).count("again") == 8


@given(
    st.recursive(
        st.none() | st.text(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=4
    )
)
def test_any_schema_has_a_sample(schema: Any) -> None:
    assert sample({"properties": {"x": schema}, "required": ["x", 1, "z"]}).keys() == {"x", "z"}
