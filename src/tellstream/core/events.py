"""The 17 event types of the native protocol, one frozen struct each.

Field order is the wire's key order; the SSE ``event:`` name is the struct's ``type``. Compatible
with Prism PHP's streamed events (``src/Streaming/Events``). ``encode`` writes one line of JSON that
no line-splitting client can cut; ``decode`` is its inverse.
"""

from typing import Any, ClassVar, Final

import msgspec

from tellstream.core.usage import FinishReason, Usage


class Event(msgspec.Struct, frozen=True, gc=False, kw_only=False):
    """Base of all events: ``id`` is ``evt_`` + ULID, ``timestamp`` Unix seconds."""

    type: ClassVar[str] = ""

    id: str
    timestamp: int


class StreamStart(Event, frozen=True, gc=False):
    """First event, exactly once: which model of which configured provider answers."""

    type: ClassVar[str] = "stream_start"

    model: str
    provider: str
    metadata: dict[str, str] | None = None


class StepStart(Event, frozen=True, gc=False):
    """One model call begins."""

    type: ClassVar[str] = "step_start"


class TextStart(Event, frozen=True, gc=False):
    """A text block opens."""

    type: ClassVar[str] = "text_start"

    message_id: str


class TextDelta(Event, frozen=True, gc=False):
    """Text grows; ``delta`` is never empty."""

    type: ClassVar[str] = "text_delta"

    delta: str
    message_id: str


class TextComplete(Event, frozen=True, gc=False):
    """A text block closes."""

    type: ClassVar[str] = "text_complete"

    message_id: str


class ThinkingStart(Event, frozen=True, gc=False):
    """A thinking block opens."""

    type: ClassVar[str] = "thinking_start"

    reasoning_id: str


class ThinkingDelta(Event, frozen=True, gc=False):
    """Thinking grows."""

    type: ClassVar[str] = "thinking_delta"

    delta: str
    reasoning_id: str
    summary: dict[str, Any] | None = None


class ThinkingComplete(Event, frozen=True, gc=False):
    """A thinking block closes."""

    type: ClassVar[str] = "thinking_complete"

    reasoning_id: str
    summary: dict[str, Any] | None = None


class ToolCallDelta(Event, frozen=True, gc=False):
    """A fragment of a tool call's JSON arguments; deltas of several calls may interleave."""

    type: ClassVar[str] = "tool_call_delta"

    tool_id: str
    tool_name: str
    delta: str
    message_id: str


class ToolCall(Event, frozen=True, gc=False):
    """A complete tool call.

    ``arguments`` is always an object. When the provider's arguments were not one (cut, malformed)
    it is empty and ``invalid_arguments`` holds the raw text.
    """

    type: ClassVar[str] = "tool_call"

    tool_id: str
    tool_name: str
    arguments: dict[str, Any]
    message_id: str
    reasoning_id: str | None = None
    invalid_arguments: str | msgspec.UnsetType = msgspec.UNSET


class ToolResult(Event, frozen=True, gc=False):
    """The result of a tool call that ran on the server's side."""

    type: ClassVar[str] = "tool_result"

    tool_id: str
    result: Any
    tool_call_result_id: str | None
    message_id: str
    success: bool
    error: str | None = None


class ArtifactData(msgspec.Struct, frozen=True):
    """A generated file: base64 ``data`` of type ``mime_type``."""

    id: str | None
    data: str
    mime_type: str
    metadata: dict[str, Any]


class Artifact(Event, frozen=True, gc=False):
    """A generated file, of a tool or of the provider itself."""

    type: ClassVar[str] = "artifact"

    tool_call_id: str
    tool_name: str
    message_id: str
    artifact: ArtifactData


class ProviderToolEvent(Event, frozen=True, gc=False):
    """Progress of a tool that runs at the provider, once per (item, status)."""

    type: ClassVar[str] = "provider_tool_event"

    kind: str = msgspec.field(name="type")
    event_key: str
    tool_type: str
    status: str
    item_id: str
    data: dict[str, Any]


