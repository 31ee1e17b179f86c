"""A small client of every wire, for tests that hold on all of them: it asks, reads, normalises.

Written against what the providers document and send, not against the simulator's code.
"""

import json
from typing import Any, NamedTuple
from urllib.parse import quote

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}
SYSTEM = "be kind"
QUESTION = "two words"
NAMES = ("openai-chat", "openai-responses", "anthropic-messages", "gemini", "ollama")


class Answer(NamedTuple):
    """What was said; usage: prompt, completion, cache read, cache write, thought, inclusive."""

    text: str
    thinking: str
    calls: list[tuple[str, Any]]
    finish: str | None
    usage: tuple[Any, ...] | None
    done: bool


def path_of(wire: str, model: str, *, stream: bool = True) -> str:
    if wire == "gemini":
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/v1beta/models/{quote(model, safe='')}:{method}"
    ends = {
        "openai-chat": "/v1/chat/completions",
        "openai-responses": "/v1/responses",
        "anthropic-messages": "/v1/messages",
        "ollama": "/api/chat",
    }
    return ends[wire]


def body_of(wire: str, model: str, *, stream: bool = True, tools: bool = False) -> dict[str, Any]:
    named = {"model": model, "stream": stream}
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
    schema = {"name": "weather", "parameters": SCHEMA}
    nested = [{"type": "function", "function": schema}]
    match wire:
        case "openai-chat":
            body = named | {"messages": messages, "stream_options": {"include_usage": True}}
            declared: Any = nested
        case "openai-responses":
            body = named | {"instructions": SYSTEM, "input": messages[1:]}
            declared = [{"type": "function"} | schema]
        case "anthropic-messages":
            body = named | {"system": SYSTEM, "max_tokens": 99, "messages": messages[1:]}
            declared = [{"name": "weather", "input_schema": SCHEMA}]
        case "gemini":
            body = {
                "systemInstruction": {"parts": [{"text": SYSTEM}]},
                "contents": [{"role": "user", "parts": [{"text": QUESTION}]}],
            }
            declared = [{"functionDeclarations": [schema]}]
        case _:
            body = named | {"messages": messages}
            declared = nested
    return body | ({"tools": declared} if tools else {})


