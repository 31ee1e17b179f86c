"""AG-UI 1.0, inward: ``RunAgentInput``.

The model and the other settings of a request are read from ``forwardedProps``, with the names of
the native request. What the application tells of itself (``context``) is added to the instructions.
State is the application's own; there are no interrupts here, so there is nothing to resume.
"""

from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias

from pydantic import Field

from tellstream.core.chat import ChatRequest, ReasoningEffort, Turn
from tellstream.protocols.conversation import (
    MAX_MESSAGES,
    Calls,
    Content,
    Limits,
    Loose,
    Name,
    OfferedFunction,
    Text,
    conversation,
    decoded,
    invalid,
)
from tellstream.protocols.native import MAX_METADATA_KEYS, MAX_TOOLS

MAX_CONTEXT: Final = 64
"""Entries of ``context``."""
_SYSTEM: Final = frozenset({"system", "developer"})


class SaidMessage(Loose):
    """A message that a model is told of."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content = None
    toolCalls: Calls | None = None  # noqa: N815 - the wire's name
    toolCallId: Name | None = None  # noqa: N815 - the wire's name

    def turn(self) -> Turn:
        """Read a message of user, assistant or tool."""
        if self.role == "tool":
            if self.toolCallId is None:
                raise invalid("messages", "a message of a tool needs toolCallId")
            return Turn("tool", self.content or "", tool_id=self.toolCallId)
        if self.role == "user":
            return Turn("user", self.content or "")
        calls = tuple(call.use() for call in self.toolCalls or ())
        return Turn("assistant", self.content or "", calls)


class ShownMessage(Loose):
    """A message that is for the page alone."""

    role: Literal["reasoning", "activity"]


RunMessage: TypeAlias = Annotated[SaidMessage | ShownMessage, Field(discriminator="role")]


class RunContext(Loose):
    """Something the application tells of itself."""

    description: Text
    value: Text


class RunProps(Loose):
    """Settings of the request."""

    model: Name | None = None
    metadata: Annotated[dict[str, str], Field(max_length=MAX_METADATA_KEYS)] | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    reasoning_effort: ReasoningEffort | None = None
    tool_choice: Literal["auto", "none", "required"] | None = None


class RunBody(Loose):
    """The request body."""

    threadId: Name  # noqa: N815 - the wire's name
    runId: Name  # noqa: N815 - the wire's name
    parentRunId: Name | None = None  # noqa: N815 - the wire's name
    messages: Annotated[list[RunMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    tools: Annotated[list[OfferedFunction], Field(max_length=MAX_TOOLS)] | None = None
    context: Annotated[list[RunContext], Field(max_length=MAX_CONTEXT)] | None = None
    forwardedProps: RunProps | None = None  # noqa: N815 - the wire's name
    resume: list[Any] | None = None


class Asked(NamedTuple):
    """What a body asks for, and what its run is called."""

    chat: ChatRequest
    thread_id: str
    run_id: str
    parent_run_id: str | None


def parse(raw: bytes, limits: Limits) -> Asked:
    """Parse a request body.

    Raises:
        RequestError: ``invalid_request``, it is not JSON; ``validation_error`` with details.
    """
    body = decoded(RunBody, raw)
    if body.resume:
        raise invalid("resume", "there is no interrupt to resume")
    told = [message for message in body.messages if isinstance(message, SaidMessage)]
    said = conversation(
        [message.turn() for message in told if message.role not in _SYSTEM],
        [
            *(message.content or "" for message in told if message.role in _SYSTEM),
            *(f"{entry.description}: {entry.value}" for entry in body.context or ()),
        ],
        limits,
    )
    props = body.forwardedProps or RunProps()
    chat = ChatRequest(
        prompt=said.prompt,
        history=said.history,
        system=said.system,
        model=props.model,
        metadata=props.metadata,
        max_output_tokens=props.max_output_tokens,
        temperature=props.temperature,
        reasoning_effort=props.reasoning_effort,
        tools=tuple(tool.tool() for tool in body.tools or ()),
        tool_choice=props.tool_choice,
    )
    return Asked(chat, body.threadId, body.runId, body.parentRunId)
