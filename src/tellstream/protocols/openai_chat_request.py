"""The protocol of OpenAI's Chat Completions, inward: the body of a request.

Fields that steer how an answer is sampled and that not every provider has (``top_p``, ``seed``,
penalties) are dropped, like unknown ones. Those that change what a caller gets back (several
choices, stop sequences, log probabilities, audio) are refused unless they ask for nothing.

Source: OpenAI API reference, create chat completion.
"""

from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from tellstream.core.chat import NAMED_TOOL, ChatRequest, ReasoningEffort, ResponseFormat, Turn
from tellstream.protocols.conversation import (
    MAX_MESSAGES,
    Calls,
    Content,
    Limits,
    Loose,
    Name,
    OfferedTool,
    conversation,
    decoded,
    invalid,
)
from tellstream.protocols.native import MAX_METADATA_KEYS, MAX_TOOLS

_EFFORTS: Final[dict[str, ReasoningEffort]] = {
    "none": "none",
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
"""The last two lie above the highest that providers have in common."""
_CHOICES: Final = frozenset({"auto", "none", "required"})
_SYSTEM: Final = frozenset({"system", "developer"})


class CompletionMessage(Loose):
    """One message."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content = None
    refusal: Content = None
    tool_calls: Calls | None = None
    tool_call_id: Name | None = None

    @model_validator(mode="after")
    def _answers_a_call(self) -> "CompletionMessage":
        if self.role == "tool" and self.tool_call_id is None:
            raise ValueError("a message of a tool needs tool_call_id")
        return self

    def turn(self) -> Turn:
        """Read a message of user, assistant or tool."""
        if self.role == "tool":
            return Turn("tool", self.content or "", tool_id=self.tool_call_id or "")
        if self.role == "user":
            return Turn("user", self.content or "")
        calls = tuple(call.use() for call in self.tool_calls or ())
        return Turn("assistant", self.content or self.refusal or "", calls)


class AnswerSchema(Loose):
    """A JSON schema for the answer."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    json_schema: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class AnswerFormat(Loose):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: AnswerSchema | None = None

    @model_validator(mode="after")
    def _has_its_schema(self) -> "AnswerFormat":
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("json_schema is missing")
        return self

    def wanted(self) -> ResponseFormat | None:
        """Read it."""
        if self.type == "text":
            return None
        if self.json_schema is None:
            return ResponseFormat()
        schema = self.json_schema
        return ResponseFormat(schema.name, schema.json_schema or {}, schema.strict)


class StreamOptions(Loose):
    """What a stream tells besides the answer."""

    include_usage: bool | None = None


def _choice(value: Any) -> Any:
    """Read a tool choice into the neutral form."""
    if isinstance(value, dict) and value.get("type") == "function":
        function = value.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if isinstance(name, str) and name:
            return NAMED_TOOL + name
    elif value is None or (isinstance(value, str) and value in _CHOICES):
        return value
    raise ValueError("must be auto, none, required, or name one function")


class CompletionBody(Loose):
    """The request body."""

    messages: Annotated[list[CompletionMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    model: Name | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = (
        None
    )
    tools: Annotated[list[OfferedTool], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: Annotated[str | None, BeforeValidator(_choice)] = None
    response_format: AnswerFormat | None = None
    metadata: Annotated[dict[str, str], Field(max_length=MAX_METADATA_KEYS)] | None = None
    # What cannot be had: accepted only where it asks for nothing.
    n: Any = None
    stop: Any = None
    logprobs: Any = None
    top_logprobs: Any = None
    logit_bias: Any = None
    modalities: Any = None
    audio: Any = None
    functions: Any = None
    function_call: Any = None
    web_search_options: Any = None

    @field_validator("n")
    @classmethod
    def _one_choice(cls, value: Any) -> Any:
        if value not in (None, 1):
            raise ValueError("only one choice can be had")
        return value

    @field_validator("modalities")
    @classmethod
    def _text_only(cls, value: Any) -> Any:
        if value not in (None, [], ["text"]):
            raise ValueError("only text can be had")
        return value

    @field_validator(
        "stop", "logprobs", "top_logprobs", "logit_bias", "audio", "functions", "function_call",
        "web_search_options",
    )  # fmt: skip
    @classmethod
    def _nothing(cls, value: Any) -> Any:
        if value:
            raise ValueError("is not supported")
        return value


class Asked(NamedTuple):
    """What a body asks for.

    Attributes:
        chat: the neutral request.
        stream: answer with events.
        include_usage: end them with the usage.
    """

    chat: ChatRequest
    stream: bool
    include_usage: bool


def parse(raw: bytes, limits: Limits) -> Asked:
    """Parse a request body.

    Raises:
        RequestError: ``invalid_request``, it is not JSON; ``validation_error`` with details.
    """
    body = decoded(CompletionBody, raw)
    said = conversation(
        [message.turn() for message in body.messages if message.role not in _SYSTEM],
        [message.content or "" for message in body.messages if message.role in _SYSTEM],
        limits,
    )
    tools = tuple(tool.function.tool() for tool in body.tools or ())
    choice = body.tool_choice
    named = choice.removeprefix(NAMED_TOOL) if choice and choice.startswith(NAMED_TOOL) else None
    if named is not None and named not in {tool.name for tool in tools}:
        raise invalid("tool_choice", "names a function that is not in tools")
    effort = body.reasoning_effort
    chat = ChatRequest(
        prompt=said.prompt,
        history=said.history,
        system=said.system,
        model=body.model,
        metadata=body.metadata,
        max_output_tokens=body.max_completion_tokens or body.max_tokens,
        temperature=body.temperature,
        reasoning_effort=None if effort is None else _EFFORTS[effort],
        tools=tools,
        tool_choice=choice,
        response_format=body.response_format.wanted() if body.response_format else None,
    )
    usage = body.stream_options is not None and bool(body.stream_options.include_usage)
    return Asked(chat, bool(body.stream), usage)