def after_tool(wire: str, model: str, result: str) -> dict[str, Any]:
    """Ask again with the result of a call."""
    body = body_of(wire, model, tools=True)
    match wire:
        case "openai-responses":
            called = {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"}
            body["input"] += [
                {
                    "type": "reasoning",
                    "id": "r",
                    "summary": [{"type": "summary_text", "text": "a"}],
                },
                called,
                {"type": "function_call_output", "call_id": "c", "output": result},
            ]
        case "anthropic-messages":
            thinking: Any = {"type": "thinking", "thinking": "a b c", "signature": "s"}
            use: Any = {"type": "tool_use", "id": "c", "name": "weather", "input": {}}
            block = {"type": "tool_result", "tool_use_id": "c", "content": result}
            body["messages"] += [
                {"role": "assistant", "content": [thinking, use]},
                {"role": "user", "content": [block]},
            ]
        case "gemini":
            thought: Any = {"text": "a b c", "thought": True}
            call: Any = {"functionCall": {"name": "weather", "args": {}}}
            told = {"functionResponse": {"name": "weather", "response": {"result": result}}}
            body["contents"] += [
                {"role": "model", "parts": [thought, call]},
                {"role": "user", "parts": [told]},
            ]
        case _:
            body["messages"] += [
                {"role": "assistant", "content": "", "tool_calls": []},
                {"role": "tool", "content": result},
            ]
    return body


def events_of(wire: str, body: bytes) -> list[Any]:
    """Split a stream into its JSON values (and ``[DONE]``); keep-alives are nothing."""
    if wire == "ollama":
        assert body.endswith(b"\n")
        return [json.loads(line) for line in body.splitlines()]
    end = b"\r\n\r\n" if wire == "gemini" else b"\n\n"
    assert body.endswith(end)
    events = []
    for block in body.split(end)[:-1]:
        data = [line[6:] for line in block.split(end[: len(end) // 2]) if line[:6] == b"data: "]
        if data:
            (value,) = data
            events.append("[DONE]" if value == b"[DONE]" else json.loads(value))
    return events


def read_stream(wire: str, body: bytes) -> Answer:
    return _READERS[wire](events_of(wire, body))


class _Reading:
    """What has been read so far."""

    def __init__(self) -> None:
        self.text = self.thinking = ""
        self.names: dict[Any, str] = {}
        self.arguments: dict[Any, str] = {}
        self.finish: str | None = None
        self.usage: tuple[Any, ...] | None = None
        self.done = False

    def answer(self) -> Answer:
        calls = [(self.names[i], json.loads(self.arguments[i] or "{}")) for i in self.names]
        return Answer(self.text, self.thinking, calls, self.finish, self.usage, self.done)


def _chat(events: list[Any]) -> Answer:
    read = _Reading()
    for event in events:
        if event == "[DONE]":
            read.done = True
            break
        for choice in event["choices"]:
            delta = choice["delta"]
            read.text += delta.get("content", "") + delta.get("refusal", "")
            read.thinking += delta.get("reasoning_content", "")
            for call in delta.get("tool_calls", []):
                i = call["index"]
                read.names.setdefault(i, call["function"].get("name", ""))
                read.arguments[i] = read.arguments.get(i, "") + call["function"]["arguments"]
            read.finish = choice["finish_reason"] or read.finish
        if event.get("usage"):
            u = event["usage"]
            cached = u["prompt_tokens_details"]["cached_tokens"]
            thought = u["completion_tokens_details"]["reasoning_tokens"]
            read.usage = (u["prompt_tokens"], u["completion_tokens"], cached, None, thought)
    return read.answer()


def _responses(events: list[Any]) -> Answer:
    read = _Reading()
    refused = False
    for number, event in enumerate(events):
        assert event["sequence_number"] == number
        match event["type"]:
            case "response.output_text.delta":
                read.text += event["delta"]
            case "response.refusal.delta":
                read.text += event["delta"]
                refused = True
            case "response.reasoning_summary_text.delta":
                read.thinking += event["delta"]
            case "response.output_item.added" if event["item"]["type"] == "function_call":
                read.names[event["output_index"]] = event["item"]["name"]
                read.arguments[event["output_index"]] = ""
            case "response.function_call_arguments.delta":
                read.arguments[event["output_index"]] += event["delta"]
            case "response.function_call_arguments.done":
                assert read.arguments[event["output_index"]] == event["arguments"]
            case "response.completed" | "response.incomplete":
                read.done = True
                response = event["response"]
                reason = (response["incomplete_details"] or {}).get("reason")
                reasons: dict[Any, str] = {
                    "max_output_tokens": "length",
                    "content_filter": "content_filter",
                }
                said = "tool_calls" if read.names else "content_filter" if refused else "stop"
                read.finish = reasons.get(reason, said)
                if response["usage"]:
                    u = response["usage"]
                    cached = u["input_tokens_details"]["cached_tokens"]
                    thought = u["output_tokens_details"]["reasoning_tokens"]
                    read.usage = (u["input_tokens"], u["output_tokens"], cached, None, thought)
                break
    return read.answer()


def _anthropic(events: list[Any]) -> Answer:
    read = _Reading()
    usage: dict[str, Any] = {}
    opened: int | None = None
    for event in events:
        match event["type"]:
            case "message_start":
                usage |= event["message"].get("usage", {})
            case "content_block_start":
                assert opened is None
                opened = event["index"]
                if event["content_block"]["type"] == "tool_use":
                    read.names[opened] = event["content_block"]["name"]
                    read.arguments[opened] = ""
            case "content_block_delta":
                assert event["index"] == opened
                delta = event["delta"]
                read.text += delta.get("text", "")
                read.thinking += delta.get("thinking", "")
                if "partial_json" in delta:
                    read.arguments[opened] += delta["partial_json"]
            case "content_block_stop":
                assert event["index"] == opened
                opened = None
            case "message_delta":
                reasons = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}
                reasons["refusal"] = "content_filter"
                read.finish = reasons.get(event["delta"]["stop_reason"], read.finish)
                usage |= event.get("usage", {})
            case "message_stop":
                read.done = True
                break
    if usage:
        cached, written = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
        prompt = usage["input_tokens"] + cached + written
        thought = usage["output_tokens_details"]["thinking_tokens"]
        read.usage = (prompt, usage["output_tokens"], cached, written, thought)
    return read.answer()


def _gemini(events: list[Any]) -> Answer:
    read = _Reading()
    for event in events:
        for candidate in event.get("candidates", []):
            for part in candidate["content"]["parts"]:
                if "functionCall" in part:
                    index = len(read.names)
                    read.names[index] = part["functionCall"]["name"]
                    read.arguments[index] = json.dumps(part["functionCall"]["args"])
                elif part.get("thought"):
                    read.thinking += part["text"]
                else:
                    read.text += part["text"]
            reasons = {"MAX_TOKENS": "length", "SAFETY": "content_filter"}
            reasons["STOP"] = "tool_calls" if read.names else "stop"
            read.finish = reasons.get(candidate.get("finishReason"), read.finish)
        if "usageMetadata" in event:
            u = event["usageMetadata"]
            completion = u["candidatesTokenCount"] + u["thoughtsTokenCount"]
            assert u["totalTokenCount"] == u["promptTokenCount"] + completion
            cached = u["cachedContentTokenCount"]
            read.usage = (u["promptTokenCount"], completion, cached, None, u["thoughtsTokenCount"])
    return read.answer()._replace(done=True)  # the end of the body is all there is


def _ollama(events: list[Any]) -> Answer:
    read = _Reading()
    for event in events:
        message = event["message"]
        read.text += message["content"]
        read.thinking += message.get("thinking", "")
        for call in message.get("tool_calls", []):
            index = len(read.names)
            read.names[index] = call["function"]["name"]
            read.arguments[index] = json.dumps(call["function"]["arguments"])
        if event["done"]:
            read.done = True
            reason = event.get("done_reason")
            read.finish = "tool_calls" if reason == "stop" and read.names else reason
            if "eval_count" in event:
                read.usage = (event["prompt_eval_count"], event["eval_count"], None, None, None)
            break
    return read.answer()


_READERS = {
    "openai-chat": _chat,
    "openai-responses": _responses,
    "anthropic-messages": _anthropic,
    "gemini": _gemini,
    "ollama": _ollama,
}
