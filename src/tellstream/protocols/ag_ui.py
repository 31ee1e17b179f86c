"""AG-UI 1.0, outward: the events of a run of an agent.

What is open must be closed before a run finishes, and nothing may follow the error of a run that
failed. So a failure is kept until the stream's end, when everything is closed. What the protocol
has no event for goes out as ``CUSTOM`` under its native name. Absent fields are left out.
"""

from typing import Any, Final

import msgspec

from tellstream.core import events as ev
from tellstream.core import lenient_json
from tellstream.core.usage import FinishReason, Usage
from tellstream.protocols.base import Hooks, Payload

VERSION: Final = "1.0"


class AgUiEncoder(Hooks):
    """Encodes a stream as AG-UI events.

    Args:
        stream_id: of the stream; stands for what the caller did not name.
        thread_id: of the conversation.
        run_id: of this answer.
        parent_run_id: the run that this one continues.
    """

    def __init__(
        self,
        stream_id: str,
        *,
        thread_id: str | None = None,
        run_id: str | None = None,
        parent_run_id: str | None = None,
    ) -> None:
        super().__init__()
        self._run: Payload = {"threadId": thread_id or stream_id, "runId": run_id or stream_id}
        self._parent = {} if parent_run_id is None else {"parentRunId": parent_run_id}
        self._answering: Payload = {}
        self._step = 0
        self._open_calls: dict[str, None] = {}
        self._pending: dict[str, None] = {}
        self._failure: ev.Error | None = None

    def encode(self, event: ev.Event) -> list[Payload]:
        """Encode one event; each object carries the time in milliseconds."""
        at = event.timestamp * 1000
        return [{**said, "timestamp": at} for said in super().encode(event)]

    def on_stream_start(self, event: ev.StreamStart) -> list[Payload]:
        """Open the run."""
        self._answering = {"provider": event.provider, "model": event.model}
        return [_say("RUN_STARTED", **self._run, **self._parent, protocolVersion=VERSION)]

    def on_step_start(self, _event: ev.StepStart) -> list[Payload]:
        """Open a step."""
        self._step += 1
        return [_say("STEP_STARTED", stepName=f"step-{self._step}")]

    def on_step_finish(self, _event: ev.StepFinish) -> list[Payload]:
        """Close a step, and the calls in it that the stream did not: nothing more comes of them."""
        left, self._open_calls = self._open_calls, {}
        ends = [_say("TOOL_CALL_END", toolCallId=tool_id) for tool_id in left]
        return [*ends, _say("STEP_FINISHED", stepName=f"step-{self._step}")]

    def on_text_start(self, event: ev.TextStart) -> list[Payload]:
        """Open a text."""
        return [_say("TEXT_MESSAGE_START", messageId=event.message_id, role="assistant")]

    def on_text_delta(self, event: ev.TextDelta) -> list[Payload]:
        """Say text."""
        return [_say("TEXT_MESSAGE_CONTENT", messageId=event.message_id, delta=event.delta)]

    def on_text_complete(self, event: ev.TextComplete) -> list[Payload]:
        """Close a text."""
        return [_say("TEXT_MESSAGE_END", messageId=event.message_id)]

    def on_thinking_start(self, event: ev.ThinkingStart) -> list[Payload]:
        """Open thinking."""
        part = event.reasoning_id
        opened = _say("REASONING_MESSAGE_START", messageId=part, role="reasoning")
        return [_say("REASONING_START", messageId=part), opened]

    def on_thinking_delta(self, event: ev.ThinkingDelta) -> list[Payload]:
        """Say thinking."""
        return [_say("REASONING_MESSAGE_CONTENT", messageId=event.reasoning_id, delta=event.delta)]

    def on_thinking_complete(self, event: ev.ThinkingComplete) -> list[Payload]:
        """Close thinking."""
        part = event.reasoning_id
        ended = _say("REASONING_MESSAGE_END", messageId=part)
        return [ended, _say("REASONING_END", messageId=part)]

    def on_tool_call_delta(self, event: ev.ToolCallDelta) -> list[Payload]:
        """Open a call, and add to its arguments."""
        return self._grown(event, event.delta)

    def on_tool_call(self, event: ev.ToolCall) -> list[Payload]:
        """Say a whole call."""
        said: list[Payload] = []
        if event.tool_id not in self._open_calls:
            raw = event.invalid_arguments
            whole = lenient_json.dumps(event.arguments) if raw is msgspec.UNSET else raw
            said = self._grown(event, whole)
        self._open_calls.pop(event.tool_id)
        self._pending[event.tool_id] = None
        return [*said, _say("TOOL_CALL_END", toolCallId=event.tool_id)]

    def on_tool_result(self, event: ev.ToolResult) -> list[Payload]:
        """Say what a tool of the server gave, as a message of its own."""
        self._pending.pop(event.tool_id, None)
        shown = event.result if event.success else (event.error or event.result)
        content = shown if isinstance(shown, str) else lenient_json.dumps(shown)
        result = {"toolCallId": event.tool_id, "content": content, "role": "tool"}
        return [_say("TOOL_CALL_RESULT", messageId=event.id, **result)]

    def on_artifact(self, event: ev.Artifact) -> list[Payload]:
        """Say a file."""
        return [_custom(event)]

    def on_provider_tool_event(self, event: ev.ProviderToolEvent) -> list[Payload]:
        """Say how far a tool of the provider is."""
        return [_custom(event)]

    def on_citation(self, event: ev.CitationEvent) -> list[Payload]:
        """Say a source."""
        return [_custom(event)]

    def on_error(self, event: ev.Error) -> list[Payload]:
        """Say a warning, or keep a failure for the end."""
        if not event.recoverable:
            self._failure = event
            return []
        value = {"code": event.error_type, "message": event.message}
        return [_say("CUSTOM", name="warning", value=value)]

    def on_stream_end(self, event: ev.StreamEnd) -> list[Payload]:
        """End the run."""
        usage = {} if event.usage is None else {"usage": [self._answering | _usage(event.usage)]}
        if self._failure is not None:
            failed = {"message": self._failure.message, "code": self._failure.error_type}
            return [_say("RUN_ERROR", **failed, **usage)]
        outcome: Payload = {"type": "success"}
        if event.finish_reason is FinishReason.CANCELLED:
            outcome = {"type": "cancelled"}
        elif event.finish_reason is FinishReason.TOOL_CALLS and self._pending:
            outcome["pendingToolCallIds"] = list(self._pending)
        result = {"finishReason": event.finish_reason}
        return [_say("RUN_FINISHED", **self._run, result=result, outcome=outcome, **usage)]

    def _grown(self, event: ev.ToolCallDelta | ev.ToolCall, arguments: str) -> list[Payload]:
        said: list[Payload] = []
        if event.tool_id not in self._open_calls:
            self._open_calls[event.tool_id] = None
            call = {"toolCallId": event.tool_id, "toolCallName": event.tool_name}
            said.append(_say("TOOL_CALL_START", **call, parentMessageId=event.message_id))
        if arguments:
            said.append(_say("TOOL_CALL_ARGS", toolCallId=event.tool_id, delta=arguments))
        return said


def _say(what: str, **fields: Any) -> Payload:
    return {"type": what, **fields}


def _custom(event: ev.Event) -> Payload:
    """Say a native event under its own name, without the fields that are null."""
    fields: dict[str, Any] = msgspec.to_builtins(event)
    value = {name: value for name, value in fields.items() if value is not None}
    return _say("CUSTOM", name=event.type, value=value)


def _usage(usage: Usage) -> Payload:
    counts: dict[str, int | None] = {
        "inputTokens": usage.prompt_tokens,
        "outputTokens": usage.completion_tokens,
        "totalTokens": usage.prompt_tokens + usage.completion_tokens,
        "reasoningTokens": usage.thought_tokens,
        "cachedInputTokens": usage.cache_read_input_tokens,
        "cacheWriteInputTokens": usage.cache_write_input_tokens,
    }
    return {name: value for name, value in counts.items() if value is not None}
