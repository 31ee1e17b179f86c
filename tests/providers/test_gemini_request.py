"""The body of a generateContent request: what is asked, and what must go back on which part."""

import json
from typing import Any

import pytest

from tellstream.core.chat import ChatRequest, Replay, Tool, ToolUse, Turn
from tellstream.providers.gemini_request import build_body
from tellstream.providers.hosts import GENERIC, HOSTS, Host

TOOL = Tool("f", "Does f.", {"type": "object", "properties": {}})
CALL = ToolUse("call_1", "f", {"x": 1})
OTHER = ToolUse("call_2", "g", {})
UNKNOWN = "skip_thought_signature_validator"


def body(chat: ChatRequest, host: Host = GENERIC, model: str = "m") -> dict[str, Any]:
    made = build_body(host, model, chat)
    assert json.loads(json.dumps(made)) == made
    return made


def contents(*history: Turn, model: str = "m") -> list[tuple[str, list[dict[str, Any]]]]:
    made = body(ChatRequest("Hi", history=history), model=model)["contents"]
    return [(content["role"], content["parts"]) for content in made]


def signed(name: str = "f", signature: str = "s", **args: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": args}, "thoughtSignature": signature}


def test_the_least_request_is_exactly_this() -> None:
    assert body(ChatRequest("Hi")) == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


def test_what_is_asked_is_passed_on() -> None:
    made = body(ChatRequest("Hi", system="Be brief.", max_output_tokens=7, temperature=0.5))
    assert made["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert made["generationConfig"] == {"maxOutputTokens": 7, "temperature": 0.5}


def test_history_is_contents_of_two_roles_without_empty_ones() -> None:
    assert contents(Turn("user", "a"), Turn("assistant", "b"), Turn("assistant", "")) == [
        ("user", [{"text": "a"}]),
        ("model", [{"text": "b"}]),
        ("user", [{"text": "Hi"}]),
    ]


def test_results_name_the_function_of_their_call_and_stand_together() -> None:
    assert contents(
        Turn("assistant", "b", (CALL, OTHER)),
        Turn("tool", '{"y":2}', tool_id="call_1"),
        Turn("tool", "text", tool_id="call_2"),
        Turn("assistant", "", (CALL,)),
        Turn("tool", "[1]", tool_id="call_1"),
    ) == [
        (
            "model",
            [
                {"text": "b"},
                {"functionCall": {"name": "f", "args": {"x": 1}}},
                {"functionCall": {"name": "g", "args": {}}},
            ],
        ),
        (
            "user",
            [
                {"functionResponse": {"name": "f", "response": {"y": 2}}},
                {"functionResponse": {"name": "g", "response": {"output": "text"}}},
            ],
        ),
        ("model", [{"functionCall": {"name": "f", "args": {"x": 1}}}]),
        ("user", [{"functionResponse": {"name": "f", "response": {"output": [1]}}}]),
        ("user", [{"text": "Hi"}]),
    ]


def test_a_result_without_its_call_is_sent_under_its_id() -> None:
    (_, parts), _ = contents(Turn("tool", "r", tool_id="lost"))
    assert parts == [{"functionResponse": {"name": "lost", "response": {"output": "r"}}}]


# --- what goes back ------------------------------------------------------------------------------


def test_a_signature_goes_back_on_the_part_of_its_call() -> None:
    calls = (CALL, ToolUse("call_2", "f", {"x": 2}), OTHER)
    replay = Replay("gemini", (signed("g", "sg"), signed("f", "s2", x=2)))
    _, parts = contents(Turn("assistant", "", calls, replay=replay))[0]
    assert [part.get("thoughtSignature") for part in parts] == [None, "s2", "sg"]
    assert all("id" not in part["functionCall"] for part in parts)


def test_each_of_two_equal_calls_gets_its_own_signature() -> None:
    calls = (CALL, ToolUse("call_2", "f", {"x": 1}))
    replay = Replay("gemini", (signed("f", "s1", x=1), signed("f", "s2", x=1)))
    _, parts = contents(Turn("assistant", "", calls, replay=replay))[0]
    assert [part["thoughtSignature"] for part in parts] == ["s1", "s2"]


def test_a_call_whose_arguments_were_changed_is_still_found_by_its_name() -> None:
    replay = Replay("gemini", (signed("f", "s", x=9),))
    _, parts = contents(Turn("assistant", "", (CALL,), replay=replay))[0]
    assert parts == [{"functionCall": {"name": "f", "args": {"x": 1}}, "thoughtSignature": "s"}]


def test_an_id_that_the_provider_made_goes_back_with_call_and_result() -> None:
    item = {"functionCall": {"name": "f", "args": {"x": 1}, "id": "c1"}}
    turn = Turn("assistant", "", (CALL,), replay=Replay("gemini", (item,)))
    made = contents(turn, Turn("tool", "r", tool_id="call_1"))
    assert made[0][1] == [item]
    assert made[1][1][0]["functionResponse"]["id"] == "c1"


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("gemini-3-pro-preview", UNKNOWN),
        ("gemini-flash-latest", UNKNOWN),
        ("gemini-2.5-flash", None),
        ("gemini-2.0-flash", None),
        ("gemma-3", None),
    ],
)
def test_a_call_of_another_model_is_marked_where_a_signature_is_required(
    model: str, sent: str | None
) -> None:
    other = Replay("anthropic-messages", ({"type": "thinking"},))
    _, parts = contents(Turn("assistant", "a", (CALL, OTHER), replay=other), model=model)[0]
    assert [part.get("thoughtSignature") for part in parts] == [None, sent, None]


