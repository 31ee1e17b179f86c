"""The fold of a stream: events in, the whole answer out.

One reducer serves the non-streaming reply, the command line and the client. Folding any prefix is
legal; the result is then what was said so far.
"""

from typing import Any

import msgspec

from tellstream.core import events as ev
from tellstream.core.usage import FinishReason, Usage


class Transcript(msgspec.Struct):
    """What a stream said so far.

    Attributes:
        text: all text blocks joined without separator.
        thinking: all thinking blocks joined without separator.
        tool_calls: the calls in order.
        error: the failure that ended the stream, or None.
        finish_reason: None while the stream runs.
    """

    model: str = ""
    provider: str = ""
    metadata: dict[str, str] | None = None
    text: str = ""
    thinking: str = ""
    tool_calls: list[dict[str, Any]] = []
    citations: list[ev.Citation] = []
    artifacts: list[ev.ArtifactData] = []
    provider_tools: list[str] = []
    error: ev.Error | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None


def fold(events: list[ev.Event]) -> Transcript:
    """Fold ``events`` (a whole stream or a prefix) into a transcript."""
    transcript = Transcript()
    text: list[str] = []
    thinking: list[str] = []
    for event in events:
        match event:
            case ev.TextDelta():
                text.append(event.delta)
            case ev.ThinkingDelta():
                thinking.append(event.delta)
            case _:
                _fold_rare(transcript, event)
    transcript.text = "".join(text)
    transcript.thinking = "".join(thinking)
    return transcript


def _fold_rare(transcript: Transcript, event: ev.Event) -> None:
    match event:
        case ev.StreamStart():
            transcript.model = event.model
            transcript.provider = event.provider
            transcript.metadata = event.metadata
        case ev.ToolCall():
            call: dict[str, Any] = {
                "tool_id": event.tool_id,
                "tool_name": event.tool_name,
                "arguments": event.arguments,
            }
            if event.invalid_arguments is not msgspec.UNSET:
                call["invalid_arguments"] = event.invalid_arguments
            transcript.tool_calls.append(call)
        case ev.CitationEvent():
            transcript.citations.append(event.citation)
        case ev.Artifact():
            transcript.artifacts.append(event.artifact)
        case ev.ProviderToolEvent():
            transcript.provider_tools.append(event.event_key)
        case ev.Error(recoverable=False):
            transcript.error = event
        case ev.StreamEnd():
            transcript.finish_reason = event.finish_reason
            transcript.usage = event.usage
        case _:
            pass
