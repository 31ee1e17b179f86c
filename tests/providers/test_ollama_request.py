"""The body of an Ollama request: what is asked, in Ollama's words."""

from dataclasses import replace
from typing import Any

import pytest

from tellstream.core.chat import ChatRequest, Tool, ToolUse, Turn
from tellstream.providers.hosts import GENERIC, Host
from tellstream.providers.ollama_request import build_body, url_of

TOOL = Tool("f", "Does f.", {"type": "object"})
OTHER = Tool("g", None, {})


def body(chat: ChatRequest, host: Host = GENERIC, model: str = "qwen3") -> dict[str, Any]:
    return build_body(host, model, chat)


@pytest.mark.parametrize(
    "base_url",
    ["http://h:11434", "http://h:11434/v1", "http://h:11434/api", "http://h:11434/api/v1"],
)
def test_the_address_is_that_of_the_native_endpoint(base_url: str) -> None:
    assert url_of(base_url) == "http://h:11434/api/chat"


def test_an_address_behind_a_path_keeps_it() -> None:
    assert url_of("https://h/ollama") == "https://h/ollama/api/chat"


def test_the_least_request_is_exactly_this() -> None:
    assert body(ChatRequest("Hi")) == {
        "model": "qwen3",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
    }


def test_messages_are_system_history_and_prompt_in_this_order() -> None:
    chat = ChatRequest("And now?", (Turn("user", "a"), Turn("assistant", "b")), system="Be brief.")
    assert [m["content"] for m in body(chat)["messages"]] == ["Be brief.", "a", "b", "And now?"]


def test_a_call_is_sent_decoded_and_its_result_names_the_tool() -> None:
    turns = (
        Turn("assistant", "", (ToolUse("c1", "f", {"x": 1}),)),
        Turn("tool", "42", (), "c1"),
        Turn("tool", "43", (), "unknown"),
    )
    assert body(ChatRequest("Go on", turns))["messages"][:3] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": {"x": 1}}}],
        },
        {"role": "tool", "content": "42", "tool_call_id": "c1", "tool_name": "f"},
        {"role": "tool", "content": "43", "tool_call_id": "unknown"},
    ]


def test_tools_are_nested_functions() -> None:
    assert body(ChatRequest("Hi", tools=(TOOL, OTHER)))["tools"] == [
        {
            "type": "function",
            "function": {"name": "f", "parameters": {"type": "object"}, "description": "Does f."},
        },
        {"type": "function", "function": {"name": "g", "parameters": {}}},
    ]


@pytest.mark.parametrize(
    ("choice", "offered"),
    [(None, "fg"), ("auto", "fg"), ("required", "fg"), ("none", ""), ("=g", "g"), ("=x", "")],
)
def test_a_choice_of_tools_is_what_is_offered(choice: str | None, offered: str) -> None:
    made = body(ChatRequest("Hi", tools=(TOOL, OTHER), tool_choice=choice))
    assert "".join(tool["function"]["name"] for tool in made.get("tools", [])) == offered
    assert "tool_choice" not in made


@pytest.mark.parametrize(
    ("model", "effort", "think"),
    [
        ("qwen3", "none", False),
        ("qwen3", "minimal", True),
        ("qwen3", "high", True),
        ("gpt-oss:20b", "none", "low"),
        ("gpt-oss:20b", "minimal", "low"),
        ("gpt-oss:20b", "high", "high"),
    ],
)
def test_thinking_is_on_or_off_but_for_models_with_levels(
    model: str, effort: Any, think: bool | str
) -> None:
    assert body(ChatRequest("Hi", reasoning_effort=effort), model=model)["think"] == think


def test_limits_and_temperature_are_options() -> None:
    chat = ChatRequest("Hi", max_output_tokens=9, temperature=0.0)
    assert body(chat)["options"] == {"num_predict": 9, "temperature": 0.0}


def test_refused_parameters_are_left_out() -> None:
    refused = frozenset({"temperature", "max_output_tokens", "reasoning_effort"})
    host = replace(GENERIC, drop_parameters=(("*", refused),))
    chat = ChatRequest("Hi", max_output_tokens=9, temperature=1.0, reasoning_effort="low")
    assert set(body(chat, host)) == {"model", "messages", "stream"}
