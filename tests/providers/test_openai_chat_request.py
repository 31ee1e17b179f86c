"""The body of a chat completions request: what is asked, and what a host would refuse left out."""

import json
from typing import Any

import pytest

from tellstream.core.chat import ChatRequest, Tool, ToolUse, Turn
from tellstream.providers.hosts import GENERIC, HOSTS, Host
from tellstream.providers.openai_chat_request import build_body

HI = ChatRequest("Hi")
TOOL = Tool("f", "Does f.", {"type": "object", "properties": {}})


def body(chat: ChatRequest, host: Host = GENERIC, model: str = "m") -> dict[str, Any]:
    made = build_body(host, model, chat)
    assert json.loads(json.dumps(made)) == made
    return made


def test_the_least_request_is_exactly_this() -> None:
    assert body(HI) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize("name", ["mistral", "openrouter", "fireworks", "perplexity"])
def test_a_host_that_always_sends_usage_is_not_asked_for_it(name: str) -> None:
    assert "stream_options" not in body(HI, HOSTS[name])


def test_messages_are_system_history_and_prompt_in_this_order() -> None:
    chat = ChatRequest("And now?", (Turn("user", "a"), Turn("assistant", "b")), system="Be brief.")
    assert body(chat)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "And now?"},
    ]


@pytest.mark.parametrize("system", [None, ""])
def test_without_instructions_there_is_no_system_message(system: str | None) -> None:
    assert len(body(ChatRequest("Hi", system=system))["messages"]) == 1


def test_a_tool_turn_of_the_history_is_sent_as_the_host_sent_it() -> None:
    calls = (ToolUse("call_1", "f", {"x": "é", "y": [1]}),)
    chat = ChatRequest("Go on", (Turn("assistant", "", calls), Turn("tool", "42", (), "call_1")))
    function = {"name": "f", "arguments": '{"x":"é","y":[1]}'}
    assert body(chat)["messages"][:2] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "42"},
    ]


@pytest.mark.parametrize(
    ("name", "field"), [("openai", "max_completion_tokens"), ("xai", "max_tokens")]
)
def test_the_limit_of_the_output_has_the_name_the_host_knows(name: str, field: str) -> None:
    made = body(ChatRequest("Hi", max_output_tokens=5), HOSTS[name])
    assert {k: v for k, v in made.items() if k.startswith("max_")} == {field: 5}


def test_a_temperature_of_zero_is_sent() -> None:
    assert body(ChatRequest("Hi", temperature=0.0))["temperature"] == 0.0


@pytest.mark.parametrize(
    ("model", "sent"), [("gpt-4.1", True), ("gpt-5-mini", False), ("o3", False), ("o1-pro", False)]
)
def test_a_temperature_is_left_out_for_models_that_refuse_it(model: str, sent: bool) -> None:
    made = body(ChatRequest("Hi", temperature=1.0), HOSTS["openai"], model)
    assert ("temperature" in made) is sent


@pytest.mark.parametrize(
    ("name", "model", "expected"),
    [
        ("openai", "gpt-6-luna", {"reasoning_effort": "low"}),
        ("openrouter", "x/y", {"reasoning": {"effort": "low"}}),
        ("deepseek", "v", {"thinking": {"type": "enabled"}, "reasoning_effort": "low"}),
        ("mistral", "m", {}),
        ("openai", "gpt-4.1", {}),
        ("xai", "grok-4-1-fast-non-reasoning", {}),
        ("xai", "grok-3-mini", {"reasoning_effort": "low"}),
    ],
)
def test_the_effort_is_asked_for_in_the_words_of_the_host(
    name: str, model: str, expected: dict[str, Any]
) -> None:
    made = body(ChatRequest("Hi", reasoning_effort="low"), HOSTS[name], model)
    asked = {k: v for k, v in made.items() if k in {"reasoning", "reasoning_effort", "thinking"}}
    assert asked == expected


def test_no_effort_switches_thinking_off_where_it_can_be_switched() -> None:
    made = body(ChatRequest("Hi", reasoning_effort="none"), HOSTS["deepseek"])
    assert made["thinking"] == {"type": "disabled"}
    assert "reasoning_effort" not in made


def test_an_effort_of_none_is_not_the_same_as_no_effort() -> None:
    assert body(ChatRequest("Hi", reasoning_effort="none"))["reasoning_effort"] == "none"
    assert "reasoning_effort" not in body(HI)


def test_tools_are_functions() -> None:
    made = body(ChatRequest("Hi", tools=(TOOL, Tool("g", None, {}))))
    assert made["tools"] == [
        {
            "type": "function",
            "function": {"name": "f", "description": "Does f.", "parameters": TOOL.parameters},
        },
        {"type": "function", "function": {"name": "g", "parameters": {}}},
    ]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("=f", {"type": "function", "function": {"name": "f"}}),
        ("==", {"type": "function", "function": {"name": "="}}),
    ],
)
def test_each_choice_of_a_tool_is_written_as_openai_does(choice: str, expected: Any) -> None:
    assert body(ChatRequest("Hi", tools=(TOOL,), tool_choice=choice))["tool_choice"] == expected


def test_a_choice_without_tools_is_left_out() -> None:
    assert "tool_choice" not in body(ChatRequest("Hi", tool_choice="auto"))


def test_what_was_not_asked_for_is_not_sent() -> None:
    assert "tool_choice" not in body(ChatRequest("Hi", tools=(TOOL,)))
    assert not {"tools", "temperature", "max_tokens", "metadata"} & set(body(HI))


def test_metadata_stays_here() -> None:
    assert body(ChatRequest("Hi", metadata={"secret": "x"})) == body(HI)
