"""The body of a Chat Completions request becomes a neutral one, or is refused with the field."""

import json
from typing import Any

import pytest

from tellstream.core.chat import ChatRequest, ResponseFormat, Tool, ToolUse, Turn
from tellstream.core.errors import RequestError
from tellstream.protocols import openai_chat
from tellstream.protocols.conversation import Limits
from tellstream.protocols.openai_chat_request import Asked, parse

LIMITS = Limits(prompt_chars=20, history_messages=3, system="Be brief.")
HELLO = [{"role": "user", "content": "Hello?"}]
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}


def asked(messages: Any = None, **more: Any) -> Asked:
    body = {"model": "m", "messages": HELLO if messages is None else messages, **more}
    return parse(json.dumps(body).encode(), LIMITS)


def said(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def refused(messages: Any = None, **more: Any) -> tuple[int, Any]:
    with pytest.raises(RequestError) as caught:
        asked(messages, **more)
    status, body = openai_chat.error(caught.value)
    return status, body["error"]


def test_the_least_that_can_be_asked() -> None:
    assert asked() == Asked(ChatRequest("Hello?", system="Be brief.", model="m"), False, False)


def test_instructions_follow_those_of_the_tenant_wherever_they_stand() -> None:
    chat = asked(
        [
            {"role": "system", "content": "One."},
            *HELLO,
            {"role": "assistant", "content": "Hi."},
            {"role": "developer", "content": [{"type": "text", "text": "Two."}]},
            {"role": "user", "content": [said("And"), said("now?")]},
        ]
    ).chat
    assert chat.system == "Be brief.\n\nOne.\n\nTwo."
    assert chat.history == (Turn("user", "Hello?"), Turn("assistant", "Hi."))
    assert chat.prompt == "And\nnow?"


def test_a_conversation_can_end_with_the_result_of_a_call() -> None:
    chat = asked(
        [
            *HELLO,
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "21"},
        ]
    ).chat
    assert chat.prompt == ""
    assert chat.turns == chat.history == (
        Turn("user", "Hello?"),
        Turn("assistant", "", (ToolUse("c1", "f", {"a": 1}),)),
        Turn("tool", "21", tool_id="c1"),
    )  # fmt: skip


@pytest.mark.parametrize("arguments", ["", "[1]", "{", "nonsense"])
def test_arguments_that_are_no_object_were_none(arguments: str) -> None:
    call = {**CALL, "function": {"name": "f", "arguments": arguments}}
    chat = asked([*HELLO, {"role": "assistant", "tool_calls": [call]}, *HELLO]).chat
    assert chat.history[1].tool_calls == (ToolUse("c1", "f", {}),)


def test_every_setting_has_its_place() -> None:
    tool = {"type": "function", "function": {"name": "f", "strict": True}}
    wanted = asked(
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=5,
        max_completion_tokens=7,
        temperature=1,
        reasoning_effort="xhigh",
        tools=[tool],
        tool_choice={"type": "function", "function": {"name": "f"}},
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "s", "schema": {"type": "object"}, "strict": True},
        },
        metadata={"k": "v"},
    )
    assert wanted == Asked(
        ChatRequest(
            "Hello?",
            system="Be brief.",
            model="m",
            metadata={"k": "v"},
            max_output_tokens=7,
            temperature=1.0,
            reasoning_effort="high",
            tools=(Tool("f", None, {}),),
            tool_choice="=f",
            response_format=ResponseFormat("s", {"type": "object"}, strict=True),
        ),
        stream=True,
        include_usage=True,
    )
    assert asked(response_format={"type": "json_object"}).chat.response_format == ResponseFormat()
    assert asked(response_format={"type": "text"}).chat.response_format is None


def test_what_asks_for_nothing_and_what_is_unknown_is_dropped() -> None:
    quiet = asked(
        n=1, stop=None, logprobs=False, logit_bias={}, modalities=["text"], top_p=0.5, seed=3,
        frequency_penalty=0.1, user="u", service_tier="auto", parallel_tool_calls=True,
        api_base="https://evil.example", extra={"api_key": "x"}, tools=None, tool_choice=None,
    )  # fmt: skip
    assert quiet == asked()
    assert "evil" not in repr(quiet)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2), ("stop", ["x"]), ("logprobs", True), ("logit_bias", {"1": 2}),
        ("modalities", ["audio"]), ("audio", {"voice": "x"}), ("functions", [{}]),
        ("temperature", 3), ("max_tokens", 0), ("tool_choice", "maybe"), ("tools", [{"type": "x"}]),
        ("tool_choice", {"type": "function", "function": {"name": "unknown"}}),
        ("response_format", {"type": "json_schema"}), ("metadata", {"a": 1}), ("stream", "yes"),
        ("messages", []), ("messages", None), ("messages", [{"role": "system", "content": "x"}]),
        ("messages", [{"role": "user", "content": "x" * 21}]),
        ("messages", [{"role": "user", "content": " "}]),
        ("messages", [{"role": "user", "content": "\0"}]),
        ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]),
        ("messages", [{"role": "tool", "content": "x"}, *HELLO]),
        ("messages", [{"role": "stranger", "content": "x"}]),
        ("messages", [*HELLO * 4, *HELLO]),
    ],
)  # fmt: skip
def test_what_cannot_be_had_is_a_400_that_names_the_field(field: str, value: Any) -> None:
    body = {"model": "m", "messages": HELLO, field: value}
    with pytest.raises(RequestError) as caught:
        parse(json.dumps(body).encode(), LIMITS)
    status, answer = openai_chat.error(caught.value)
    assert status == 400
    assert answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["param"].split(".")[0] == field


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b'{"messages": NaN}', b"[" * 9000])
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        parse(raw, LIMITS)
    assert openai_chat.error(caught.value)[0] == 400


def test_an_evaded_prompt_limit_is_still_a_limit() -> None:
    """The last message of the user counts, also when others follow it."""
    long = [{"role": "user", "content": "x" * 21}, {"role": "assistant", "content": "y"}]
    assert refused(long)[1]["param"] == "messages"


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("invalid_token", 401, "authentication_error"), ("forbidden", 403, "permission_error"),
        ("rate_limit_exceeded", 429, "rate_limit_error"),
        ("quota_exceeded", 429, "insufficient_quota"),
        ("context_length_exceeded", 400, "invalid_request_error"),
        ("provider_unavailable", 503, "server_error"), ("server_error", 500, "server_error"),
    ],
)  # fmt: skip
def test_refusals_have_the_shape_of_the_protocol(code: str, status: int, kind: str) -> None:
    answered, body = openai_chat.error(RequestError(code))
    assert (answered, body["error"]["type"], body["error"]["code"]) == (status, kind, code)
    assert set(body["error"]) == {"message", "type", "param", "code"}
