"""The body of a Messages request: a stricter wire than others, and what it cannot have together."""

import itertools
import json
from typing import Any, get_args

import pytest

from tellstream.core.chat import ChatRequest, ReasoningEffort, Replay, Tool, ToolUse, Turn
from tellstream.providers.anthropic_messages_request import MAX_TOKENS, build_body
from tellstream.providers.hosts import GENERIC, HOSTS, Host

HI = ChatRequest("Hi")
TOOL = Tool("f", "Does f.", {"type": "object", "properties": {}})
CALL = ToolUse("call_1", "f", {"x": 1})
SIGNED = {"type": "thinking", "thinking": "hm", "signature": "s"}
OLD, NEW, ALWAYS = "claude-haiku-4-5", "claude-sonnet-5", "claude-fable-5"
EFFORTS = get_args(ReasoningEffort)


def body(chat: ChatRequest, host: Host = GENERIC, model: str = "m") -> dict[str, Any]:
    made = build_body(host, model, chat)
    assert json.loads(json.dumps(made)) == made
    return made


def messages(*history: Turn, prompt: str = "Hi") -> list[tuple[str, list[dict[str, Any]]]]:
    made = body(ChatRequest(prompt, history=history))["messages"]
    assert all(a["role"] != b["role"] for a, b in itertools.pairwise(made))
    return [(message["role"], message["content"]) for message in made]


def said(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def test_the_least_request_is_exactly_this() -> None:
    assert body(HI) == {
        "model": "m",
        "max_tokens": MAX_TOKENS,
        "messages": [{"role": "user", "content": [said("Hi")]}],
        "stream": True,
    }


def test_what_is_asked_is_passed_on() -> None:
    chat = ChatRequest("Hi", system="Be brief.", max_output_tokens=7, temperature=0.5)
    made = body(chat)
    assert (made["system"], made["max_tokens"], made["temperature"]) == ("Be brief.", 7, 0.5)


def test_turns_of_one_role_are_one_message() -> None:
    history = (Turn("user", "a"), Turn("user", "b"), Turn("assistant", "c"), Turn("assistant", "d"))
    assert messages(*history) == [
        ("user", [said("a"), said("b")]),
        ("assistant", [said("c"), said("d")]),
        ("user", [said("Hi")]),
    ]


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_blank_text_is_left_out(blank: str) -> None:
    assert messages(Turn("user", "a"), Turn("assistant", blank)) == [
        ("user", [said("a"), said("Hi")])
    ]


def test_calls_and_results_are_blocks_with_the_results_first() -> None:
    other = ToolUse("call_2", "g", {})
    use = {"type": "tool_use", "id": "call_1", "name": "f", "input": {"x": 1}}
    assert messages(
        Turn("user", "a"),
        Turn("assistant", "b", tool_calls=(CALL, other)),
        Turn("tool", "one", tool_id="call_1"),
        Turn("user", "c"),
        Turn("tool", "", tool_id="call_2"),
    ) == [
        ("user", [said("a")]),
        ("assistant", [said("b"), use, {**use, "id": "call_2", "name": "g", "input": {}}]),
        (
            "user",
            [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "one"},
                {"type": "tool_result", "tool_use_id": "call_2"},
                said("c"),
                said("Hi"),
            ],
        ),
    ]


def test_an_id_of_another_provider_is_written_with_allowed_characters() -> None:
    call = ToolUse("functions.f:0", "f", {})
    made = messages(Turn("assistant", "", (call,)), Turn("tool", "r", tool_id="functions.f:0"))
    assert made[0][1][0]["id"] == made[1][1][0]["tool_use_id"] == "functions_f_0"


def test_thinking_goes_back_in_order_before_text_and_calls() -> None:
    redacted = {"type": "redacted_thinking", "data": "x"}
    replay = Replay("anthropic-messages", (SIGNED, redacted))
    made = messages(Turn("assistant", "a", (CALL,), replay=replay))
    assert [block["type"] for block in made[0][1]] == [
        "thinking",
        "redacted_thinking",
        "text",
        "tool_use",
    ]
    assert made[0][1][:2] == [SIGNED, redacted]


def test_what_another_dialect_wants_back_is_not_sent() -> None:
    turn = Turn("assistant", "a", (CALL,), replay=Replay("gemini", ({"functionCall": {}},)))
    assert [block["type"] for block in messages(turn)[0][1]] == ["text", "tool_use"]


def test_thinking_of_a_turn_without_calls_is_not_sent() -> None:
    turn = Turn("assistant", "a", replay=Replay("anthropic-messages", (SIGNED,)))
    assert messages(turn)[0][1] == [said("a")]


# --- tools ---------------------------------------------------------------------------------------


def test_tools_have_an_input_schema_that_is_an_object() -> None:
    tools = (TOOL, Tool("g", None, {}))
    assert body(ChatRequest("Hi", tools=tools))["tools"] == [
        {
            "name": "f",
            "description": "Does f.",
            "input_schema": {"type": "object", "properties": {}},
        },
        {"name": "g", "input_schema": {"type": "object"}},
    ]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        (None, None),
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ("=f", {"type": "tool", "name": "f"}),
        ("=required", {"type": "tool", "name": "required"}),
    ],
)
def test_the_choice_of_a_tool(choice: str | None, sent: Any) -> None:
    assert body(ChatRequest("Hi", tools=(TOOL,), tool_choice=choice)).get("tool_choice") == sent


def test_without_tools_there_is_nothing_to_choose() -> None:
    assert "tool_choice" not in body(ChatRequest("Hi", tool_choice="required"))


# --- thinking ------------------------------------------------------------------------------------


