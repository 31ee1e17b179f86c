"""The UI message stream of Vercel's AI SDK, outward: what ``useChat`` builds a message from.

Its client is strict: an unknown ``type``, a null where a field is optional, or an end without its
start stops it. So only the parts that versions 5 to 7 have in common are used, and what is absent
is left out. A call that the stream ends before completing is closed as one that failed.
"""

from typing import Any, Final

import msgspec

from tellstream.core import events as ev
from tellstream.core.usage import FinishReason
from tellstream.protocols.base import Hooks, Payload
from tellstream.protocols.links import is_link

_FINISH: Final = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.CONTENT_FILTER: "content-filter",
    FinishReason.TOOL_CALLS: "tool-calls",
    FinishReason.ERROR: "error",
}
_INCOMPLETE: Final = "The call was not completed."
_FAILED: Final = "The tool failed."
_INVALID: Final = "The arguments are not a JSON object."


class UiEncoder(Hooks):
    """Encodes a stream as UI message chunks.

    Args:
        stream_id: of the stream; told in the message's metadata.
        message_id: of the message that the answer becomes part of; the stream's id by default, so
            that a message is the same one however often it is read.
    """

    def __init__(self, stream_id: str, *, message_id: str | None = None) -> None:
        super().__init__()
        self._stream_id = stream_id
        self._message_id = message_id or stream_id
        self._open_calls: dict[str, tuple[str, list[str]]] = {}

    def on_stream_start(self, event: ev.StreamStart) -> list[Payload]:
        """Open the message."""
        metadata: Payload = {
            "streamId": self._stream_id,
            "model": event.model,
            "provider": event.provider,
        }
        if event.metadata is not None:
            metadata["metadata"] = event.metadata
        return [{"type": "start", "messageId": self._message_id, "messageMetadata": metadata}]

    def on_step_start(self, _event: ev.StepStart) -> list[Payload]:
        """Open a step."""
        return [{"type": "start-step"}]

    def on_step_finish(self, _event: ev.StepFinish) -> list[Payload]:
        """Close a step, and the calls in it that the stream did not: nothing more comes of them."""
        left, self._open_calls = self._open_calls, {}
        incomplete = [
            _input_error(tool_id, name, "".join(pieces), _INCOMPLETE)
            for tool_id, (name, pieces) in left.items()
        ]
        return [*incomplete, {"type": "finish-step"}]

    def on_text_start(self, event: ev.TextStart) -> list[Payload]:
        """Open a text."""
        return [{"type": "text-start", "id": event.message_id}]

    def on_text_delta(self, event: ev.TextDelta) -> list[Payload]:
        """Say text."""
        return [{"type": "text-delta", "id": event.message_id, "delta": event.delta}]

    def on_text_complete(self, event: ev.TextComplete) -> list[Payload]:
        """Close a text."""
        return [{"type": "text-end", "id": event.message_id}]

    def on_thinking_start(self, event: ev.ThinkingStart) -> list[Payload]:
        """Open thinking."""
        return [{"type": "reasoning-start", "id": event.reasoning_id}]

    def on_thinking_delta(self, event: ev.ThinkingDelta) -> list[Payload]:
        """Say thinking."""
        return [{"type": "reasoning-delta", "id": event.reasoning_id, "delta": event.delta}]

    def on_thinking_complete(self, event: ev.ThinkingComplete) -> list[Payload]:
        """Close thinking."""
        return [{"type": "reasoning-end", "id": event.reasoning_id}]

    def on_tool_call_delta(self, event: ev.ToolCallDelta) -> list[Payload]:
        """Open a call, and add to its input."""
        opened = event.tool_id in self._open_calls
        _, pieces = self._open_calls.setdefault(event.tool_id, (event.tool_name, []))
        pieces.append(event.delta)
        delta = {
            "type": "tool-input-delta",
            "toolCallId": event.tool_id,
            "inputTextDelta": event.delta,
        }
        return [delta] if opened else [_input_start(event.tool_id, event.tool_name), delta]

    def on_tool_call(self, event: ev.ToolCall) -> list[Payload]:
        """Say a whole call."""
        opened = self._open_calls.pop(event.tool_id, None)
        payloads = [] if opened else [_input_start(event.tool_id, event.tool_name)]
        if event.invalid_arguments is not msgspec.UNSET:
            raw = event.invalid_arguments
            return [*payloads, _input_error(event.tool_id, event.tool_name, raw, _INVALID)]
        available = {
            "type": "tool-input-available",
            "toolCallId": event.tool_id,
            "toolName": event.tool_name,
            "input": event.arguments,
        }
        return [*payloads, available]

    def on_tool_result(self, event: ev.ToolResult) -> list[Payload]:
        """Say what a tool of the server gave."""
        called = {"toolCallId": event.tool_id}
        if event.success:
            return [{"type": "tool-output-available", **called, "output": event.result}]
        return [{"type": "tool-output-error", **called, "errorText": event.error or _FAILED}]

    def on_artifact(self, event: ev.Artifact) -> list[Payload]:
        """Say a file."""
        made = event.artifact
        url = f"data:{made.mime_type};base64,{made.data}"
        return [{"type": "file", "url": url, "mediaType": made.mime_type}]

    def on_provider_tool_event(self, event: ev.ProviderToolEvent) -> list[Payload]:
        """Say how far a tool of the provider is."""
        data = {"tool": event.tool_type, "status": event.status, "data": event.data}
        return [{"type": "data-provider-tool", "id": event.item_id, "data": data}]

    def on_citation(self, event: ev.CitationEvent) -> list[Payload]:
        """Say a source."""
        cited = event.citation
        if is_link(cited.source):
            page: Payload = {"type": "source-url", "sourceId": event.id, "url": cited.source}
            return [page | ({"title": cited.source_title} if cited.source_title else {})]
        title = cited.source_title or str(cited.source)
        source = {"sourceId": event.id, "mediaType": "text/plain", "title": title}
        return [{"type": "source-document", **source}]

    def on_error(self, event: ev.Error) -> list[Payload]:
        """Say a warning, or that the stream failed."""
        if not event.recoverable:
            return [{"type": "error", "errorText": event.message}]
        data = {"code": event.error_type, "message": event.message}
        return [{"type": "data-warning", "data": data, "transient": True}]

    def on_stream_end(self, event: ev.StreamEnd) -> list[Payload]:
        """Close the message; one that was aborted has no finish, so its metadata comes before."""
        metadata: dict[str, Any] = {"finishReason": event.finish_reason}
        if event.usage is not None:
            metadata["usage"] = event.usage
        if event.finish_reason is FinishReason.CANCELLED:
            told = {"type": "message-metadata", "messageMetadata": metadata}
            return [told, {"type": "abort", "reason": "cancelled"}]
        reason = _FINISH.get(event.finish_reason, "other")
        return [{"type": "finish", "finishReason": reason, "messageMetadata": metadata}]


def _input_start(tool_id: str, name: str) -> Payload:
    return {"type": "tool-input-start", "toolCallId": tool_id, "toolName": name}


def _input_error(tool_id: str, name: str, given: str, reason: str) -> Payload:
    return {
        "type": "tool-input-error",
        "toolCallId": tool_id,
        "toolName": name,
        "input": given,
        "errorText": reason,
    }
