"""The native protocol, inward: the JSON body of ``POST /v1/chat/stream`` to a neutral request.

Outward nothing is left to do: the log holds native frames. Field rules are design.md section 3.
Validation is pydantic's, strict, on the raw bytes; unknown fields are errors at every level, and no
error echoes input.
"""

import re
from typing import Annotated, Any, Final, Literal, Self

import msgspec
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from tellstream.core import lenient_json
from tellstream.core.chat import NAMED_TOOL, ChatRequest, Tool, ToolUse, Turn
from tellstream.core.errors import RequestError

MAX_PROMPT_CHARS: Final = 2000
MAX_HISTORY_MESSAGES: Final = 20
"""Defaults of the API; a tenant's limits may raise them."""
MAX_METADATA_KEYS: Final = 16
MAX_TOOLS: Final = 128
"""OpenAI's own cap for functions."""

# C0 control characters other than tab, line feed and carriage return.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _printable(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("must not contain control characters")
    return text


class FunctionCallBody(_Strict):
    """A tool call of an earlier assistant message."""

    tool_id: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    tool_name: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    arguments: dict[str, Any]


class HistoryBody(_Strict):
    """One earlier message. A missing role means user first and then alternates."""

    role: Literal["user", "assistant", "tool"] | None = None
    content: str | None = None
    tool_calls: Annotated[list[FunctionCallBody], Field(max_length=MAX_TOOLS)] | None = None
    tool_id: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None
    result: Any = None

    @field_validator("content")
    @classmethod
    def _content(cls, value: str | None) -> str | None:
        return None if value is None else _printable(value)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = self.model_fields_set
        if self.role == "tool":
            if self.tool_id is None or "result" not in given:
                raise ValueError("a tool message needs tool_id and result")
            if given & {"content", "tool_calls"}:
                raise ValueError("a tool message has only tool_id and result")
            return self
        if given & {"tool_id", "result"}:
            raise ValueError("only a tool message has tool_id and result")
        if self.tool_calls is not None and self.role != "assistant":
            raise ValueError("only an assistant message has tool_calls")
        if not self.content and not (self.tool_calls and self.content is not None):
            raise ValueError("content must be a non-empty string")
        return self


class FunctionBody(_Strict):
    """A function the caller can run."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    description: Annotated[str, StringConstraints(max_length=8192)] | None = None
    parameters: dict[str, Any] = {}


class ToolBody(_Strict):
    """A tool; only functions exist."""

    type: Literal["function"]
    function: FunctionBody


class NamedFunction(_Strict):
    """The name of a function."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]


class NamedToolChoice(_Strict):
    """The one function to call."""

    type: Literal["function"]
    function: NamedFunction


class ChatBody(_Strict):
    """The request body."""

    prompt: str = Field(description="1-2000 Unicode code points, not all white space.")
    history: list[HistoryBody] | None = Field(None, description="At most 20 earlier messages.")
    model: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None
    metadata: dict[str, str] | None = Field(None, max_length=MAX_METADATA_KEYS)
    max_output_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = None
    tools: Annotated[list[ToolBody], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedToolChoice | None = None

    @field_validator("prompt")
    @classmethod
    def _prompt(cls, value: str, info: ValidationInfo) -> str:
        most = _limit(info, "prompt_chars", MAX_PROMPT_CHARS)
        if not 1 <= len(value) <= most:
            raise ValueError(f"must have 1 to {most} characters")
        if value.isspace():
            raise ValueError("must not be all white space")
        return _printable(value)

    @field_validator("history")
    @classmethod
    def _history(
        cls, value: list[HistoryBody] | None, info: ValidationInfo
    ) -> list[HistoryBody] | None:
        most = _limit(info, "history_messages", MAX_HISTORY_MESSAGES)
        if value is not None and len(value) > most:
            raise ValueError(f"must have at most {most} items")
        return value

    @model_validator(mode="after")
    def _choice_names_a_tool(self) -> Self:
        names = {tool.function.name for tool in self.tools or ()}
        choice = self.tool_choice
        if isinstance(choice, NamedToolChoice) and choice.function.name not in names:
            raise ValueError("tool_choice names a function that is not in tools")
        return self


def parse(
    raw: bytes,
    *,
    prompt_chars: int = MAX_PROMPT_CHARS,
    history_messages: int = MAX_HISTORY_MESSAGES,
    system: str | None = None,
) -> ChatRequest:
    """Parse a request body.

    Args:
        raw: the bytes of the body.
        prompt_chars: the tenant's limit, in Unicode code points.
        history_messages: the tenant's limit.
        system: the tenant's instructions.

    Raises:
        RequestError: ``invalid_request``, it is not JSON; ``validation_error`` with details.
    """
    limits = {"prompt_chars": prompt_chars, "history_messages": history_messages}
    try:
        body = ChatBody.model_validate_json(raw, context=limits)
        msgspec.json.decode(raw, type=msgspec.Raw)  # pydantic lets NaN and Infinity through
    except ValidationError as error:
        raise refusal(error) from error
    except msgspec.DecodeError as error:
        raise RequestError("invalid_request", "The body is not valid JSON.") from error
    choice = body.tool_choice
    return ChatRequest(
        prompt=body.prompt,
        history=_turns(body.history or []),
        system=system,
        model=body.model,
        metadata=body.metadata,
        max_output_tokens=body.max_output_tokens,
        temperature=body.temperature,
        reasoning_effort=body.reasoning_effort,
        tools=tuple(
            Tool(t.function.name, t.function.description, t.function.parameters)
            for t in body.tools or ()
        ),
        tool_choice=NAMED_TOOL + choice.function.name
        if isinstance(choice, NamedToolChoice)
        else choice,
    )


def refusal(error: ValidationError) -> RequestError:
    """Say what is wrong with a body, field by field, without repeating it."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    if any(problem["type"] == "json_invalid" for problem in problems):
        return RequestError("invalid_request", "The body is not valid JSON.")
    details = {
        (_path(problem["loc"]), problem["msg"].removeprefix("Value error, ")): None
        for problem in problems
    }
    return RequestError("validation_error", details=tuple(details))


def _path(location: tuple[int | str, ...]) -> str:
    """Name the field; what a caller made up (an unknown key) is cut and stripped.

    pydantic adds the tried member of the one union to the path, which is no field.
    """
    steps = location if location[:1] != ("tool_choice",) else location[:1] + location[2:]
    return ".".join(_CONTROL.sub("", str(step))[:64] for step in steps)


def _limit(info: ValidationInfo, name: str, default: int) -> int:
    context: dict[str, int] = info.context or {}
    return context.get(name, default)


def _turns(history: list[HistoryBody]) -> tuple[Turn, ...]:
    turns: list[Turn] = []
    for item in history:
        role = item.role or ("assistant" if turns and turns[-1].role != "assistant" else "user")
        if role == "tool":
            text = item.result if isinstance(item.result, str) else lenient_json.dumps(item.result)
            turns.append(Turn("tool", text, tool_id=item.tool_id or ""))
            continue
        calls = tuple(
            ToolUse(call.tool_id, call.tool_name, call.arguments) for call in item.tool_calls or ()
        )
        turns.append(Turn(role, item.content or "", calls))
    return tuple(turns)
