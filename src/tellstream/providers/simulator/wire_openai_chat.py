"""OpenAI Chat Completions: chunks as SSE events, `[DONE]` as terminal marker.

Invariant: bytes depend on script, turn and pieces only. Thinking travels as ``reasoning_content``,
which OpenAI does not have but most compatible hosts do. A chunk is a fixed head, a delta and a
fixed tail, joined as bytes: a delta costs one string encoding.
"""

from collections.abc import Iterable, Iterator
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
    ToolStart,
    Turn,
)
from tellstream.providers.simulator.failure import Failure, failure
from tellstream.providers.simulator.gathering import Whole, whole_answer
from tellstream.providers.simulator.keys import Fault
from tellstream.providers.simulator.openai_error import error_object
from tellstream.providers.simulator.reading import (
    Said,
    dicts,
    model_of,
    object_of,
    objects_of,
    text_of,
    tools_of,
    turn_of,
)
from tellstream.providers.simulator.script import Script
from tellstream.providers.simulator.wire import CREATED, HUGE_BYTES, NOT_UTF8, SSE, Frame, Tally

_DONE: Final = b"data: [DONE]\n\n"

_encode: Final = msgspec.json.Encoder().encode


class OpenAIChatWire:
    """The wire of ``POST /v1/chat/completions``."""

    name: Final = "openai-chat"
    media_type: Final = SSE
    keep_alive: Final = b": keep-alive\n\n"

    def read(self, raw: bytes, path: str = "") -> Turn:  # noqa: ARG002 - all is in the body
        """Read a request; RequestError says why it cannot be read."""
        body = object_of(raw)
        model = model_of(body)
        said = [
            Said(str(each.get("role")), text_of(each.get("content")))
            for each in objects_of(body, "messages")
        ]
        options = body.get("stream_options")
        return turn_of(
            raw,
            model,
            said,
            tools_of((tool.get("function") for tool in dicts(body.get("tools"))), "parameters"),
            stream=body.get("stream") is True,
            wants_usage=isinstance(options, dict) and options.get("include_usage") is True,
        )

    def frames(self, script: Script, turn: Turn, pieces: Iterable[Piece]) -> Iterator[Frame]:
        """Write the pieces as the frames of a streamed body."""
        chunk = _Chunk(script, turn)
        tally = Tally(turn.prompt_tokens, script.cached)
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
        answer = whole_answer(pieces, turn.prompt_tokens, script.cached)
        reason = None if answer.reason == "none" else answer.reason
        choice = {"index": 0, "message": _message(answer), "logprobs": None}
        body = _identity(script, turn, "chat.completion") | {
            "choices": [choice | {"finish_reason": reason}]
        }
        if script.usage != "none":
            body["usage"] = _usage(answer.tally)
        return Frame(_encode(body), answer.tally.completion_tokens)

    def fault_frame(self, script: Script, turn: Turn, fault: Fault) -> Frame:
        """Write the frame that this fault (one of EXTRA_FRAMES) adds."""
        chunk = _Chunk(script, turn)
        if fault is Fault.GARBLE:
            return Frame(chunk.delta(b'{"content":"gar')[: -len(chunk.tail)] + b"\n\n")
        if fault is Fault.BADUTF8:
            return Frame(chunk.delta(b'{"content":' + NOT_UTF8 + b"}"))
        if fault is Fault.HUGEEVENT:
            return Frame(chunk.delta(b'{"content":"' + b"x" * HUGE_BYTES + b'"}'))
        return Frame(b"data: " + self.failure(failure(code=script.code)) + b"\n\n")

    def failure(self, failure: Failure) -> bytes:
        """Write the body of an HTTP error."""
        return _encode({"error": error_object(failure)})

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


def _message(answer: Whole) -> dict[str, Any]:
    calls = [
        {
            "id": call.start.id,
            "type": "function",
            "function": {"name": call.start.name, "arguments": call.arguments},
        }
        for call in answer.calls
    ]
    silent = bool(answer.refusal or calls)  # then no text is null and not empty
    return {
        "role": "assistant",
        "content": (answer.text or None) if silent else answer.text,
        "refusal": answer.refusal or None,
        **({"reasoning_content": answer.thinking} if answer.thinking else {}),
        **({"tool_calls": calls} if calls else {}),
    }


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
        "prompt_tokens_details": {"cached_tokens": tally.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": tally.thinking_tokens},
    }
