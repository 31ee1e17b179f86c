"""What ``DefaultChatTransport`` posts becomes a neutral request."""

import json
from typing import Any

import pytest

from tellstream.core.chat import Tool, ToolUse, Turn
from tellstream.core.errors import RequestError
from tellstream.protocols.conversation import Limits
from tellstream.protocols.ui_message_request import Asked, parse

LIMITS = Limits(prompt_chars=20, history_messages=8)


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def message(role: str, *parts: Any, name: str = "m") -> dict[str, Any]:
    return {"id": name, "role": role, "parts": list(parts)}


def asked(*messages: Any, **more: Any) -> Asked:
    body = {"id": "chat", "messages": messages, "trigger": "submit-message", **more}
    return parse(json.dumps(body).encode(), LIMITS)


def test_texts_and_instructions() -> None:
    wanted = asked(
        message("system", text("Be kind.")),
        message("user", text("Hi."), text("You?")),
        message("assistant", {"type": "reasoning", "text": "Hm."}, text("Yes.")),
        message("user", text("Why?")),
        model="m",
        temperature=0.5,
        something={"unknown": 1},
    )
    assert wanted.chat.system == "Be kind."
    assert wanted.chat.history == (Turn("user", "Hi.\nYou?"), Turn("assistant", "Yes."))
    assert (wanted.chat.prompt, wanted.chat.model, wanted.chat.temperature) == ("Why?", "m", 0.5)
    assert (wanted.chat_id, wanted.message_id) == ("chat", None)


def test_the_steps_of_an_answer_are_turns_with_their_results() -> None:
    wanted = asked(
        message("user", text("Weather?")),
        message(
            "assistant",
            {"type": "step-start"},
            text("Let me see."),
            {"type": "tool-weather", "toolCallId": "c1", "state": "output-available",
             "input": {"city": "Rome"}, "output": {"degrees": 21}},
            {"type": "dynamic-tool", "toolName": "time", "toolCallId": "c2",
             "state": "output-error", "input": {}, "errorText": "no clock"},
            {"type": "tool-never", "toolCallId": "c3", "state": "input-available", "input": {}},
            {"type": "source-url", "sourceId": "s", "url": "https://x.y"},
            {"type": "data-x", "data": 1},
            name="answer",
        ),
        tools=[{"type": "function", "function": {"name": "weather"}}],
    )  # fmt: skip
    assert wanted.chat.prompt == ""
    assert wanted.chat.history[1:] == (
        Turn(
            "assistant",
            "Let me see.",
            (ToolUse("c1", "weather", {"city": "Rome"}), ToolUse("c2", "time", {})),
        ),
        Turn("tool", '{"degrees":21}', tool_id="c1"),
        Turn("tool", "no clock", tool_id="c2"),
    )
    assert wanted.chat.tools == (Tool("weather", None, {}),)
    assert wanted.message_id == "answer", "the answer goes on in the same message"


def test_a_text_after_calls_is_the_next_step() -> None:
    called = {"type": "tool-f", "toolCallId": "c", "state": "output-available", "output": "1"}
    wanted = asked(
        message("user", text("Hi.")),
        message("assistant", called, text("One.")),
        message("user", text("Hi.")),
    )
    assert [turn.role for turn in wanted.chat.history] == ["user", "assistant", "tool", "assistant"]


@pytest.mark.parametrize(
    ("messages", "more"),
    [
        ([], {}),
        ([message("user", {"type": "file", "url": "data:,x", "mediaType": "image/png"})], {}),
        ([message("user", text("x" * 21))], {}),
        ([message("user", text("\0"))], {}),
        ([message("user", text(" "))], {}),
        ([message("tool", text("x"))], {}),
        ([message("user", {"type": "text", "text": 1})], {}),
        ([message("user", text("x")), message("assistant", {
            "type": "tool-f", "state": "output-available"}), message("user", text("x"))], {}),
        ([message("user", text("x"))] * 10, {}),
        ([message("user", text("x"))], {"id": "a/b"}),
        ([message("user", text("x"))], {"id": ""}),
        ([message("user", text("x"))], {"trigger": "resume"}),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused(messages: list[Any], more: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        asked(*messages, **more)
    assert caught.value.code == "validation_error"
