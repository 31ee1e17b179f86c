"""The protocol of OpenAI's Chat Completions, outward: chunks, the whole completion, errors.

Thinking goes into ``reasoning_content``, as several hosts do; sources of the kind this protocol
knows go into ``annotations``; files, tools that ran at the provider and recoverable errors cannot
be said. Every call in a stream is one for the caller to run, so calls are shown as they grow. A
stream that fails says so in an ``error`` block instead of a finish reason.
"""

from typing import Any, Final

import msgspec

from tellstream.core import events as ev
from tellstream.core import lenient_json
from tellstream.core.errors import ChatError
from tellstream.core.transcript import Transcript
from tellstream.core.usage import FinishReason, Usage
from tellstream.protocols.base import Hooks, Payload
from tellstream.protocols.links import is_link

_FINISH: Final = {
    FinishReason.LENGTH: "length",
    FinishReason.CONTENT_FILTER: "content_filter",
    FinishReason.TOOL_CALLS: "tool_calls",
}
"""All others are ``stop``, the only other word; ``native_finish_reason`` tells them apart."""
_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_SERVER_FAULT: Final = 500
_VALIDATION: Final = 422
_BAD_REQUEST: Final = 400
_NOT_FOUND: Final = 404


class ChunkEncoder(Hooks):
    """Encodes a stream as ``chat.completion.chunk`` objects.

    Args:
        stream_id: of the stream; the completion's id is made from it.
        include_usage: end with a chunk that holds the usage, as ``stream_options`` asks for.
    """

    def __init__(self, stream_id: str, *, include_usage: bool = False) -> None:
        super().__init__()
        self._include_usage = include_usage
        self._head: Payload = {
            "id": completion_id(stream_id),
            "object": "chat.completion.chunk",
            "created": 0,
            "model": "",
        }
        self._tail: Payload = {"usage": None} if include_usage else {}
        self._calls: dict[str, int] = {}

    def on_stream_start(self, event: ev.StreamStart) -> list[Payload]:
        """Open the message of the assistant."""
        self._head |= {"created": event.timestamp, "model": event.model}
        return [self._chunk({"role": "assistant", "content": ""})]

    def on_text_delta(self, event: ev.TextDelta) -> list[Payload]:
        """Say text."""
        return [self._chunk({"content": event.delta})]

    def on_thinking_delta(self, event: ev.ThinkingDelta) -> list[Payload]:
        """Say thinking."""
        return [self._chunk({"reasoning_content": event.delta})]

    def on_tool_call_delta(self, event: ev.ToolCallDelta) -> list[Payload]:
        """Open a call, or add to its arguments."""
        index = self._calls.get(event.tool_id)
        if index is None:
            return [self._opened(event.tool_id, event.tool_name, event.delta)]
        call = {"index": index, "function": {"arguments": event.delta}}
        return [self._chunk({"tool_calls": [call]})]

    def on_tool_call(self, event: ev.ToolCall) -> list[Payload]:
        """Say a call that did not come in fragments."""
        if event.tool_id in self._calls:
            return []
        return [self._opened(event.tool_id, event.tool_name, written_arguments(event))]

    def on_citation(self, event: ev.CitationEvent) -> list[Payload]:
        """Say a source."""
        noted = annotation(event.citation)
        return [self._chunk({"annotations": [noted]})] if noted else []

    def on_error(self, event: ev.Error) -> list[Payload]:
        """Say that the stream failed."""
        return [] if event.recoverable else [error_object(event.error_type, event.message)]

    def on_stream_end(self, event: ev.StreamEnd) -> list[Payload]:
        """Say why it ended, unless that was a failure, and what it used."""
        payloads: list[Payload] = []
        if event.finish_reason is not FinishReason.ERROR:
            payloads = [self._chunk({}, event.finish_reason)]
        if self._include_usage:
            payloads.append({**self._head, "choices": [], "usage": usage_object(event.usage)})
        return payloads

    def _opened(self, tool_id: str, name: str, arguments: str) -> Payload:
        index = self._calls[tool_id] = len(self._calls)
        function = {"name": name, "arguments": arguments}
        call = {"index": index, "id": tool_id, "type": "function", "function": function}
        return self._chunk({"tool_calls": [call]})

    def _chunk(self, delta: Payload, finish: FinishReason | None = None) -> Payload:
        choice: Payload = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        if finish is not None:
            choice |= {"finish_reason": finish_word(finish), "native_finish_reason": finish}
        return {**self._head, "choices": [choice], **self._tail}


