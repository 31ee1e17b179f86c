"""The body of a Responses request: what is asked, and what a host would refuse left out."""

import json
from typing import Any

import pytest

from tellstream.core.chat import ChatRequest, Replay, Tool, ToolUse, Turn
from tellstream.providers.base import Endpoint
from tellstream.providers.hosts import GENERIC, HOSTS, Host
from tellstream.providers.openai_responses_request import build_body, url_of

HI = ChatRequest("Hi")
TOOL = Tool("f", "Does f.", {"type": "object"})
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"x":"é"}'}


def body(chat: ChatRequest, host: Host = GENERIC, model: str = "m") -> dict[str, Any]:
    made = build_body(host, model, chat)
    assert json.loads(json.dumps(made)) == made
    return made


def message(role: str, content: str) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content}


@pytest.mark.parametrize(
    ("name", "base_url", "url"),
    [
        ("openai", "https://api.openai.com/v1", "https://api.openai.com/v1/responses"),
        ("perplexity", "https://api.perplexity.ai", "https://api.perplexity.ai/v1/responses"),
        ("perplexity", "https://api.perplexity.ai/v1", "https://api.perplexity.ai/v1/responses"),
    ],
)
def test_the_address(name: str, base_url: str, url: str) -> None:
    assert url_of(Endpoint(name, base_url, None, HOSTS[name])) == url


def test_the_least_request_is_exactly_this() -> None:
    assert body(HI) == {"model": "m", "input": [message("user", "Hi")], "stream": True}


@pytest.mark.parametrize("name", ["openai", "azure", "xai", "openrouter"])
def test_a_host_that_stores_answers_is_told_not_to(name: str) -> None:
    assert body(HI, HOSTS[name])["store"] is False


@pytest.mark.parametrize("name", ["perplexity", "groq", "llamacpp", "ollama"])
def test_other_hosts_are_not_asked_what_they_may_refuse(name: str) -> None:
    assert not {"store", "include"} & set(body(HI, HOSTS[name]))


@pytest.mark.parametrize(
    ("name", "model", "asked"),
    [
        ("openai", "gpt-5", True),
        ("openai", "gpt-5-mini", True),
        ("openai", "gpt-5.2-codex", True),
        ("openai", "gpt-5-codex", True),
        ("openai", "gpt-6-luna", True),
        ("openai", "o4-mini", True),
        ("openai", "gpt-5-chat-latest", False),
        ("openai", "gpt-4.1", False),
        ("xai", "grok-4", True),
        ("openrouter", "openai/gpt-oss-20b", True),
    ],
)
def test_encrypted_thinking_is_asked_of_models_that_have_it(
    name: str, model: str, asked: bool
) -> None:
    include = body(HI, HOSTS[name], model).get("include")
    assert include == (["reasoning.encrypted_content"] if asked else None)


def test_the_history_is_items() -> None:
    turns = (
        Turn("user", "a"),
        Turn("assistant", "b", (ToolUse("c1", "f", {"x": "é"}),)),
        Turn("tool", "42", (), "c1"),
        Turn("assistant", ""),
    )
    chat = ChatRequest("And now?", turns, system="Be brief.")
    assert body(chat)["instructions"] == "Be brief."
    assert body(chat)["input"] == [
        message("user", "a"),
        message("assistant", "b"),
        CALL,
        {"type": "function_call_output", "call_id": "c1", "output": "42"},
        message("assistant", ""),
        message("user", "And now?"),
    ]


@pytest.mark.parametrize("system", [None, ""])
def test_without_a_system_text_there_are_no_instructions(system: str | None) -> None:
    assert "instructions" not in body(ChatRequest("Hi", system=system))


def test_thinking_goes_back_before_the_calls_it_led_to() -> None:
    replay = Replay("openai-responses", (THOUGHT,))
    turn = Turn("assistant", "", (ToolUse("c1", "f", {"x": "é"}),), "", replay)
    assert body(ChatRequest("Go on", (turn,)))["input"][:2] == [THOUGHT, CALL]


def test_thinking_of_another_dialect_is_not_understood_here() -> None:
    replay = Replay("anthropic-messages", ({"type": "thinking"},))
    turn = Turn("assistant", "", (ToolUse("c1", "f", {"x": "é"}),), "", replay)
    assert body(ChatRequest("Go on", (turn,)))["input"][0] == CALL


def test_tools_are_flat_and_not_strict() -> None:
    assert body(ChatRequest("Hi", tools=(TOOL, Tool("g", None, {}))))["tools"] == [
        {
            "type": "function",
            "name": "f",
            "parameters": {"type": "object"},
            "description": "Does f.",
            "strict": False,
        },
        {"type": "function", "name": "g", "parameters": {}, "strict": False},
    ]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("=f", {"type": "function", "name": "f"}),
    ],
)
def test_the_choice_of_tools(choice: str, sent: Any) -> None:
    assert body(ChatRequest("Hi", tools=(TOOL,), tool_choice=choice))["tool_choice"] == sent
    assert "tool_choice" not in body(ChatRequest("Hi", tool_choice=choice))


def test_limits_and_temperature() -> None:
    made = body(ChatRequest("Hi", max_output_tokens=99, temperature=0.0))
    assert (made["max_output_tokens"], made["temperature"]) == (99, 0.0)


def test_an_effort_asks_for_a_summary_too() -> None:
    asked = ChatRequest("Hi", reasoning_effort="low")
    assert body(asked)["reasoning"] == {"effort": "low", "summary": "auto"}
    assert body(ChatRequest("Hi", reasoning_effort="none"))["reasoning"] == {"effort": "none"}
    assert "reasoning" not in body(HI)


def test_refused_parameters_are_left_out() -> None:
    chat = ChatRequest("Hi", temperature=1.0, reasoning_effort="low")
    assert "temperature" not in body(chat, HOSTS["openai"], "gpt-5")
    assert "reasoning" not in body(chat, HOSTS["openai"], "gpt-4.1")
    assert "reasoning" not in body(chat, HOSTS["perplexity"], "sonar")
