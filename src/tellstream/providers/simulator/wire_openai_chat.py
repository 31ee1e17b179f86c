"""OpenAI Chat Completions: chunks as SSE events, `[DONE]` as terminal marker.

Invariant: bytes depend on script, turn and pieces only. Thinking travels as ``reasoning_content``,
which OpenAI does not have but most compatible hosts do. A chunk is a fixed head, a delta and a
fixed tail, joined as bytes: a delta costs one string encoding.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any, Final

import msgspec

from tellstream.providers.simulator.answer import (
    DELTAS,
    Close,
    Delta,
    Finish,
    Piece,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolArguments,
    ToolStart,
    Turn,
)
from tellstream.providers.simulator.failure import Failure, failure
from tellstream.providers.simulator.keys import Fault
from tellstream.providers.simulator.script import Script
from tellstream.providers.simulator.wire import Frame, RequestError, Tally

CREATED: Final = 1_767_225_600  # 2026-01-01: fixed, so that equal requests get equal bytes
HUGE_BYTES: Final = 2 << 20  # larger than any reader should buffer for one event
_DONE: Final = b"data: [DONE]\n\n"
_NOT_UTF8: Final = b'{"content":" \xff\xfe\x80"}'

_encode: Final = msgspec.json.Encoder().encode

# Where the status alone does not say it.
_TYPES: Final = {
    "rate_limit_exceeded": "requests",
    "insufficient_quota": "insufficient_quota",
}


class OpenAIChatWire:
    """The wire of ``POST /v1/chat/completions``."""

    media_type: Final = "text/event-stream; charset=utf-8"
    keep_alive: Final = b": keep-alive\n\n"

    def read(self, raw: bytes) -> Turn:
        """Read a request body; RequestError says why it cannot be read."""
        try:
            body = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            raise RequestError("The body is not valid JSON.") from None
        if not isinstance(body, dict) or not isinstance(body.get("model"), str):
            raise RequestError("You must provide a model parameter.")
        messages = body.get("messages")
        if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
            raise RequestError("'messages' must be an array of objects.")
        texts = [(each.get("role"), _text_of(each.get("content"))) for each in messages]
        options = body.get("stream_options")
        return Turn(
            model=body["model"],
            digest=blake2b(raw, digest_size=12).hexdigest(),
            stream=body.get("stream") is True,
            prompt_tokens=max(1, sum(len(text.split()) for _, text in texts)),
            question=next((text for role, text in reversed(texts) if role == "user"), ""),
            tools=tuple(_tools_of(body.get("tools"))),
            result=texts[-1][1] if texts and texts[-1][0] == "tool" else None,
            wants_usage=isinstance(options, dict) and options.get("include_usage") is True,
        )

    def frames(self, script: Script, turn: Turn, pieces: Iterable[Piece]) -> Iterator[Frame]:
        """Write the pieces as the frames of a streamed body."""
        chunk = _Chunk(script, turn)
        tally = Tally(turn.prompt_tokens)
        yield Frame(chunk.delta(b'{"role":"assistant","content":""}'))
        for piece in pieces:
            if isinstance(piece, DELTAS):
                tally.add(piece)
                yield Frame(chunk.delta(_delta(piece)), 1)
            elif isinstance(piece, Finish):
                if piece.reason != "none":
                    usage = _usage(tally) if script.usage == "finish" else None
                    yield Frame(chunk.finish(piece.reason, usage))
            elif isinstance(piece, Close):
                if script.usage == "end" or (script.usage == "asked" and turn.wants_usage):
                    yield Frame(chunk.usage(_usage(tally)))
                if script.done:
                    yield Frame(_DONE)
            else:
                yield Frame(b"data: " + self.failure(piece) + b"\n\n")

    def whole(self, script: Script, turn: Turn, pieces: Iterable[Piece]) -> Frame:
        """Write the pieces as one body, for a request that did not ask for a stream."""
        tally = Tally(turn.prompt_tokens)
        message = _Message()
        reason = None
        for piece in pieces:
            if isinstance(piece, DELTAS):
                tally.add(piece)
                message.add(piece)
            elif isinstance(piece, Finish) and piece.reason != "none":
                reason = piece.reason
        choice = {"index": 0, "message": message.fields(), "logprobs": None}
        body = _identity(script, turn, "chat.completion") | {
            "choices": [choice | {"finish_reason": reason}]
        }
        if script.usage != "none":
            body["usage"] = _usage(tally)
        return Frame(_encode(body), tally.completion_tokens)

    def fault_frame(self, script: Script, turn: Turn, fault: Fault) -> Frame:
        """Write the frame that this fault (one of EXTRA_FRAMES) adds."""
        chunk = _Chunk(script, turn)
        if fault is Fault.GARBLE:
            return Frame(chunk.delta(b'{"content":"gar')[: -len(chunk.tail)] + b"\n\n")
        if fault is Fault.BADUTF8:
            return Frame(chunk.delta(_NOT_UTF8))
        if fault is Fault.HUGEEVENT:
            return Frame(chunk.delta(b'{"content":"' + b"x" * HUGE_BYTES + b'"}'))
        return Frame(b"data: " + self.failure(failure(code=script.code)) + b"\n\n")

    def failure(self, failure: Failure) -> bytes:
        """Write the body of an HTTP error."""
        kind = "server_error" if failure.status >= 500 else "invalid_request_error"  # noqa: PLR2004 - the class of a status
        error = {
            "message": failure.message,
            "type": _TYPES.get(failure.code, kind),
            "param": None,
            "code": failure.code,
        }
        return _encode({"error": error})

    def models(self, names: Iterable[str]) -> bytes:
        """Write the list of models."""
        data = [
            {"id": name, "object": "model", "created": CREATED, "owned_by": "simulator"}
            for name in names
        ]
        return _encode({"object": "list", "data": data})


class _Chunk:
    """The fixed bytes around the deltas of one answer."""

    def __init__(self, script: Script, turn: Turn) -> None:
        head = _encode(_identity(script, turn, "chat.completion.chunk"))[:-1]
        self._opening = b"data: " + head + b',"choices":['
        self._head = self._opening + b'{"index":0,"delta":'
        # OpenAI announces a coming usage chunk by a null in the others.
        self._no_usage = b',"usage":null' if turn.wants_usage else b""
        self.tail = b',"logprobs":null,"finish_reason":null}]' + self._no_usage + b"}\n\n"

    def delta(self, delta: bytes) -> bytes:
        return self._head + delta + self.tail

    def finish(self, reason: str, usage: dict[str, Any] | None) -> bytes:
        choice = b'{},"logprobs":null,"finish_reason":' + _encode(reason) + b"}]"
        rest = self._no_usage if usage is None else b',"usage":' + _encode(usage)
        return self._head + choice + rest + b"}\n\n"

    def usage(self, usage: dict[str, Any]) -> bytes:
        return self._opening + b'],"usage":' + _encode(usage) + b"}\n\n"


class _Message:
    """Gathers deltas into the message of a non-streaming answer."""

    def __init__(self) -> None:
        self._texts: dict[type, list[str]] = {Text: [], Thinking: [], Refusal: []}
        self._calls: list[dict[str, Any]] = []

    def add(self, delta: Delta) -> None:
        if isinstance(delta, ToolStart):
            function = {"name": delta.name, "arguments": ""}
            self._calls.append({"id": delta.id, "type": "function", "function": function})
        elif isinstance(delta, ToolArguments):
            self._calls[delta.index]["function"]["arguments"] += delta.fragment
        else:
            self._texts[type(delta)].append(delta.text)

    def fields(self) -> dict[str, Any]:
        text, thinking, refusal = ("".join(parts) or None for parts in self._texts.values())
        content = text if refusal or self._calls else text or ""
        message = {"role": "assistant", "content": content, "refusal": refusal}
        if thinking:
            message["reasoning_content"] = thinking
        return message | ({"tool_calls": self._calls} if self._calls else {})


def _delta(piece: Delta) -> bytes:
    if isinstance(piece, Text):
        return b'{"content":' + _encode(piece.text) + b"}"
    if isinstance(piece, Thinking):
        return b'{"reasoning_content":' + _encode(piece.text) + b"}"
    if isinstance(piece, Refusal):
        return b'{"refusal":' + _encode(piece.text) + b"}"
    call: dict[str, Any]
    if isinstance(piece, ToolStart):
        function = {"name": piece.name, "arguments": ""}
        call = {"index": piece.index, "id": piece.id, "type": "function", "function": function}
    else:
        call = {"index": piece.index, "function": {"arguments": piece.fragment}}
    return _encode({"tool_calls": [call]})


def _identity(script: Script, turn: Turn, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{turn.digest}",
        "object": kind,
        "created": CREATED + script.seed,
        "model": turn.model,
        "system_fingerprint": "fp_simulator",
    }


def _usage(tally: Tally) -> dict[str, Any]:
    return {
        "prompt_tokens": tally.prompt_tokens,
        "completion_tokens": tally.completion_tokens,
        "total_tokens": tally.prompt_tokens + tally.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": tally.thinking_tokens},
    }


def _text_of(content: Any) -> str:
    """Return the text of a message, whose content is a string or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return " ".join(text for text in texts if isinstance(text, str))


def _tools_of(tools: Any) -> Iterator[Tool]:
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            schema = function.get("parameters")
            yield Tool(function["name"], schema if isinstance(schema, dict) else {})
