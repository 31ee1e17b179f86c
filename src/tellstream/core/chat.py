"""The neutral request: what a caller asks, before any provider's wire.

Output protocols build it from their bodies, dialects turn it into a provider's body.
"""

from typing import Any, Final, Literal, TypeAlias

import msgspec

ReasoningEffort: TypeAlias = Literal["none", "minimal", "low", "medium", "high"]
ToolChoice: TypeAlias = str
"""``auto``, ``none``, ``required``, or ``=`` and the name of the one function to call."""

NAMED_TOOL: Final = "="


class ToolUse(msgspec.Struct, frozen=True):
    """A tool call of an earlier assistant turn."""

    tool_id: str
    tool_name: str
    arguments: dict[str, Any]


class Replay(msgspec.Struct, frozen=True):
    """What a provider wants back with the results of its calls: signed thinking, for instance.

    Attributes:
        dialect: only the dialect that made the items understands them.
        items: as the provider sent them, in order.
    """

    dialect: str
    items: tuple[dict[str, Any], ...]


class Turn(msgspec.Struct, frozen=True):
    """One earlier message.

    Attributes:
        role: ``user``, ``assistant`` or ``tool``.
        content: text; of a tool turn the result as text.
        tool_calls: of an assistant turn.
        tool_id: of a tool turn, the call it answers.
        replay: of an assistant turn with calls, what the provider that made them wants back.
    """

    role: Literal["user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolUse, ...] = ()
    tool_id: str = ""
    replay: Replay | None = None


class Tool(msgspec.Struct, frozen=True):
    """A function the caller can run; ``parameters`` is a JSON schema."""

    name: str
    description: str | None
    parameters: dict[str, Any]


class ResponseFormat(msgspec.Struct, frozen=True):
    """The answer shall be JSON.

    Attributes:
        name: of the schema, for providers that want one.
        schema: a JSON schema that the answer must match; None: any JSON object.
        strict: whether the provider shall enforce the schema exactly; None: its default.
    """

    name: str = "answer"
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class ChatRequest(msgspec.Struct, frozen=True):
    """One question to a model.

    Attributes:
        prompt: the last user message; empty if the last turn is another one, such as the result of
            a call.
        history: earlier turns, oldest first.
        system: the tenant's instructions, or None.
        max_output_tokens: cap of the answer, or None for the provider's.
        tool_choice: see ``ToolChoice``; None is the provider's default.
    """

    prompt: str
    history: tuple[Turn, ...] = ()
    system: str | None = None
    model: str | None = None
    metadata: dict[str, str] | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    reasoning_effort: ReasoningEffort | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    response_format: ResponseFormat | None = None

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The whole conversation, with the prompt as its last turn if there is one."""
        return (*self.history, Turn("user", self.prompt)) if self.prompt else self.history
