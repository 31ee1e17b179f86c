"""What a provider's decoder can say: the input of the composer.

A part says what *arrived*. It never opens or closes anything: framing is the composer's, once, for
all dialects. All structs are immutable.
"""

from typing import Any, TypeAlias

import msgspec

from tellstream.core.errors import ProviderError
from tellstream.core.events import ArtifactData, Citation
from tellstream.core.usage import FinishReason, Usage


class Model(msgspec.Struct, frozen=True, gc=False):
    """The provider names the model that answers."""

    name: str


class Text(msgspec.Struct, frozen=True, gc=False):
    """Visible text arrived (not empty)."""

    delta: str


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """Text of a refusal arrived (not empty): shown as text, ends as ``ContentFilter``."""

    delta: str


class Thinking(msgspec.Struct, frozen=True, gc=False):
    """Thinking arrived (not empty)."""

    delta: str


class Break(msgspec.Struct, frozen=True, gc=False):
    """The provider closed its block: text or thinking that follows is a part of its own."""


class Replay(msgspec.Struct, frozen=True, gc=False):
    """Something of the provider's own that must go back to it with the results of the calls.

    Signed or encrypted thinking, for instance. It is never shown to the caller.

    Attributes:
        item: as the provider sent it, decoded.
    """

    item: dict[str, Any]


class ToolFragment(msgspec.Struct, frozen=True, gc=False):
    """A piece of a tool call.

    Attributes:
        key: what the provider uses to say which call (index, id, position), unique in a step.
        tool_id: the provider's id, if this piece names it.
        name: the tool's name, if this piece names it.
        arguments: the next fragment of the JSON arguments; may be empty.
    """

    key: str | int
    tool_id: str
    name: str
    arguments: str


class ToolWhole(msgspec.Struct, frozen=True, gc=False):
    """A tool call that arrived decoded, in one piece."""

    key: str | int
    tool_id: str
    name: str
    arguments: dict[str, Any]


class Cited(msgspec.Struct, frozen=True, gc=False):
    """A source arrived."""

    citation: Citation


class Attached(msgspec.Struct, frozen=True, gc=False):
    """A file made by the provider arrived."""

    artifact: ArtifactData


class ProviderTool(msgspec.Struct, frozen=True, gc=False):
    """A tool that runs at the provider changed its status."""

    tool_type: str
    status: str
    item_id: str
    data: dict[str, Any]


class Finished(msgspec.Struct, frozen=True, gc=False):
    """A finish reason arrived; content may still follow, and the last one counts."""

    reason: FinishReason


class Used(msgspec.Struct, frozen=True, gc=False):
    """Token counts so far arrived, normalised to the inclusive rule; the last ones count."""

    usage: Usage


class Failed(msgspec.Struct, frozen=True, gc=False):
    """The provider said that it failed. Nothing after this counts."""

    error: ProviderError


class Done(msgspec.Struct, frozen=True, gc=False):
    """The provider's terminal marker arrived. Nothing after this counts."""


Part: TypeAlias = (
    Model
    | Text
    | Refusal
    | Thinking
    | Break
    | Replay
    | ToolFragment
    | ToolWhole
    | Cited
    | Attached
    | ProviderTool
    | Finished
    | Used
    | Failed
    | Done
)
