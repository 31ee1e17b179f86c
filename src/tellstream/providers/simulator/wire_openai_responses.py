"""OpenAI Responses: numbered events, `response.completed` as finish and terminal marker in one.

Invariant: bytes depend on script, turn and pieces only. The last event repeats the whole answer,
in the words of the deltas. What is between the first event and the last: responses_output.py.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from tellstream.providers.simulator.answer import (
    DELTAS,
    Delta,
    Finish,
    Piece,
    Refusal,
    Text,
    Thinking,
    Turn,
)
from tellstream.providers.simulator.failure import Failure, failure
from tellstream.providers.simulator.gathering import whole_answer
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
from tellstream.providers.simulator.responses_output import TEXT_EVENT, Output, event
from tellstream.providers.simulator.script import Script
from tellstream.providers.simulator.wire import CREATED, HUGE_BYTES, NOT_UTF8, SSE, Frame, Tally

_encode: Final = msgspec.json.Encoder().encode

_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


class OpenAIResponsesWire:
    """The wire of ``POST /v1/responses``."""

    name: Final = "openai-responses"
    media_type: Final = SSE
    keep_alive: Final = b": keep-alive\n\n"

    def read(self, raw: bytes, path: str = "") -> Turn:  # noqa: ARG002 - all is in the body
        """Read a request; RequestError says why it cannot be read."""
        body = object_of(raw)
        model = model_of(body)
        said = [Said("system", text_of(body.get("instructions")))]
        if isinstance(body.get("input"), str):
            said.append(Said("user", body["input"]))
        else:
            said += [_said(item) for item in objects_of(body, "input")]
        tools = tools_of(dicts(body.get("tools")), "parameters")
        return turn_of(raw, model, said, tools, stream=body.get("stream") is True)

    def frames(self, script: Script, turn: Turn, pieces: Iterable[Piece]) -> Iterator[Frame]:
        """Write the pieces as the frames of a streamed body."""
        tally = Tally(turn.prompt_tokens, script.cached)
        output = Output(turn, keep=script.fault is not Fault.ENDLESS)
        begun = {"response": _response(script, turn, "in_progress")}
        yield output.event("response.created", begun)
        yield output.event("response.in_progress", begun)
        for piece in pieces:
            if isinstance(piece, DELTAS):
                tally.add(piece)
                yield from output.say(piece)
            elif isinstance(piece, Finish):
                status = "incomplete" if piece.reason in _INCOMPLETE else "completed"
                yield from output.close(status)
                if script.done:
                    response = _ended(script, turn, piece.reason, output.items, tally)
                    yield output.event(f"response.{status}", {"response": response})
            elif isinstance(piece, Failure):
                yield _failed(script, turn, piece, output.number)

    def whole(self, script: Script, turn: Turn, pieces: Iterable[Piece]) -> Frame:
        """Write the pieces as one body, for a request that did not ask for a stream."""
        answer = whole_answer(pieces, turn.prompt_tokens, script.cached)
        output = Output(turn, keep=True)
        words = (Thinking(answer.thinking), Text(answer.text), Refusal(answer.refusal))
        deltas: list[Delta] = [each for each in words if each.text]
        deltas += [each for call in answer.calls for each in call.deltas]
        for delta in deltas:
            list(output.say(delta))
        list(output.close("incomplete" if answer.reason in _INCOMPLETE else "completed"))
        body = _ended(script, turn, answer.reason, output.items, answer.tally)
        return Frame(_encode(body), answer.tally.completion_tokens)

    def fault_frame(self, script: Script, turn: Turn, fault: Fault) -> Frame:
        """Write the frame that this fault (one of EXTRA_FRAMES) adds."""
        kind = f"{TEXT_EVENT}.delta"
        index = int(bool(script.think))
        place = {"item_id": f"msg_{turn.digest}{index}", "output_index": index, "content_index": 0}
        whole = event(kind, script.at, place | {"delta": ""})
        head, _, tail = whole.partition(b'""')
        if fault is Fault.GARBLE:
            return Frame(head + b'"gar\n\n')
        if fault is Fault.BADUTF8:
            return Frame(head + NOT_UTF8 + tail)
        if fault is Fault.HUGEEVENT:
            return Frame(head + b'"' + b"x" * HUGE_BYTES + b'"' + tail)
        return _failed(script, turn, failure(code=script.code), script.at)

    def failure(self, failure: Failure) -> bytes:
        """Write the body of an HTTP error."""
        return _encode({"error": error_object(failure)})


def _failed(script: Script, turn: Turn, failure: Failure, number: int) -> Frame:
    """Write the error as OpenAI does: an event of its own, then the failed response."""
    error = {"code": failure.code, "message": failure.message}
    response = _response(script, turn, "failed") | {"error": error}
    data = event("error", number, {"error": error_object(failure)})
    return Frame(data + event("response.failed", number + 1, {"response": response}))


def _response(script: Script, turn: Turn, status: str) -> dict[str, Any]:
    return {
        "id": f"resp_{turn.digest}",
        "object": "response",
        "created_at": CREATED + script.seed,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": turn.model,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": None,
        "metadata": {},
    }


def _ended(
    script: Script, turn: Turn, reason: str, items: list[dict[str, Any]], tally: Tally
) -> dict[str, Any]:
    """Write the response at its end; counts include what the cache gave, and the thinking."""
    cut = _INCOMPLETE.get(reason)
    usage = {
        "input_tokens": tally.prompt_tokens,
        "input_tokens_details": {"cached_tokens": tally.cached_tokens},
        "output_tokens": tally.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": tally.thinking_tokens},
        "total_tokens": tally.prompt_tokens + tally.completion_tokens,
    }
    return _response(script, turn, "incomplete" if cut else "completed") | {
        "incomplete_details": {"reason": cut} if cut else None,
        "output": items,
        "usage": None if script.usage == "none" else usage,
    }


def _said(item: dict[str, Any]) -> Said:
    if item.get("type") == "function_call_output":
        return Said("tool", text_of(item.get("output")))
    return Said(str(item.get("role")), text_of(item.get("content")))