class Citation(msgspec.Struct, frozen=True, gc=False):
    """A source of a piece of text.

    Attributes:
        source_type: ``document`` or ``url``.
        source: the URL, or the index or id of a document.
        source_position_type: ``character``, ``page`` or ``chunk``: the unit of the two indices.
    """

    source_type: str
    source: str | int
    source_text: str | None = None
    source_title: str | None = None
    source_position_type: str | None = None
    source_start_index: int | None = None
    source_end_index: int | None = None
    additional_content: dict[str, Any] = {}


class CitationEvent(Event, frozen=True, gc=False):
    """A source of the text block ``message_id``."""

    type: ClassVar[str] = "citation"

    citation: Citation
    message_id: str
    block_index: int | None = None
    metadata: dict[str, Any] | None = None


class CitationPart(msgspec.Struct, frozen=True):
    """A text block with its sources, in ``stream_end``."""

    output_text: str
    citations: list[Citation]


class Error(Event, frozen=True, gc=False):
    """An advisory (``recoverable``) or the failure that ends the stream.

    ``error_type`` is a code of ``core.errors.CODES``; ``message`` is safe to show.
    """

    type: ClassVar[str] = "error"

    error_type: str
    message: str
    recoverable: bool
    metadata: dict[str, Any] | None = None


class StepFinish(Event, frozen=True, gc=False):
    """One model call is over."""

    type: ClassVar[str] = "step_finish"


class StreamEnd(Event, frozen=True, gc=False):
    """Last event, exactly once. ``usage`` is summed over all steps."""

    type: ClassVar[str] = "stream_end"

    finish_reason: FinishReason
    usage: Usage | None
    citations: list[CitationPart] | None = None


EVENT_TYPES: Final[dict[str, type[Event]]] = {
    struct.type: struct
    for struct in (
        StreamStart,
        StepStart,
        TextStart,
        TextDelta,
        TextComplete,
        ThinkingStart,
        ThinkingDelta,
        ThinkingComplete,
        ToolCallDelta,
        ToolCall,
        ToolResult,
        Artifact,
        ProviderToolEvent,
        CitationEvent,
        Error,
        StepFinish,
        StreamEnd,
    )
}

# Events that do not carry content: fallback to another target is possible while only these were
# written, and a response head is held until the first other one (design.md section 2).
NON_CONTENT: Final = frozenset({"stream_start", "step_start", "step_finish", "error", "stream_end"})

_encoder: Final = msgspec.json.Encoder()
_decoders: Final = {name: msgspec.json.Decoder(struct) for name, struct in EVENT_TYPES.items()}

# Characters that JSON leaves alone but that some clients treat as line ends (Python's splitlines).
_NEXT_LINE: Final = "\u0085".encode()
_LINE_SEPARATORS: Final = b"\xe2\x80"


def encode(event: Event | dict[str, Any]) -> bytes:
    r"""Encode ``event``, or an object of another protocol, as one line of UTF-8 JSON.

    U+0085, U+2028 and U+2029 are escaped (they can only stand inside strings, so replacing bytes
    is safe); lone surrogates, which UTF-8 cannot hold, become U+FFFD.
    """
    try:
        data = _encoder.encode(event)
    except UnicodeEncodeError:
        data = _encoder.encode(_without_surrogates(msgspec.to_builtins(event)))
    if data.isascii():  # nearly all
        return data
    if _NEXT_LINE in data:
        data = data.replace(_NEXT_LINE, b"\\u0085")
    if _LINE_SEPARATORS in data:
        data = data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return data


def decode(event_type: str, data: bytes) -> Event:
    """Decode the ``data`` of a native frame.

    Raises:
        KeyError: ``event_type`` is not one of the 17.
        msgspec.DecodeError: ``data`` is not such an event.
    """
    return _decoders[event_type].decode(data)


def without_surrogates(text: str) -> str:
    """Replace lone surrogates by U+FFFD and join pairs into the character they stand for."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, dict):
        return {_without_surrogates(k): _without_surrogates(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    return value
