"""What the calls give back. Fields that a newer server adds are passed over."""

from typing import Any, Literal

import msgspec

from tellstream.core.events import Citation
from tellstream.core.usage import FinishReason, Usage


class ChatAnswer(msgspec.Struct, frozen=True):
    """A whole answer.

    Attributes:
        tool_calls: objects with ``tool_id``, ``tool_name`` and ``arguments``, in order.
        usage: tokens, or None if nothing is known.
    """

    stream_id: str
    model: str
    provider: str
    text: str
    thinking: str
    tool_calls: list[dict[str, Any]]
    finish_reason: FinishReason
    usage: Usage | None
    citations: list[Citation] = []


class StreamState(msgspec.Struct, frozen=True):
    """What the server knows of a stream.

    Attributes:
        created_at: Unix seconds.
        finished_at: Unix seconds, None while it runs.
        finish_reason: None while it runs.
        estimated: whether the usage was estimated because the provider did not say.
        attempts: what was tried to get the answer, in order.
    """

    id: str
    state: Literal["running", "finished"]
    model: str
    provider: str
    created_at: int
    finished_at: int | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    estimated: bool = False
    attempts: list[dict[str, Any]] = []


class Model(msgspec.Struct, frozen=True):
    """A model that the tenant may use.

    Attributes:
        id: the name to ask for it.
        default: whether it answers when none is named.
    """

    id: str
    default: bool = False
