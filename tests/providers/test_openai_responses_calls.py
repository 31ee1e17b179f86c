"""Whose arguments an event carries, however a host numbers them, and nothing said twice."""

from typing import Any

import pytest

from tellstream.core import parts as pt
from tellstream.providers.openai_responses_calls import Calls


def item(call_id: str | None, item_id: str | None, index: int | None, **more: Any) -> Any:
    made = {"type": "function_call", "name": "f", "id": item_id, "call_id": call_id, **more}
    return {"output_index": index}, made


def told(parts: list[pt.Part]) -> dict[Any, tuple[str, str]]:
    """The id and the arguments of each call."""
    found: dict[Any, tuple[str, str]] = {}
    for part in parts:
        assert isinstance(part, pt.ToolFragment)
        tool_id, arguments = found.get(part.key, ("", ""))
        found[part.key] = (tool_id or part.tool_id, arguments + part.arguments)
    return found


def test_no_call_is_none() -> None:
    assert not Calls()


@pytest.mark.parametrize(
    "place", [{"item_id": "i", "output_index": 2}, {"item_id": "i"}, {"output_index": 2}, {}]
)
def test_a_delta_finds_its_call_by_whatever_it_names(place: dict[str, Any]) -> None:
    calls = Calls()
    parts = calls.item(*item("c", "i", 2), whole=False)
    parts += calls.arguments({**place, "delta": '{"a"'})
    parts += calls.arguments({**place, "delta": ":1}"})
    parts += calls.arguments({**place, "arguments": '{"a":1}'})
    parts += calls.item(*item("c", "i", 2, arguments='{"a":1}'), whole=True)
    assert told(parts) == {0: ("c", '{"a":1}')}
    assert calls


def test_arguments_that_only_come_whole_are_told_once() -> None:
    calls = Calls()
    parts = calls.item(*item("c", "i", 0, arguments=""), whole=False)
    parts += calls.arguments({"item_id": "i", "arguments": "{}"})
    parts += calls.item(*item("c", "i", 0, arguments="{}"), whole=True)
    assert told(parts) == {0: ("c", "{}")}


def test_a_call_that_was_never_announced() -> None:
    assert told(Calls().item(*item("c", "i", 0, arguments="{}"), whole=True)) == {0: ("c", "{}")}


def test_what_the_deltas_left_out_is_told_at_the_end() -> None:
    calls = Calls()
    parts = calls.arguments({"output_index": 0, "delta": '{"a"'})
    parts += calls.item(*item("c", "i", 0, arguments='{"a":1}'), whole=True)
    assert told(parts) == {0: ("c", '{"a":1}')}


def test_deltas_are_believed_where_the_whole_differs() -> None:
    calls = Calls()
    parts = calls.arguments({"output_index": 0, "delta": '{"a": 1}'})
    parts += calls.item(*item("c", "i", 0, arguments='{"a":1}'), whole=True)
    assert told(parts) == {0: ("c", '{"a": 1}')}


def test_ids_that_change_from_event_to_event() -> None:
    calls = Calls()
    parts = calls.item(*item("c1", "x1", 0), whole=False)
    parts += calls.item(*item("c2", "x2", 1), whole=False)
    parts += calls.arguments({"item_id": "x3", "output_index": 0, "delta": "{}"})
    parts += calls.item(*item("c1", "x4", 0, arguments="{}"), whole=True)
    parts += calls.item(*item("c2", "x5", 1, arguments='{"b":2}'), whole=True)
    assert told(parts) == {0: ("c1", "{}"), 1: ("c2", '{"b":2}')}


@pytest.mark.parametrize("index", [0, None])
def test_a_host_that_does_not_count(index: int | None) -> None:
    calls = Calls()
    parts = calls.item(*item("c1", "x1", index), whole=False)
    parts += calls.item(*item("c2", "x2", index), whole=False)
    parts += calls.arguments({"item_id": "x1", "output_index": index, "delta": "{}"})
    parts += calls.item(*item("c1", "x1", index, arguments="{}"), whole=True)
    parts += calls.item(*item("c2", "x2", index, arguments="[]"), whole=True)
    assert told(parts) == {0: ("c1", "{}"), 1: ("c2", "[]")}


def test_the_same_announcement_twice_is_one_call() -> None:
    calls = Calls()
    calls.item(*item("c", "i", 0), whole=False)
    assert calls.item(*item("c", "i", 0), whole=False) == []


def test_without_a_call_id_the_item_names_the_call() -> None:
    assert told(Calls().item(*item(None, "i", 0), whole=False)) == {0: ("i", "")}
    assert told(Calls().item(*item(None, None, None), whole=False)) == {0: ("", "")}


def test_arguments_that_are_an_object_already() -> None:
    assert told(Calls().item(*item("c", "i", 0, arguments={"a": 1}), whole=True)) == {
        0: ("c", '{"a":1}')
    }


def test_the_input_of_a_custom_tool_is_text() -> None:
    calls = Calls()
    parts = calls.item(*item("c", "i", 0), whole=False)
    kind = {"type": "response.custom_tool_call_input.delta", "item_id": "i"}
    parts += calls.arguments({**kind, "delta": "SELECT"})
    parts += calls.item(*item("c", "i", 0, input="SELECT 1"), whole=True)
    assert told(parts) == {0: ("c", "SELECT 1")}


def test_the_input_of_a_tool_that_is_not_ours_is_nothing() -> None:
    calls = Calls()
    event = {"type": "response.custom_tool_call_input.delta", "item_id": "i", "delta": "x"}
    assert calls.arguments(event) == []
    assert not calls
