"""What all dialects do alike: ask for JSON, and let a conversation end with a call's result."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tellstream.core.chat import ChatRequest, ResponseFormat, ToolUse, Turn
from tellstream.providers import (
    anthropic_messages_request,
    gemini_request,
    ollama_request,
    openai_chat_request,
    openai_responses_request,
)
from tellstream.providers.hosts import GENERIC, Host

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
Build = Callable[[Host, str, ChatRequest], dict[str, Any]]
BUILDERS: dict[str, Build] = {
    "openai-chat": openai_chat_request.build_body,
    "openai-responses": openai_responses_request.build_body,
    "anthropic-messages": anthropic_messages_request.build_body,
    "gemini": gemini_request.build_body,
    "ollama": ollama_request.build_body,
}
BY_SCHEMA: dict[str, dict[str, Any]] = {
    "openai-chat": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "s", "schema": SCHEMA, "strict": True},
        }
    },
    "openai-responses": {
        "text": {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA, "strict": True}}
    },
    "anthropic-messages": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    "gemini": {
        "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    },
    "ollama": {"format": SCHEMA},
}
ANY: dict[str, dict[str, Any]] = {
    "openai-chat": {"response_format": {"type": "json_object"}},
    "openai-responses": {"text": {"format": {"type": "json_object"}}},
    "gemini": {"generationConfig": {"responseMimeType": "application/json"}},
    "ollama": {"format": "json"},
}


def added(dialect: str, wanted: ResponseFormat) -> dict[str, Any]:
    """What a body holds because of the format."""
    build = BUILDERS[dialect]
    plain = build(GENERIC, "m", ChatRequest("Hi"))
    made = build(GENERIC, "m", ChatRequest("Hi", response_format=wanted))
    assert json.loads(json.dumps(made)) == made
    assert {k: v for k, v in made.items() if k in plain} == plain
    return {k: v for k, v in made.items() if k not in plain}


@pytest.mark.parametrize("dialect", BUILDERS)
def test_a_schema_is_asked_for_in_the_words_of_the_wire(dialect: str) -> None:
    assert added(dialect, ResponseFormat("s", SCHEMA, strict=True)) == BY_SCHEMA[dialect]


@pytest.mark.parametrize("dialect", ANY)
def test_any_object_is_asked_for_where_that_exists(dialect: str) -> None:
    assert added(dialect, ResponseFormat()) == ANY[dialect]


def test_a_schema_and_an_effort_can_be_asked_for_together() -> None:
    chat = ChatRequest("Hi", reasoning_effort="low", response_format=ResponseFormat("s", SCHEMA))
    made = anthropic_messages_request.build_body(GENERIC, "claude-sonnet-5", chat)
    form = {"type": "json_schema", "schema": SCHEMA}
    assert made["output_config"] == {"effort": "low", "format": form}


@pytest.mark.parametrize("dialect", BUILDERS)
def test_nothing_follows_the_result_of_a_call_if_nothing_was_asked(dialect: str) -> None:
    call = ToolUse("c1", "f", {})
    history = (
        Turn("user", "Hi"),
        Turn("assistant", "", (call,)),
        Turn("tool", "21", tool_id="c1"),
    )
    build = BUILDERS[dialect]
    made = build(GENERIC, "m", ChatRequest("", history=history))
    asked = build(GENERIC, "m", ChatRequest("And?", history=history))
    said = next(made[name] for name in ("messages", "input", "contents") if name in made)
    more = next(asked[name] for name in ("messages", "input", "contents") if name in asked)
    assert "21" in json.dumps(said[-1])
    assert said != more
