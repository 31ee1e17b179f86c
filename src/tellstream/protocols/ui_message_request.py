"""The UI message stream of Vercel's AI SDK, inward: what ``DefaultChatTransport`` posts.

A message is a list of parts. Those of an assistant hold the steps of its answer: texts, calls, and
what the caller's tools gave for them, which is a message of its own to a provider. Calls without a
result were never answered and are left out, like parts that say nothing to a model. What ``body``
of the transport adds is read with the names of the native request.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field

from tellstream.core import lenient_json
from tellstream.core.chat import ChatRequest, ReasoningEffort, ToolUse, Turn
from tellstream.protocols.conversation import (
    MAX_MESSAGES,
    Limits,
    Loose,
    Name,
    OfferedTool,
    conversation,
    decoded,
    invalid,
    printable,
)
from tellstream.protocols.native import MAX_METADATA_KEYS, MAX_TOOLS

CHAT_ID: Final = r"^[^\x00-\x20/?#\x7f]{1,128}$"
"""A chat's id stands in a path."""
_ANSWERED: Final = frozenset({"output-available", "output-error"})


class UiMessage(Loose):
    """One message."""

    role: Literal["system", "user", "assistant"]
    id: str = ""
    parts: list[dict[str, Any]] = Field([])


class UiBody(Loose):
    """The request body."""

    id: Annotated[str, Field(pattern=CHAT_ID)]
    messages: Annotated[list[UiMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    trigger: Literal["submit-message", "regenerate-message"] | None = None
    model: Name | None = None
    metadata: Annotated[dict[str, str], Field(max_length=MAX_METADATA_KEYS)] | None = None
    max_output_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    reasoning_effort: ReasoningEffort | None = None
    tools: Annotated[list[OfferedTool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["auto", "none", "required"] | None = None


class Asked(NamedTuple):
    """What a body asks for.

    Attributes:
        chat: the neutral request.
        chat_id: of the conversation, chosen by the client.
        message_id: of the message that the answer continues, or None: it is a new one.
    """

    chat: ChatRequest
    chat_id: str
    message_id: str | None


def parse(raw: bytes, limits: Limits) -> Asked:
    """Parse a request body.

    Raises:
        RequestError: ``invalid_request``, it is not JSON; ``validation_error`` with details.
    """
    body = decoded(UiBody, raw)
    turns: list[Turn] = []
    instructions: list[str] = []
    for message in body.messages:
        if message.role == "system":
            instructions.append(_joined(message))
        elif message.role == "user":
            turns.append(Turn("user", _joined(message)))
        else:
            turns += _steps(message)
    said = conversation(turns, instructions, limits)
    chat = ChatRequest(
        prompt=said.prompt,
        history=said.history,
        system=said.system,
        model=body.model,
        metadata=body.metadata,
        max_output_tokens=body.max_output_tokens,
        temperature=body.temperature,
        reasoning_effort=body.reasoning_effort,
        tools=tuple(tool.function.tool() for tool in body.tools or ()),
        tool_choice=body.tool_choice,
    )
    last = body.messages[-1]
    return Asked(chat, body.id, last.id if last.role == "assistant" and last.id else None)


def _joined(message: UiMessage) -> str:
    """The text of a message that can hold nothing else."""
    texts: list[str] = []
    for part in message.parts:
        kind = part.get("type")
        if kind == "file":
            raise invalid("messages", "files cannot be understood; only text can")
        if kind == "text":
            texts.append(_string(part, "text"))
    return "\n".join(texts)


def _steps(message: UiMessage) -> Iterator[Turn]:
    """The turns of an assistant's message: in each step a text, calls, and their results."""
    texts: list[str] = []
    calls: list[tuple[ToolUse, str]] = []
    for part in message.parts:
        kind = _string(part, "type")
        if kind == "step-start" or (kind == "text" and calls):
            yield from _step(texts, calls)
            texts, calls = [], []
        if kind == "text":
            texts.append(_string(part, "text"))
        elif _is_answered(part, kind):
            calls.append(_answered(part, kind))
    yield from _step(texts, calls)


def _step(texts: list[str], calls: list[tuple[ToolUse, str]]) -> Iterator[Turn]:
    if texts or calls:
        yield Turn("assistant", "".join(texts), tuple(call for call, _ in calls))
    for call, result in calls:
        yield Turn("tool", result, tool_id=call.tool_id)


def _is_answered(part: dict[str, Any], kind: str) -> bool:
    """Whether a part is a call that a tool of the caller has answered."""
    called = kind == "dynamic-tool" or kind.startswith("tool-")
    return called and part.get("state") in _ANSWERED and not part.get("providerExecuted")


def _answered(part: dict[str, Any], kind: str) -> tuple[ToolUse, str]:
    """A call and what was answered to it."""
    name = _string(part, "toolName") if kind == "dynamic-tool" else kind.removeprefix("tool-")
    given = part.get("input")
    call = ToolUse(_string(part, "toolCallId"), name, given if isinstance(given, dict) else {})
    if not call.tool_id or not name:
        raise invalid("messages", "a part of a tool needs toolCallId and a name")
    if part.get("state") == "output-error":
        return call, _string(part, "errorText")
    output = part.get("output")
    text = output if isinstance(output, str) else lenient_json.dumps(output)
    return call, _checked(text)


def _string(part: dict[str, Any], name: str) -> str:
    value = part.get(name, "")
    if not isinstance(value, str):
        raise invalid("messages", f"a part's {name} must be a string")
    return _checked(value)


def _checked(text: str) -> str:
    try:
        return printable(text) or ""
    except ValueError as error:
        raise invalid("messages", str(error)) from error
