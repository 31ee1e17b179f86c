"""Ollama's native chat: a JSON object per line, the one with `done: true` is the terminal marker.

Invariant: bytes depend on script, turn and pieces only. Finish and marker are the same line, which
holds the counts too; a call is whole. There is no keep-alive and no way to refuse.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from tellstream.providers.simulator.answer import Close, Finish, Piece, Thinking, Turn
from tellstream.providers.simulator.failure import Failure, failure, worded
from tellstream.providers.simulator.gathering import WORDS, Call, whole_answer, with_whole_calls
from tellstream.providers.simulator.keys import Fault
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
from tellstream.providers.simulator.wire import CREATED, HUGE_BYTES, NOT_UTF8, Frame, Tally

_encode: Final = msgspec.json.Encoder().encode

_REASONS: Final = {"stop": "stop", "length": "length", "tool_calls": "stop"}
_TOKEN_NS: Final = 1_000_000  # the durations it reports are made of it
_SILENT: Final = {"role": "assistant", "content": ""}
_MESSAGES: Final = {
    "invalid_api_key": "unauthorized",
    "model_not_found": "model not found",
    "context_length_exceeded": "the input length exceeds the context length",
    "rate_limit_exceeded": "too many requests",
    "insufficient_quota": "you have reached your usage limit, upgrade for higher limits",
    "server_error": "an error was encountered while running the model",
    "server_is_overloaded": "server busy, please try again. maximum pending requests exceeded",
}


class OllamaWire:
    """The wire of ``POST /api/chat``."""

    name: Final = "ollama"
    media_type: Final = "application/x-ndjson"
    keep_alive: Final = b""

    def read(self, raw: bytes, path: str = "") -> Turn:  # noqa: ARG002 - all is in the body
        """Read a request; RequestError says why it cannot be read."""
        body = object_of(raw)
        model = model_of(body)
        said = [
            Said(str(each.get("role")), text_of(each.get("content")))
            for each in objects_of(body, "messages")
        ]
        declared = [tool.get("function") for tool in dicts(body.get("tools"))]
        tools = tools_of(declared, "parameters")
        return turn_of(raw, model, said, tools, stream=body.get("stream") is not False)

    def frames(self, script: Script, turn: Turn, pieces: Iterable[Piece]) -> Iterator[Frame]:
        """Write the pieces as the frames of a streamed body."""
        tally = Tally(turn.prompt_tokens)
        head = _head(script, turn)
        for piece in with_whole_calls(pieces):
            if isinstance(piece, WORDS):
                tally.add(piece)
                thinking = isinstance(piece, Thinking)
                said = {"thinking" if thinking else "content": piece.text}
                yield _line(head | {"message": _SILENT | said, "done": False}, 1)
            elif isinstance(piece, Call):
                tally.add(*piece.deltas)
                message = _SILENT | {"tool_calls": [_tool_call(piece)]}
                yield _line(head | {"message": message, "done": False}, len(piece.deltas))
            elif isinstance(piece, Finish):
                if script.done:
                    ending = _ending(script, piece.reason, tally)
                    yield _line(head | {"message": _SILENT} | ending)
            elif not isinstance(piece, Close):  # the finish has said that it is over
                yield Frame(self.failure(piece) + b"\n")

    def whole(self, script: Script, turn: Turn, pieces: Iterable[Piece]) -> Frame:
        """Write the pieces as one body, for a request that did not ask for a stream."""
        answer = whole_answer(pieces, turn.prompt_tokens)
        message: dict[str, Any] = _SILENT | {"content": answer.text}
        if answer.thinking:
            message["thinking"] = answer.thinking
        if answer.calls:
            message["tool_calls"] = [_tool_call(call) for call in answer.calls]
        ending = _ending(script, answer.reason, answer.tally)
        body = _head(script, turn) | {"message": message} | ending
        return Frame(_encode(body), answer.tally.completion_tokens)

    def fault_frame(self, script: Script, turn: Turn, fault: Fault) -> Frame:
        """Write the frame that this fault (one of EXTRA_FRAMES) adds."""
        head = _encode(_head(script, turn))[:-1] + b',"message":{"role":"assistant","content":'
        tail = b'},"done":false}\n'
        if fault is Fault.GARBLE:
            return Frame(head + b'"gar\n')
        if fault is Fault.BADUTF8:
            return Frame(head + NOT_UTF8 + tail)
        if fault is Fault.HUGEEVENT:
            return Frame(head + b'"' + b"x" * HUGE_BYTES + b'"' + tail)
        return Frame(self.failure(failure(code=script.code)) + b"\n")

    def failure(self, failure: Failure) -> bytes:
        """Write the body of an HTTP error, which is the line of an error too."""
        return _encode({"error": worded(failure, _MESSAGES)})


def _line(body: dict[str, Any], tokens: int = 0) -> Frame:
    return Frame(_encode(body) + b"\n", tokens)


def _head(script: Script, turn: Turn) -> dict[str, Any]:
    created = datetime.fromtimestamp(CREATED + script.seed, UTC)
    return {"model": turn.model, "created_at": created.strftime("%Y-%m-%dT%H:%M:%SZ")}


def _ending(script: Script, reason: str, tally: Tally) -> dict[str, Any]:
    ending: dict[str, Any] = {"done": True}
    if reason != "none":
        ending["done_reason"] = _REASONS[reason]
    if script.usage == "none":
        return ending
    prompt, completion = tally.prompt_tokens, tally.completion_tokens
    return ending | {
        "total_duration": (prompt + completion) * _TOKEN_NS,
        "load_duration": 0,
        "prompt_eval_count": prompt,
        "prompt_eval_duration": prompt * _TOKEN_NS,
        "eval_count": completion,
        "eval_duration": completion * _TOKEN_NS,
    }


def _tool_call(call: Call) -> dict[str, Any]:
    arguments = msgspec.Raw(call.arguments.encode())
    function = {"index": call.start.index, "name": call.start.name, "arguments": arguments}
    return {"id": call.start.id, "function": function}
