"""Arguments that are streamed by JSON path: complete and all of them, or marked as not."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellstream.core import parts as pt
from tellstream.providers.gemini_calls import FunctionCall


def at(path: Any, *, more: bool = False, **value: Any) -> dict[str, Any]:
    return {"jsonPath": path, **value, **({"willContinue": True} if more else {})}


def arguments(*pieces: Any) -> Any:
    """The arguments of a call in pieces; None if they must not be used."""
    call = FunctionCall(1, {"name": "f"})
    for piece in pieces:
        call.take({"partialArgs": [piece]}, None)
    (part,) = call.parts(ended=True)
    return part.arguments if isinstance(part, pt.ToolWhole) else None


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("$.a", {"a": 1}),
        ("$.a.b.c", {"a": {"b": {"c": 1}}}),
        ("$.a[0]", {"a": [1]}),
        ("$.a[0][0].b", {"a": [[{"b": 1}]]}),
        ("$['a b'].c", {"a b": {"c": 1}}),
        ('$["a.b"][0]', {"a.b": [1]}),
        ("$.é-1", {"é-1": 1}),
        ("$['']", {"": 1}),
    ],
)
def test_a_path_says_where_a_value_stands(path: str, meant: Any) -> None:
    assert arguments(at(path, numberValue=1)) == meant


@pytest.mark.parametrize(
    "path",
    [
        *(None, "", "$", "a", ".a", "$a", "$.", "$..a", "$.a[", "$.a[x]", "$.a[-1]", "$.a[1]"),
        *("$[0]", "$['a", "$.a]", "$" + ".a" * 65, "$.a[99999999999]"),
    ],
)
def test_a_value_without_a_place_makes_the_arguments_unusable(path: Any) -> None:
    assert arguments(at(path, numberValue=1)) is None


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ({"stringValue": "x"}, "x"),
        ({"stringValue": ""}, ""),
        ({"numberValue": 3}, 3),
        ({"numberValue": 0.5}, 0.5),
        ({"boolValue": False}, False),
        ({"boolValue": True}, True),
        ({"nullValue": "NULL_VALUE"}, None),
    ],
)
def test_each_kind_of_value(value: dict[str, Any], meant: Any) -> None:
    assert arguments(at("$.a", **value)) == {"a": meant}


@pytest.mark.parametrize("value", [{}, {"numberValue": "x"}, {"boolValue": 1}, {"stringValue": 1}])
def test_a_piece_without_a_value_changes_nothing(value: dict[str, Any]) -> None:
    assert arguments(at("$.a", **value)) == {}


def test_a_string_grows_while_it_continues() -> None:
    pieces = [at("$.a", more=True, stringValue=text) for text in ("x", "", "y")]
    assert arguments(*pieces) == {"a": "xy"}
    assert arguments(*pieces, at("$.a", stringValue="z")) == {"a": "xyz"}
    assert arguments(*pieces, at("$.b", stringValue="z")) == {"a": "xy", "b": "z"}


def test_a_string_that_was_ended_is_replaced() -> None:
    assert arguments(at("$.a", stringValue="x"), at("$.a", stringValue="y")) == {"a": "y"}


def test_elements_come_in_order_and_may_be_completed_later() -> None:
    assert arguments(
        at("$.a[0].x", numberValue=1), at("$.a[1].x", numberValue=2), at("$.a[0].y", numberValue=3)
    ) == {"a": [{"x": 1, "y": 3}, {"x": 2}]}


@pytest.mark.parametrize("path", ["$.a.b", "$.a[0]", "$.b[0].c"])
def test_a_value_is_no_place_for_another(path: str) -> None:
    assert (
        arguments(at("$.a", numberValue=1), at("$.b", numberValue=1), at(path, numberValue=2))
        is None
    )


def test_whole_and_streamed_arguments_are_put_together() -> None:
    call = FunctionCall(1, {"name": "f"})
    call.take({"args": {"a": 1}}, None)
    call.take({"partialArgs": [at("$.b", numberValue=2)]}, None)
    assert call.parts(ended=True) == [pt.ToolWhole(1, "", "f", {"a": 1, "b": 2})]


PATHS = st.lists(st.sampled_from([".a", ".b", "[0]", "[1]", "['c']", "x"]), max_size=5).map(
    lambda steps: "$" + "".join(steps)
)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "stringValue": st.text(max_size=3),
        "numberValue": st.integers(),
        "nullValue": st.none(),
        "willContinue": st.booleans(),
    },
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(PATHS, VALUES), max_size=8))
def test_no_piece_does_harm(pieces: list[tuple[str, dict[str, Any]]]) -> None:
    found = arguments(*({"jsonPath": path, **value} for path, value in pieces))
    assert found is None or isinstance(found, dict)
