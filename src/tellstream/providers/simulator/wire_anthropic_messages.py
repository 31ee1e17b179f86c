"""Anthropic Messages: blocks that follow one another, `message_stop` as terminal marker.

Invariant: bytes depend on script, turn and pieces only. Blocks never overlap, so parallel calls
come one after the other. A refusal is text that ends with the stop reason `refusal`.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from tellstream.providers.simulator.answer import Close, Finish, Piece, Thinking, Turn
from tellstream.providers.simulator.failure import Failure, failure, worded
from tellstream.providers.simulator.gathering import (
    WORDS,
    Call,
    Words,
    whole_answer,
    with_whole_calls,
)
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
from tellstream.providers.simulator.wire import (
    HUGE_BYTES,
    NOT_UTF8,
    SSE,
    Frame,
    Tally,
    reason_to_give,
)

_encode: Final = msgspec.json.Encoder().encode

_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "none": None,
}
_TYPES: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_MESSAGES: Final = {
    "invalid_api_key": "invalid x-api-key",
    "insufficient_balance": "Your credit balance is too low to access this API.",
    "insufficient_quota": "You have reached the spend limit of your organization.",
    "context_length_exceeded": "prompt is too long: 200 tokens > 128 maximum",
    "content_filter": "Output blocked by content filtering policy",
    "server_error": "Internal server error",
    "overloaded": "Overloaded",
}


class AnthropicMessagesWire:
    """The wire of ``POST /v1/messages``."""

    name: Final = "anthropic-messages"
    media_type: Final = SSE
    keep_alive: Final = b'event: ping\ndata: {"type": "ping"}\n\n'

    def read(self, raw: bytes, path: str = "") -> Turn:  # noqa: ARG002 - all is in the body
        """Read a request; RequestError says why it cannot be read."""
        body = object_of(raw)
        model = model_of(body)
        said = [Said("system", text_of(body.get("system")))]
        for message in objects_of(body, "messages"):
            said += _said(message)
        tools = tools_of(dicts(body.get("tools")), "input_schema")
        return turn_of(raw, model, said, tools, stream=body.get("stream") is True)

    def frames(self, script: Script, turn: Turn, pieces: Iterable[Piece]) -> Iterator[Frame]:
        """Write the pieces as the frames of a streamed body."""
        tally = Tally(turn.prompt_tokens, script.cached)
        blocks = _Blocks(turn)
        yield _event("message_start", {"message": _message(script, turn, tally)})
        for piece in with_whole_calls(pieces):
            if isinstance(piece, WORDS):
                tally.add(piece)
                yield from blocks.say(piece)
            elif isinstance(piece, Call):
                tally.add(*piece.deltas)
                yield from blocks.call(piece)
            elif isinstance(piece, Finish):
                yield from blocks.close()
                ending = {"delta": _stop(script, piece.reason)} | _usage(script, tally)
                yield _event("message_delta", ending)
            elif isinstance(piece, Close):
                yield from blocks.close()
                if script.done:
                    yield _event("message_stop", {})
            else:
                yield self._error(piece)

    def whole(self, script: Script, turn: Turn, pieces: Iterable[Piece]) -> Frame:
        """Write the pieces as one body, for a request that did not ask for a stream."""
        answer = whole_answer(pieces, turn.prompt_tokens, script.cached)
        content: list[dict[str, Any]] = []
        if answer.thinking:
            signed = {"thinking": answer.thinking, "signature": _signature(turn)}
            content.append({"type": "thinking"} | signed)
        if answer.text or answer.refusal:
            content.append({"type": "text", "text": answer.text + answer.refusal})
        content += [_tool_use(call, msgspec.Raw(call.arguments.encode())) for call in answer.calls]
        stop = _stop(script, answer.reason)
        body = _message(script, turn, answer.tally) | {"content": content} | stop
        return Frame(_encode(body), answer.tally.completion_tokens)

    def fault_frame(self, script: Script, turn: Turn, fault: Fault) -> Frame:  # noqa: ARG002 - ids are not repeated
        """Write the frame that this fault (one of EXTRA_FRAMES) adds."""
        head = b'event: content_block_delta\ndata: {"type":"content_block_delta",'
        head += b'"index":%d,"delta":{"type":"text_delta","text":' % bool(script.think)
        if fault is Fault.GARBLE:
            return Frame(head + b'"gar\n\n')
        if fault is Fault.BADUTF8:
            return Frame(head + NOT_UTF8 + b"}}\n\n")
        if fault is Fault.HUGEEVENT:
            return Frame(head + b'"' + b"x" * HUGE_BYTES + b'"}}\n\n')
        return self._error(failure(code=script.code))

    def failure(self, failure: Failure) -> bytes:
        """Write the body of an HTTP error."""
        kind = "api_error" if failure.status >= 500 else "invalid_request_error"  # noqa: PLR2004 - the class of a status
        spent = failure.code == "insufficient_quota"
        error = {
            "details": {"error_code": "enforced_spend_limit_reached"} if spent else None,
            "type": _TYPES.get(failure.status, kind),
            "message": worded(failure, _MESSAGES),
        }
        return _encode({"type": "error", "error": error, "request_id": "req_simulator"})

    def _error(self, failure: Failure) -> Frame:
        return Frame(b"event: error\ndata: " + self.failure(failure) + b"\n\n")


class _Blocks:
    """Opens and closes blocks around what is said."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._index = 0
        self._open = ""

    def say(self, piece: Words) -> Iterator[Frame]:
        kind = "thinking" if isinstance(piece, Thinking) else "text"
        if kind != self._open:
            yield from self.close()
            unsigned = {"signature": ""} if kind == "thinking" else {}
            yield self._start({"type": kind, kind: ""} | unsigned)
            self._open = kind
        yield self._delta({"type": f"{kind}_delta", kind: piece.text}, 1)

    def call(self, call: Call) -> Iterator[Frame]:
        yield from self.close()
        yield self._start(_tool_use(call, {}), 1)
        self._open = "tool_use"
        for each in call.fragments:
            yield self._delta({"type": "input_json_delta", "partial_json": each.fragment}, 1)
        yield from self.close()

    def close(self) -> Iterator[Frame]:
        if not self._open:
            return
        if self._open == "thinking":
            yield self._delta({"type": "signature_delta", "signature": _signature(self._turn)})
        yield _event("content_block_stop", {"index": self._index})
        self._index += 1
        self._open = ""

    def _start(self, block: dict[str, Any], tokens: int = 0) -> Frame:
        return _event("content_block_start", {"index": self._index, "content_block": block}, tokens)

    def _delta(self, delta: dict[str, Any], tokens: int = 0) -> Frame:
        return _event("content_block_delta", {"index": self._index, "delta": delta}, tokens)


