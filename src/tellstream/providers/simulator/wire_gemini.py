"""Gemini: partial responses as SSE events with CRLF line ends, and no terminal marker.

Invariant: bytes depend on script, turn and pieces only. The model is named by the path. A call is
whole; the first one, or else the finish of an answer with thinking, carries a signature. A refusal
is text that ends with the reason `SAFETY`. Usage is cumulative: by default every event has it.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from tellstream.providers.simulator.answer import Close, Finish, Piece, Thinking, Turn
from tellstream.providers.simulator.failure import Failure, failure, worded
from tellstream.providers.simulator.gathering import WORDS, Call, whole_answer, with_whole_calls
from tellstream.providers.simulator.keys import Fault
from tellstream.providers.simulator.reading import (
    Said,
    dicts,
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
    Frame,
    RequestError,
    Tally,
    reason_to_give,
)

_encode: Final = msgspec.json.Encoder().encode

_STREAMED: Final = "streamGenerateContent"
_FUNCTIONS: Final = "functionDeclarations"
_THOUGHT: Final = {"thought": True}
_ROLES: Final = {"model": "assistant", "user": "user"}
_REASONS: Final = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
}
_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    529: "UNAVAILABLE",
}
_MESSAGES: Final = {
    "invalid_api_key": "API key not valid. Please pass a valid API key.",
    "context_length_exceeded": (
        "The input token count (200) exceeds the maximum number of tokens allowed (128)."
    ),
    "rate_limit_exceeded": "Resource has been exhausted (e.g. check quota).",
    "insufficient_quota": (
        "You exceeded your current quota, please check your plan and billing details."
    ),
    "server_error": "An internal error has occurred.",
    "server_is_overloaded": "The model is overloaded. Please try again later.",
}
_QUOTAS: Final = {
    "rate_limit_exceeded": "GenerateRequestsPerMinutePerProjectPerModel",
    "insufficient_quota": "GenerateRequestsPerDayPerProjectPerModel",
}
_TYPE: Final = "type.googleapis.com/google.rpc."


class GeminiWire:
    """The wire of ``POST …/models/{model}:streamGenerateContent`` and ``:generateContent``."""

    name: Final = "gemini"
    media_type: Final = "text/event-stream"
    keep_alive: Final = b": keep-alive\r\n\r\n"

    def read(self, raw: bytes, path: str) -> Turn:
        """Read a request; RequestError says why it cannot be read."""
        resource, _, query = path.partition("?")
        name, _, method = resource.rpartition("/models/")[2].rpartition(":")
        try:
            model = unquote(name, errors="strict")
        except UnicodeDecodeError:
            raise RequestError("The model's name is not UTF-8.") from None
        if method == _STREAMED and "alt=sse" not in query.split("&"):
            raise RequestError("Only alt=sse is simulated: the array form is not.")
        body = object_of(raw)
        said = list(_said(body.get("systemInstruction"), "system"))
        for content in objects_of(body, "contents"):
            said += _said(content, _ROLES.get(str(content.get("role", "user")), "other"))
        declared = [each for t in dicts(body.get("tools")) for each in dicts(t.get(_FUNCTIONS))]
        tools = tools_of(declared, "parameters", "parametersJsonSchema")
        return turn_of(raw + model.encode(), model, said, tools, stream=method == _STREAMED)

    def frames(self, script: Script, turn: Turn, pieces: Iterable[Piece]) -> Iterator[Frame]:
        """Write the pieces as the frames of a streamed body."""
        tally = Tally(turn.prompt_tokens, script.cached)
        every = script.usage == "asked"
        signed = False
        for piece in with_whole_calls(pieces):
            if isinstance(piece, WORDS):
                tally.add(piece)
                part = {"text": piece.text} | (_THOUGHT if isinstance(piece, Thinking) else {})
                yield _event(_chunk(turn, [part]) | _usage(tally, every), 1)
            elif isinstance(piece, Call):
                tally.add(*piece.deltas)
                part = _function_call(piece) | ({} if signed else _signature(turn))
                signed = True
                yield _event(_chunk(turn, [part]) | _usage(tally, every), len(piece.deltas))
            elif isinstance(piece, Finish):
                if piece.reason != "none":
                    unsigned = not signed and tally.thinking_tokens
                    part = {"text": ""} | (_signature(turn) if unsigned else {})
                    chunk = _chunk(turn, [part], _REASONS[reason_to_give(script, piece.reason)])
                    yield _event(chunk | _usage(tally, every or script.usage == "finish"))
            elif isinstance(piece, Close):
                if script.usage == "end":
                    yield _event(_usage(tally, True) | _identity(turn))
            else:
                yield _event(self._error(piece))

    def whole(self, script: Script, turn: Turn, pieces: Iterable[Piece]) -> Frame:
        """Write the pieces as one body, for a request that did not ask for a stream."""
        answer = whole_answer(pieces, turn.prompt_tokens, script.cached)
        parts: list[dict[str, Any]] = []
        if answer.thinking:
            parts.append({"text": answer.thinking} | _THOUGHT)
        if answer.text or answer.refusal:
            parts.append({"text": answer.text + answer.refusal})
        parts += [_function_call(call) for call in answer.calls]
        if answer.thinking or answer.calls:
            parts[-len(answer.calls) if answer.calls else -1] |= _signature(turn)
        reason = _REASONS.get(reason_to_give(script, answer.reason))
        body = _chunk(turn, parts, reason) | _usage(answer.tally, script.usage != "none")
        return Frame(_encode(body), answer.tally.completion_tokens)

    def fault_frame(self, script: Script, turn: Turn, fault: Fault) -> Frame:  # noqa: ARG002 - ids are not repeated
        """Write the frame that this fault (one of EXTRA_FRAMES) adds."""
        head = b'data: {"candidates":[{"content":{"role":"model","parts":[{"text":'
        tail = b'}]},"index":0}]}\r\n\r\n'
        if fault is Fault.GARBLE:
            return Frame(head + b'"gar\r\n\r\n')
        if fault is Fault.BADUTF8:
            return Frame(head + NOT_UTF8 + tail)
        if fault is Fault.HUGEEVENT:
            return Frame(head + b'"' + b"x" * HUGE_BYTES + b'"' + tail)
        return _event(self._error(failure(code=script.code)))

    def failure(self, failure: Failure) -> bytes:
        """Write the body of an HTTP error."""
        return _encode(self._error(failure))

    def _error(self, failure: Failure) -> dict[str, Any]:
        error: dict[str, Any] = {
            "code": failure.status,
            "message": worded(failure, _MESSAGES),
            "status": _STATUSES.get(failure.status, "UNKNOWN"),
        }
        details = list(_details(failure))
        return {"error": error | ({"details": details} if details else {})}


def _details(failure: Failure) -> Iterator[dict[str, Any]]:
    if failure.code == "invalid_api_key":
        reason = {"reason": "API_KEY_INVALID", "domain": "googleapis.com"}
        yield {"@type": _TYPE + "ErrorInfo"} | reason
    if failure.code in _QUOTAS:
        violation = {"quotaId": _QUOTAS[failure.code]}
        yield {"@type": _TYPE + "QuotaFailure", "violations": [violation]}
    if failure.retry_seconds is not None:
        yield {"@type": _TYPE + "RetryInfo", "retryDelay": f"{failure.retry_seconds}s"}


def _event(body: dict[str, Any], tokens: int = 0) -> Frame:
    return Frame(b"data: " + _encode(body) + b"\r\n\r\n", tokens)


def _identity(turn: Turn) -> dict[str, Any]:
    return {"modelVersion": turn.model, "responseId": turn.digest}


def _chunk(turn: Turn, parts: list[dict[str, Any]], reason: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}}
    if reason is not None:
        candidate["finishReason"] = reason
    return {"candidates": [candidate | {"index": 0}]} | _identity(turn)


def _usage(tally: Tally, wanted: bool) -> dict[str, Any]:
    """Count so far: thoughts are beside the candidates, what the cache gave is in the prompt."""
    usage = {
        "promptTokenCount": tally.prompt_tokens,
        "cachedContentTokenCount": tally.cached_tokens,
        "candidatesTokenCount": tally.completion_tokens - tally.thinking_tokens,
        "thoughtsTokenCount": tally.thinking_tokens,
        "totalTokenCount": tally.prompt_tokens + tally.completion_tokens,
    }
    return {"usageMetadata": usage} if wanted else {}


def _function_call(call: Call) -> dict[str, Any]:
    arguments = msgspec.Raw(call.arguments.encode())
    return {"functionCall": {"name": call.start.name, "args": arguments}}


def _signature(turn: Turn) -> dict[str, Any]:
    return {"thoughtSignature": b64encode(f"signed {turn.digest}".encode()).decode()}


def _said(content: Any, role: str) -> Iterator[Said]:
    """Yield the results of calls in a content, then its text without thoughts."""
    parts = dicts(content.get("parts")) if isinstance(content, dict) else []
    for part in parts:
        result = part.get("functionResponse")
        if isinstance(result, dict):
            yield Said("tool", _result(result.get("response")))
    text = text_of([part for part in parts if not part.get("thought")])
    if text:
        yield Said(role, text)


def _result(response: Any) -> str:
    values = list(response.values()) if isinstance(response, dict) else [response]
    return " ".join(v if isinstance(v, str) else _encode(v).decode() for v in values)
