"""A ``RunAgentInput`` becomes a neutral request."""

import json
from typing import Any

import pytest

from tellstream.core.chat import Tool, ToolUse, Turn
from tellstream.core.errors import RequestError
from tellstream.protocols.ag_ui_request import Asked, parse
from tellstream.protocols.conversation import Limits

LIMITS = Limits(prompt_chars=20, history_messages=8, system="Be brief.")
HELLO = {"id": "1", "role": "user", "content": "Hello?"}


def asked(*messages: Any, **more: Any) -> Asked:
    body = {"threadId": "t", "runId": "r", "messages": messages or [HELLO], **more}
    return parse(json.dumps(body).encode(), LIMITS)


def test_messages_context_tools_and_settings() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    wanted = asked(
        {"id": "0", "role": "system", "content": "Be kind."},
        HELLO,
        {"id": "2", "role": "reasoning", "content": "Hm."},
        {"id": "3", "role": "activity", "activityType": "x", "content": {"any": 1}},
        {"id": "4", "role": "assistant", "toolCalls": [call]},
        {"id": "5", "role": "tool", "toolCallId": "c", "content": "2"},
        {"id": "6", "role": "user", "content": [{"type": "text", "text": "And?"}]},
        tools=[{"name": "f", "description": "d", "parameters": {"type": "object"}}],
        context=[{"description": "Page", "value": "/home"}],
        state={"x": 1},
        forwardedProps={"model": "m", "temperature": 1, "unknown": True},
        parentRunId="p",
    )
    assert wanted[1:] == ("t", "r", "p")
    assert wanted.chat.system == "Be brief.\n\nBe kind.\n\nPage: /home"
    assert wanted.chat.history == (
        Turn("user", "Hello?"),
        Turn("assistant", "", (ToolUse("c", "f", {"a": 1}),)),
        Turn("tool", "2", tool_id="c"),
    )
    assert (wanted.chat.prompt, wanted.chat.model, wanted.chat.temperature) == ("And?", "m", 1.0)
    assert wanted.chat.tools == (Tool("f", "d", {"type": "object"}),)


@pytest.mark.parametrize(
    ("messages", "more"),
    [
        ([{**HELLO, "content": "x" * 21}], {}),
        ([{**HELLO, "content": [{"type": "image", "source": {}}]}], {}),
        ([{**HELLO, "role": "stranger"}], {}),
        ([{"id": "1", "role": "tool", "content": "x"}, HELLO], {}),
        ([{"id": "1", "role": "reasoning", "content": "x"}], {}),
        ([HELLO] * 10, {}),
        ([], {"threadId": ""}),
        ([], {"resume": [{"interruptId": "i", "status": "resolved"}]}),
        ([], {"forwardedProps": {"temperature": 9}}),
    ],
)
def test_what_cannot_be_understood_is_refused(messages: list[Any], more: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        asked(*messages, **more)
    assert caught.value.code == "validation_error"