def test_items_that_are_odd_are_passed_over() -> None:
    replay = Replay("gemini", ({}, {"functionCall": 7}, {"functionCall": {"name": "f"}}))
    _, parts = contents(Turn("assistant", "", (CALL,), replay=replay))[0]
    assert parts == [{"functionCall": {"name": "f", "args": {"x": 1}}}]


# --- tools and thinking --------------------------------------------------------------------------


def test_tools_are_declared_with_their_schema() -> None:
    assert body(ChatRequest("Hi", tools=(TOOL, Tool("g", None, {}))))["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "f",
                    "description": "Does f.",
                    "parametersJsonSchema": {"type": "object", "properties": {}},
                },
                {"name": "g"},
            ]
        }
    ]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ("=f", {"mode": "ANY", "allowedFunctionNames": ["f"]}),
    ],
)
def test_the_choice_of_a_tool(choice: str, sent: Any) -> None:
    made = body(ChatRequest("Hi", tools=(TOOL,), tool_choice=choice))
    assert made["toolConfig"] == {"functionCallingConfig": sent}
    assert "toolConfig" not in body(ChatRequest("Hi", tool_choice=choice))
    assert "toolConfig" not in body(ChatRequest("Hi", tools=(TOOL,)))


@pytest.mark.parametrize(
    ("model", "effort", "sent"),
    [
        ("gemini-2.5-flash", "none", {"includeThoughts": False, "thinkingBudget": 0}),
        ("gemini-2.5-flash", "minimal", {"includeThoughts": True, "thinkingBudget": 512}),
        ("gemini-2.5-flash", "low", {"includeThoughts": True, "thinkingBudget": 1024}),
        ("gemini-2.5-pro", "none", {"includeThoughts": False, "thinkingBudget": 128}),
        ("gemini-2.5-pro", "high", {"includeThoughts": True, "thinkingBudget": 24576}),
        ("gemini-3-flash", "none", {"includeThoughts": False, "thinkingLevel": "low"}),
        ("gemini-3-flash", "minimal", {"includeThoughts": True, "thinkingLevel": "low"}),
        ("gemini-3.5-flash", "medium", {"includeThoughts": True, "thinkingLevel": "medium"}),
        ("gemini-3-pro-preview", "medium", {"includeThoughts": True, "thinkingLevel": "high"}),
        ("gemini-flash-latest", "high", {"includeThoughts": True, "thinkingLevel": "high"}),
    ],
)
def test_effort_is_a_budget_or_a_level(model: str, effort: Any, sent: Any) -> None:
    made = body(ChatRequest("Hi", reasoning_effort=effort), HOSTS["gemini"], model)
    assert made["generationConfig"] == {"thinkingConfig": sent}


@pytest.mark.parametrize(
    "model", ["gemini-2.0-flash", "gemini-1.5-pro", "gemini-2.5-flash-image", "gemma-3-27b"]
)
def test_models_that_do_not_think_are_not_asked_to(model: str) -> None:
    made = body(ChatRequest("Hi", reasoning_effort="high"), HOSTS["gemini"], model)
    assert "generationConfig" not in made


def test_parameters_that_a_host_refuses_are_left_out() -> None:
    refused = frozenset({"temperature", "tools", "tool_choice", "reasoning_effort"})
    host = Host(name="h", drop_parameters=(("*", refused),))
    chat = ChatRequest(
        "Hi", temperature=1.0, tools=(TOOL,), tool_choice="auto", reasoning_effort="low"
    )
    assert list(body(chat, host)) == ["contents"]