def _event(kind: str, fields: dict[str, Any], tokens: int = 0) -> Frame:
    data = _encode({"type": kind} | fields)
    return Frame(b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n", tokens)


def _message(script: Script, turn: Turn, tally: Tally) -> dict[str, Any]:
    return {
        "model": turn.model,
        "id": f"msg_{turn.digest}",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    } | _usage(script, tally)


def _stop(script: Script, reason: str) -> dict[str, Any]:
    return {"stop_reason": _REASONS[reason_to_give(script, reason)], "stop_sequence": None}


def _usage(script: Script, tally: Tally) -> dict[str, Any]:
    """Count so far: input without what the caches gave, output with the thinking."""
    if script.usage == "none":
        return {}
    usage = {
        "input_tokens": tally.prompt_tokens - tally.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": tally.cached_tokens,
        "output_tokens": tally.completion_tokens,
        "output_tokens_details": {"thinking_tokens": tally.thinking_tokens},
    }
    return {"usage": usage}


def _tool_use(call: Call, arguments: Any) -> dict[str, Any]:
    name = call.start.id.replace("call_", "toolu_", 1)
    return {"type": "tool_use", "id": name, "name": call.start.name, "input": arguments}


def _signature(turn: Turn) -> str:
    return b64encode(f"signed {turn.digest}".encode()).decode()


def _said(message: dict[str, Any]) -> Iterator[Said]:
    """Yield the tool results of a message, then its text: that is their order in it."""
    content = message.get("content")
    for block in dicts(content):
        if block.get("type") == "tool_result":
            yield Said("tool", text_of(block.get("content")))
    text = text_of(content)
    if text:
        yield Said(str(message.get("role")), text)
