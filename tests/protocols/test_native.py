"""The native request body: each rule of each field at its boundaries; errors repeat nothing."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellstream.core.chat import ChatRequest, Tool, ToolUse, Turn
from tellstream.core.errors import RequestError
from tellstream.protocols.native import parse

TOOL = {"type": "function", "function": {"name": "f"}}
CALL = {"tool_id": "call_1", "tool_name": "f", "arguments": {"x": [1, None]}}


def accepted(prompt: Any = "Hi", **fields: Any) -> ChatRequest:
    return parse(json.dumps({"prompt": prompt, **fields}).encode())


def refused(prompt: Any = "Hi", **fields: Any) -> tuple[tuple[str, str], ...]:
    """The details of a 422."""
    return details(json.dumps({"prompt": prompt, **fields}).encode())


def details(raw: bytes) -> tuple[tuple[str, str], ...]:
    with pytest.raises(RequestError) as caught:
        parse(raw)
    assert (caught.value.code, caught.value.status) == ("validation_error", 422)
    assert caught.value.details
    return caught.value.details


def fields(found: tuple[tuple[str, str], ...]) -> set[str]:
    return {name for name, _ in found}


# --- the whole body -------------------------------------------------------------------------------


def test_a_prompt_is_enough() -> None:
    assert accepted("Hi") == ChatRequest("Hi")


def test_a_full_body_is_taken_over() -> None:
    assert parse(
        json.dumps(
            {
                "prompt": "And?",
                "history": [{"role": "user", "content": "a"}, {"content": "b"}],
                "model": "grok-4",
                "metadata": {"k": "v"},
                "max_output_tokens": 5,
                "temperature": 0.5,
                "reasoning_effort": "low",
                "tools": [TOOL],
                "tool_choice": "auto",
            }
        ).encode(),
        system="Be brief.",
    ) == ChatRequest(
        prompt="And?",
        history=(Turn("user", "a"), Turn("assistant", "b")),
        system="Be brief.",
        model="grok-4",
        metadata={"k": "v"},
        max_output_tokens=5,
        temperature=0.5,
        reasoning_effort="low",
        tools=(Tool("f", None, {}),),
        tool_choice="auto",
    )


@pytest.mark.parametrize(
    "name",
    [
        *("history", "model", "metadata", "max_output_tokens", "temperature"),
        *("reasoning_effort", "tools", "tool_choice"),
    ],
)
def test_null_is_the_same_as_absent(name: str) -> None:
    assert accepted(**{name: None}) == ChatRequest("Hi")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"prompt=Hi",
        b'{"prompt":"Hi"',
        b'{"prompt":"Hi"} {}',
        b"{'prompt':'Hi'}",
        b'{"prompt":"Hi",}',
        b'{"prompt":"\xff"}',
        b'{"prompt":"a\nb"}',
        rb'{"prompt":"\ud800"}',
        rb'{"prompt":"\udc00\ud800"}',
        b'\xef\xbb\xbf{"prompt":"Hi"}',
        '{"prompt":"Hi"}'.encode("utf-16"),
        b'{"prompt":"Hi","tools":' + b"[" * 5000 + b"]" * 5000 + b"}",
        (
            b'{"prompt":"Hi","tools":[{"type":"function","function":{"name":"f","parameters":'
            b'{"x":NaN}}}]}'
        ),
        (
            b'{"prompt":"Hi","tools":[{"type":"function","function":{"name":"f","parameters":'
            b'{"x":-Infinity}}}]}'
        ),
    ],
)
def test_what_is_not_json_is_a_400_without_details(raw: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        parse(raw)
    assert (caught.value.code, caught.value.status) == ("invalid_request", 400)
    assert caught.value.details == ()


@pytest.mark.parametrize("raw", [b"null", b"[]", b'"Hi"', b"7", b"{}"])
def test_json_that_is_no_chat_request_is_a_422(raw: bytes) -> None:
    assert details(raw)


def test_several_problems_are_told_together() -> None:
    assert fields(refused("", model="", temperature=9)) == {"prompt", "model", "temperature"}


# --- prompt ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("character", ["a", "é", "中", "😀", "\u0301"])
def test_a_prompt_has_1_to_2000_code_points(character: str) -> None:
    assert accepted(character).prompt == character
    assert accepted(character * 2000).prompt == character * 2000
    assert refused(character * 2001) == (("prompt", "must have 1 to 2000 characters"),)


def test_an_empty_prompt_is_refused() -> None:
    assert refused("") == (("prompt", "must have 1 to 2000 characters"),)


@pytest.mark.parametrize("prompt", [" ", "\n", "\t \r\n", "\u00a0", "\u3000\u2003", "\u2028"])
def test_a_prompt_of_white_space_is_refused(prompt: str) -> None:
    assert refused(prompt) == (("prompt", "must not be all white space"),)


@pytest.mark.parametrize("prompt", [" a ", "\ta\r\nb", "0", "\u200b", "a\u2028b", "a\x7fb"])
def test_white_space_around_a_prompt_is_kept(prompt: str) -> None:
    assert accepted(prompt).prompt == prompt


@pytest.mark.parametrize("code", sorted(set(range(0x20)) - {0x09, 0x0A, 0x0D}))
def test_control_characters_are_refused_in_prompts_and_history(code: int) -> None:
    text = f"a{chr(code)}b"
    assert refused(text) == (("prompt", "must not contain control characters"),)
    assert fields(refused(history=[{"content": text}])) == {"history.0.content"}


@pytest.mark.parametrize("prompt", [None, 1, True, ["Hi"], {"text": "Hi"}])
def test_a_prompt_is_a_string(prompt: Any) -> None:
    assert fields(refused(prompt)) == {"prompt"}


def test_a_prompt_is_required() -> None:
    assert details(b'{"model":"m"}') == (("prompt", "Field required"),)


@pytest.mark.parametrize(("length", "fine"), [(5000, True), (5001, False)])
def test_a_tenants_limit_may_raise_the_length_of_a_prompt(length: int, fine: bool) -> None:
    raw = json.dumps({"prompt": "x" * length}).encode()
    if fine:
        assert len(parse(raw, prompt_chars=5000).prompt) == length
    else:
        with pytest.raises(RequestError):
            parse(raw, prompt_chars=5000)


# --- history --------------------------------------------------------------------------------------


def roles(*items: dict[str, Any]) -> list[str]:
    return [turn.role for turn in accepted(history=list(items)).history]


def test_missing_roles_begin_with_user_and_alternate() -> None:
    assert roles(*[{"content": "x"}] * 4) == ["user", "assistant", "user", "assistant"]


def test_a_missing_role_alternates_with_a_given_one() -> None:
    assert roles({"role": "assistant", "content": "x"}, {"content": "y"}, {"content": "z"}) == [
        "assistant",
        "user",
        "assistant",
    ]


def test_a_missing_role_after_a_tool_is_the_assistants() -> None:
    assert roles(
        {"content": "x"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "tool_id": "call_1", "result": 1},
        {"role": None, "content": "y"},
    ) == ["user", "assistant", "tool", "assistant"]


def test_given_roles_need_not_alternate() -> None:
    assert roles(*[{"role": "user", "content": "x"}] * 3) == ["user"] * 3


@pytest.mark.parametrize(("length", "fine"), [(0, True), (20, True), (21, False)])
def test_a_history_has_at_most_20_items(length: int, fine: bool) -> None:
    history = [{"content": "x"}] * length
    if fine:
        assert len(accepted(history=history).history) == length
    else:
        assert refused(history=history) == (("history", "must have at most 20 items"),)


def test_a_tenants_limit_may_raise_the_length_of_a_history() -> None:
    raw = json.dumps({"prompt": "Hi", "history": [{"content": "x"}] * 30}).encode()
    assert len(parse(raw, history_messages=30).history) == 30
    with pytest.raises(RequestError):
        parse(raw, history_messages=29)


def test_an_earlier_message_may_be_longer_than_a_prompt() -> None:
    assert len(accepted(history=[{"content": "x" * 9000}]).history[0].content) == 9000


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"content": ""},
        {"content": None},
        {"content": 1},
        {"content": ["x"]},
        {"role": "system", "content": "x"},
        {"role": "User", "content": "x"},
        {"role": "user"},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "content": "", "tool_calls": []},
        {"role": "user", "content": "x", "tool_calls": [CALL]},
        {"content": "x", "tool_calls": [CALL]},
        {"content": "x", "tool_id": "a"},
        {"role": "assistant", "content": "x", "result": 1},
        {"role": "tool", "tool_id": "a"},
        {"role": "tool", "result": 1},
        {"role": "tool", "tool_id": "", "result": 1},
        {"role": "tool", "tool_id": "a" * 257, "result": 1},
        {"role": "tool", "tool_id": "a", "result": 1, "content": "x"},
        {"role": "tool", "tool_id": "a", "result": 1, "tool_calls": []},
        {"role": "assistant", "content": "x", "tool_calls": [CALL] * 129},
        {"role": "assistant", "content": "x", "tool_calls": [{**CALL, "arguments": "{}"}]},
        {"role": "assistant", "content": "x", "tool_calls": [{**CALL, "tool_id": ""}]},
        {"role": "assistant", "content": "x", "tool_calls": [{**CALL, "tool_name": ""}]},
        {"role": "assistant", "content": "x", "tool_calls": [{"tool_id": "a"}]},
        "x",
        None,
    ],
    ids=str,
)
def test_an_item_that_does_not_hold_together_is_refused(item: Any) -> None:
    assert all(name.startswith("history.0") for name in fields(refused(history=[item])))


def test_the_number_of_the_item_is_told() -> None:
    assert fields(refused(history=[{"content": "x"}, {"content": ""}])) == {"history.1"}


def test_a_tool_turn_is_taken_over() -> None:
    turns = accepted(
        history=[
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "tool_id": "call_1", "result": "42"},
        ]
    ).history
    assert turns == (
        Turn("assistant", "", (ToolUse("call_1", "f", {"x": [1, None]}),)),
        Turn("tool", "42", (), "call_1"),
    )


@pytest.mark.parametrize(
    ("result", "text"),
    [("é", "é"), ("", ""), ({"a": ["é"]}, '{"a":["é"]}'), (7, "7"), (None, "null"), (True, "true")],
)
def test_a_result_is_text_or_becomes_json(result: Any, text: str) -> None:
    (turn,) = accepted(history=[{"role": "tool", "tool_id": "a", "result": result}]).history
    assert turn.content == text


# --- the other fields -----------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "fine"), [(0, True), (16, True), (17, False)])
def test_metadata_has_at_most_16_keys(count: int, fine: bool) -> None:
    metadata = {f"k{number}": "v" for number in range(count)}
    if fine:
        assert accepted(metadata=metadata).metadata == metadata
    else:
        assert fields(refused(metadata=metadata)) == {"metadata"}


@pytest.mark.parametrize("value", [1, None, True, ["x"], {"a": "b"}])
def test_metadata_are_strings(value: Any) -> None:
    assert fields(refused(metadata={"k": value})) == {"metadata.k"}


@pytest.mark.parametrize("metadata", ["x", ["x"], 1])
def test_metadata_is_an_object(metadata: Any) -> None:
    assert fields(refused(metadata=metadata)) == {"metadata"}


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("model", ["m", "x/y:free", "m" * 256], ["", "m" * 257, 1, ["m"]]),
        ("max_output_tokens", [1, 10_000_000], [0, -1, 10_000_001, 1.0, 1.5, "1", True, 10**30]),
        ("temperature", [0, 0.0, 1, 1.5, 2], [-0.1, 2.1, "1", True, [1]]),
        ("reasoning_effort", ["none", "minimal", "low", "medium", "high"], ["", "Low", "max", 1]),
    ],
)
def test_a_parameter_stays_within_its_bounds(name: str, good: list[Any], bad: list[Any]) -> None:
    assert [getattr(accepted(**{name: value}), name) for value in good] == good
    assert [fields(refused(**{name: value})) for value in bad] == [{name}] * len(bad)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_a_temperature_is_finite(number: bytes) -> None:
    with pytest.raises(RequestError):
        parse(b'{"prompt":"Hi","temperature":' + number + b"}")


# --- tools ----------------------------------------------------------------------------------------


def function(**more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", **more}}


def test_a_tool_is_taken_over() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "integer", "maximum": 2**70}}}
    (tool,) = accepted(tools=[function(description="d", parameters=schema)]).tools
    assert tool == Tool("f", "d", schema)


@pytest.mark.parametrize("name", ["f", "get_weather", "a.b-c_9", "x" * 64])
def test_the_name_of_a_function_has_1_to_64_plain_characters(name: str) -> None:
    assert accepted(tools=[function(name=name)]).tools[0].name == name


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 65, "f\n", "f\0", 1, None])
def test_any_other_name_of_a_function_is_refused(name: Any) -> None:
    assert fields(refused(tools=[function(name=name)])) == {"tools.0.function.name"}


@pytest.mark.parametrize(
    "tool",
    [
        {},
        {"type": "function"},
        {"type": "web_search", "function": {"name": "f"}},
        {"function": {"name": "f"}},
        {"type": "function", "name": "f"},
        function(parameters="{}"),
        function(parameters=[]),
        function(parameters=None),
        function(description=1),
        function(description="x" * 8193),
        "f",
        None,
    ],
    ids=str,
)
def test_what_is_no_function_is_no_tool(tool: Any) -> None:
    assert all(name.startswith("tools.0") for name in fields(refused(tools=[tool])))


@pytest.mark.parametrize(("count", "fine"), [(0, True), (128, True), (129, False)])
def test_there_are_at_most_128_tools(count: int, fine: bool) -> None:
    tools = [function(name=f"f{number}") for number in range(count)]
    if fine:
        assert len(accepted(tools=tools).tools) == count
    else:
        assert fields(refused(tools=tools)) == {"tools"}


@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_a_choice_is_one_of_three_words(choice: str) -> None:
    assert accepted(tools=[TOOL], tool_choice=choice).tool_choice == choice


def test_a_choice_may_name_one_of_the_tools() -> None:
    assert accepted(tools=[TOOL], tool_choice=TOOL).tool_choice == "=f"


def test_a_choice_of_a_tool_that_is_not_there_is_refused() -> None:
    problem = "tool_choice names a function that is not in tools"
    assert refused(tools=[function(name="g")], tool_choice=TOOL) == (("", problem),)
    assert refused(tool_choice=TOOL) == (("", problem),)


@pytest.mark.parametrize(
    "choice", ["", "f", "=f", "any", 1, True, {}, {"type": "function"}, {**TOOL, "type": "x"}]
)
def test_any_other_choice_is_refused_under_its_own_name(choice: Any) -> None:
    names = fields(refused(tools=[TOOL], tool_choice=choice))
    assert {name.split(".")[0] for name in names} == {"tool_choice"}
    assert not any("literal" in name or "Named" in name for name in names)


# --- unknown keys, and what an error tells --------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"stream": True}, "stream"),
        ({"Prompt": "x"}, "Prompt"),
        ({"NamedThing": 1}, "NamedThing"),
        ({"literal[x": 1}, "literal[x"),
        ({"history": [{"content": "x", "name": "y"}]}, "history.0.name"),
        (
            {"history": [{"role": "assistant", "content": "x", "tool_calls": [{**CALL, "id": 1}]}]},
            "history.0.tool_calls.0.id",
        ),
        ({"tools": [{**TOOL, "strict": True}]}, "tools.0.strict"),
        ({"tools": [function(strict=True)]}, "tools.0.function.strict"),
        ({"tools": [TOOL], "tool_choice": {**TOOL, "x": 1}}, "tool_choice.x"),
        ({"tools": [TOOL], "tool_choice": function(x=1)}, "tool_choice.function.x"),
    ],
    ids=str,
)
def test_an_unknown_key_is_refused_at_every_level(body: dict[str, Any], where: str) -> None:
    assert (where, "Extra inputs are not permitted") in refused(**body)


def test_keys_inside_arguments_parameters_and_results_are_free() -> None:
    assert accepted(
        tools=[function(parameters={"anything": {"at": ["all"]}})],
        history=[
            {"role": "assistant", "content": "x", "tool_calls": [{**CALL, "arguments": {"y": {}}}]},
            {"role": "tool", "tool_id": "a", "result": {"z": 1}},
        ],
    )


def test_a_made_up_key_is_cut_and_stripped_in_the_answer() -> None:
    ((name, _),) = refused(**{"a\x00b\nc" + "x" * 500: 1})
    assert len(name) == 64
    assert name.startswith("ab\ncxx")


SECRET = "s3cr3t-value"


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": SECRET + "\0"},
        {"prompt": SECRET * 300},
        {"prompt": [SECRET]},
        {"prompt": "Hi", "model": SECRET * 100},
        {"prompt": "Hi", "metadata": {"k": [SECRET]}},
        {"prompt": "Hi", "reasoning_effort": SECRET},
        {"prompt": "Hi", "temperature": SECRET},
        {"prompt": "Hi", "history": [{"role": SECRET, "content": SECRET}]},
        {"prompt": "Hi", "history": [{"role": "tool", "content": SECRET, "result": SECRET}]},
        {"prompt": "Hi", "history": SECRET},
        {"prompt": "Hi", "tools": [{"type": SECRET, "function": {"name": SECRET + " "}}]},
        {"prompt": "Hi", "tool_choice": SECRET},
        {"prompt": "Hi", "tool_choice": {"type": "function", "function": {"name": SECRET}}},
        {"prompt": "Hi", "unknown": SECRET},
        [SECRET],
    ],
    ids=str,
)
def test_no_error_repeats_a_value(body: Any) -> None:
    with pytest.raises(RequestError) as caught:
        parse(json.dumps(body).encode())
    error = caught.value
    assert SECRET not in f"{error} {error.message} {error.details} {error.reason}"


def test_no_error_repeats_what_is_not_json() -> None:
    with pytest.raises(RequestError) as caught:
        parse(b'{"prompt": ' + SECRET.encode())
    assert SECRET not in f"{caught.value} {caught.value.message} {caught.value.reason}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["prompt", "history", "role", "content", "tools", "function", "name", "type", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(JSON | st.dictionaries(st.sampled_from(["prompt", "history", "tools", "x"]), JSON))
def test_any_json_is_a_request_or_a_request_error(body: Any) -> None:
    with contextlib.suppress(RequestError):
        assert 1 <= len(parse(json.dumps(body).encode()).prompt) <= 2000


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_request_or_a_request_error(raw: bytes) -> None:
    with contextlib.suppress(RequestError):
        parse(raw)