def asked(model: str, effort: Any, **more: Any) -> dict[str, Any]:
    """What concerns thinking in a request."""
    made = body(ChatRequest("Hi", reasoning_effort=effort, **more), HOSTS["anthropic"], model)
    return {
        name: made[name]
        for name in ("thinking", "output_config", "max_tokens", "temperature")
        if name in made
    }


@pytest.mark.parametrize(
    ("effort", "budget"), [("minimal", 1024), ("low", 2048), ("medium", 8192), ("high", 16384)]
)
def test_older_models_are_given_a_budget_on_top_of_the_answer(effort: str, budget: int) -> None:
    assert asked(OLD, effort, temperature=0.5) == {
        "thinking": {"type": "enabled", "budget_tokens": budget},
        "max_tokens": MAX_TOKENS + budget,
    }


@pytest.mark.parametrize("effort", [None, "none"])
def test_older_models_do_not_think_unless_asked(effort: Any) -> None:
    assert asked(OLD, effort, temperature=0.5) == {"max_tokens": MAX_TOKENS, "temperature": 0.5}


@pytest.mark.parametrize(
    ("limit", "budget"), [(1025, 1024), (2000, 1024), (10_000, 5000), (100_000, 16384)]
)
def test_the_budget_leaves_room_within_a_given_limit(limit: int, budget: int) -> None:
    assert asked(OLD, "high", max_output_tokens=limit) == {
        "thinking": {"type": "enabled", "budget_tokens": budget},
        "max_tokens": limit,
    }


def test_a_limit_below_the_least_budget_excludes_thinking() -> None:
    assert asked(OLD, "high", max_output_tokens=1024) == {"max_tokens": 1024}


@pytest.mark.parametrize(
    ("effort", "sent"),
    [("minimal", "low"), ("low", "low"), ("medium", "medium"), ("high", "high")],
)
def test_newer_models_are_given_an_effort(effort: str, sent: str) -> None:
    made = asked(NEW, effort, temperature=0.5)
    assert made.pop("max_tokens") > MAX_TOKENS
    assert made == {
        "thinking": {"type": "adaptive", "display": "summarized"},
        "output_config": {"effort": sent},
    }


def test_newer_models_may_think_unasked_and_have_room_for_it() -> None:
    assert asked(NEW, None)["max_tokens"] > MAX_TOKENS
    assert asked(NEW, None, max_output_tokens=50) == {"max_tokens": 50}


def test_newer_models_can_be_told_not_to_think_except_for_some() -> None:
    assert asked(NEW, "none") == {"thinking": {"type": "disabled"}, "max_tokens": MAX_TOKENS}
    made = asked(ALWAYS, "none")
    assert made.pop("max_tokens") > MAX_TOKENS
    assert made == {"output_config": {"effort": "low"}}


@pytest.mark.parametrize("effort", EFFORTS)
def test_models_that_do_not_think_are_not_asked_to(effort: str) -> None:
    assert asked("claude-3-5-haiku-20241022", effort) == {"max_tokens": MAX_TOKENS}


@pytest.mark.parametrize(
    "model",
    [
        *("claude-3-7-sonnet-20250219", "claude-sonnet-4-20250514", "claude-opus-4-1-20250805"),
        *("claude-sonnet-4-5", "anthropic/claude-sonnet-4.5", "claude-opus-4@20250514"),
        *("claude-opus-4-5", "claude-haiku-4-5-20251001", "deepseek-v4", "kimi-k3"),
    ],
)
def test_models_with_a_budget(model: str) -> None:
    assert body(ChatRequest("Hi", reasoning_effort="low"), model=model)["thinking"] == {
        "type": "enabled",
        "budget_tokens": 2048,
    }


@pytest.mark.parametrize(
    "model",
    [
        *("claude-opus-4-6", "claude-sonnet-4-6", "anthropic/claude-opus-4.7", "claude-opus-4-8"),
        *("claude-sonnet-5", "claude-opus-5", "claude-fable-5-1", "claude-sonnet-9"),
    ],
)
def test_models_with_an_effort(model: str) -> None:
    made = body(ChatRequest("Hi", reasoning_effort="low"), model=model)
    assert made["output_config"] == {"effort": "low"}


@pytest.mark.parametrize("choice", ["required", "=f"])
def test_a_forced_tool_excludes_thinking(choice: str) -> None:
    more: dict[str, Any] = {"tools": (TOOL,), "tool_choice": choice}
    assert "thinking" not in asked(OLD, "high", **more)
    assert asked(NEW, "high", **more)["thinking"] == {"type": "disabled"}
    assert "thinking" in asked(OLD, "high", tools=(TOOL,), tool_choice="auto")


def test_results_of_calls_made_without_thinking_exclude_a_budget() -> None:
    results = (Turn("assistant", "", (CALL,)), Turn("tool", "r", tool_id="call_1"))
    assert "thinking" not in asked(OLD, "high", history=results)
    assert asked(NEW, "high", history=results)["thinking"]["type"] == "adaptive"
    replay = Replay("anthropic-messages", (SIGNED,))
    thought = (Turn("assistant", "", (CALL,), replay=replay), results[1])
    assert "thinking" in asked(OLD, "high", history=thought)
    over = (*results, Turn("assistant", "done"))
    assert "thinking" in asked(OLD, "high", history=over)


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        *((NEW, False), (ALWAYS, False), ("claude-opus-4-7", False), ("claude-opus-5", False)),
        *((OLD, True), ("claude-opus-4-6", True), ("claude-3-5-haiku-20241022", True)),
    ],
)
def test_a_temperature_only_for_models_that_take_one(model: str, kept: bool) -> None:
    assert ("temperature" in asked(model, None, temperature=0.5)) is kept