def completion(stream_id: str, created: int, transcript: Transcript) -> Payload:
    """Build the answer to a request that did not ask for a stream.

    Args:
        stream_id: of the stream.
        created: Unix seconds.
        transcript: of a stream that ended well.
    """
    finish = transcript.finish_reason or FinishReason.UNKNOWN
    message: Payload = {
        "role": "assistant",
        "content": transcript.text or (None if transcript.tool_calls else ""),
        "refusal": None,
    }
    if transcript.thinking:
        message["reasoning_content"] = transcript.thinking
    if transcript.tool_calls:
        message["tool_calls"] = [_whole_call(call) for call in transcript.tool_calls]
    noted = [note for cited in transcript.citations if (note := annotation(cited))]
    if noted:
        message["annotations"] = noted
    return {
        "id": completion_id(stream_id),
        "object": "chat.completion",
        "created": created,
        "model": transcript.model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": finish_word(finish),
                "native_finish_reason": finish,
            }
        ],
        "usage": usage_object(transcript.usage),
    }


def completion_id(stream_id: str) -> str:
    """Name a completion after its stream."""
    return f"chatcmpl-{stream_id}"


def finish_word(reason: FinishReason) -> str:
    """Say a finish reason in this protocol's words."""
    return _FINISH.get(reason, "stop")


def usage_object(usage: Usage | None) -> Payload:
    """Say token counts; like ours, these are inclusive. What is not known is left out."""
    usage = usage or Usage()
    prompt = {
        "cached_tokens": usage.cache_read_input_tokens,
        "cache_write_tokens": usage.cache_write_input_tokens,
    }
    completion = {"reasoning_tokens": usage.thought_tokens}
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {k: v for k, v in prompt.items() if v is not None},
        "completion_tokens_details": {k: v for k, v in completion.items() if v is not None},
    }


def annotation(citation: ev.Citation) -> Payload | None:
    """Say a source; None if it is no page, which is all this protocol knows."""
    if not is_link(citation.source):
        return None
    cited: Payload = {"url": citation.source, "title": citation.source_title or ""}
    if citation.source_text is not None:
        cited["content"] = citation.source_text
    # The positions are those in the answer's text, which is what a citation of a page counts.
    if citation.source_start_index is not None and citation.source_end_index is not None:
        cited["start_index"] = citation.source_start_index
        cited["end_index"] = citation.source_end_index
    return {"type": "url_citation", "url_citation": cited}


def error(error: ChatError) -> tuple[int, Payload]:
    """Say a refusal; what a caller can put right is a 400 in this protocol, not a 422."""
    field, text = error.details[0] if error.details else (None, "")
    message = f"{field}: {text}" if field else error.message
    if field == "model" and error.code == "validation_error":
        return _NOT_FOUND, error_object("model_not_found", message, _NOT_FOUND, field)
    status = _BAD_REQUEST if error.status == _VALIDATION else error.status
    return status, error_object(error.code, message, status, field)


def error_object(
    code: str, message: str, status: int = _SERVER_FAULT, field: str | None = None
) -> Payload:
    """Build an ``error`` object, of a refusal or of a stream that failed."""
    kind = "server_error" if status >= _SERVER_FAULT else _TYPES.get(status)
    if code == "quota_exceeded":
        kind = "insufficient_quota"
    kind = kind or "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": field, "code": code}}


def written_arguments(event: ev.ToolCall) -> str:
    """Write a call's arguments as the text that this protocol wants."""
    if event.invalid_arguments is not msgspec.UNSET:
        return event.invalid_arguments
    return lenient_json.dumps(event.arguments)


def _whole_call(call: dict[str, Any]) -> Payload:
    arguments = call.get("invalid_arguments")
    if arguments is None:
        arguments = lenient_json.dumps(call["arguments"])
    function = {"name": call["tool_name"], "arguments": arguments}
    return {"id": call["tool_id"], "type": "function", "function": function}
