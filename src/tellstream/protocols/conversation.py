"""What the request bodies of the other protocols have in common: a list of messages, to a request.

Their last message of a user is the prompt, what stands before it the history, and both are held to
the tenant's limits like those of a native request. Messages of the system, wherever they stand, are
added to the tenant's own instructions, which come first. Fields that are not known are dropped
here, before any other code can see them: these protocols have many, and their clients send more.
"""

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from tellstream.core.chat import Tool, ToolUse, Turn
from tellstream.core.errors import RequestError
from tellstream.protocols.native import MAX_TOOLS, refusal

MAX_MESSAGES: Final = 2000
"""In one body, before the tenant's limit is looked at: a body of 256 KiB holds no more that say
anything."""
# C0 control characters other than tab, line feed and carriage return.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_TEXT_PARTS: Final = {"text": "text", "input_text": "text", "refusal": "refusal"}


class Limits(NamedTuple):
    """What a tenant allows, and what it always says.

    Attributes:
        prompt_chars: of the last message of the user, in Unicode code points.
        history_messages: before it.
        system: the tenant's instructions, or None.
    """

    prompt_chars: int
    history_messages: int
    system: str | None = None


class Loose(BaseModel):
    """A body of a protocol that is not ours: strict in its types, deaf to what is not known."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


def _text(value: Any) -> Any:
    """Join the text parts of a content; other parts (images, files) cannot be understood."""
    if not isinstance(value, list):
        return value
    texts: list[str] = []
    for part in value:
        name = _TEXT_PARTS.get(part.get("type", "")) if isinstance(part, dict) else None
        text = part.get(name) if name else None
        if not isinstance(text, str):
            raise ValueError("must be text, or a list of parts that are text")  # noqa: TRY004 - pydantic's contract
        texts.append(text)
    return "\n".join(texts)


def printable(text: str | None) -> str | None:
    """Let a text pass that holds no control characters.

    Raises:
        ValueError: it holds some.
    """
    if text is not None and _CONTROL.search(text):
        raise ValueError("must not contain control characters")
    return text


Text: TypeAlias = Annotated[str, AfterValidator(printable)]
Content: TypeAlias = Annotated[str | None, BeforeValidator(_text), AfterValidator(printable)]
"""A text, or a list of parts that are text."""
Name: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class CalledFunction(Loose):
    """What a call names, and its arguments as text."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    arguments: str = ""


class EarlierCall(Loose):
    """A call of an earlier answer, as OpenAI's and AG-UI's messages write it."""

    id: Name
    function: CalledFunction

    def use(self) -> ToolUse:
        """Read it; arguments that are no object were none."""
        try:
            arguments = json.loads(self.function.arguments or "{}")
        except (ValueError, RecursionError):
            arguments = {}
        given = arguments if isinstance(arguments, dict) else {}
        return ToolUse(self.id, self.function.name, given)


Calls: TypeAlias = Annotated[list[EarlierCall], Field(max_length=MAX_TOOLS)]


class OfferedFunction(Loose):
    """A function that the caller can run."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    description: Annotated[str, StringConstraints(max_length=8192)] | None = None
    parameters: dict[str, Any] | None = None

    def tool(self) -> Tool:
        """Read it."""
        return Tool(self.name, self.description, self.parameters or {})


class OfferedTool(Loose):
    """A tool; only functions can be called."""

    type: Literal["function"]
    function: OfferedFunction


class Conversation(NamedTuple):
    """What is asked, in the words of a neutral request."""

    prompt: str
    history: tuple[Turn, ...]
    system: str | None


_Body = TypeVar("_Body", bound=BaseModel)


def decoded(model: type[_Body], raw: bytes) -> _Body:
    """Decode a body.

    Raises:
        RequestError: ``invalid_request``, it is not JSON; ``validation_error`` with details.
    """
    try:
        body = model.model_validate_json(raw)
        msgspec.json.decode(raw, type=msgspec.Raw)  # pydantic lets NaN and Infinity through
    except ValidationError as error:
        raise refusal(error) from error
    except msgspec.DecodeError as error:
        raise RequestError("invalid_request", "The body is not valid JSON.") from error
    return body


def conversation(
    turns: Sequence[Turn], instructions: Sequence[str], limits: Limits
) -> Conversation:
    """Divide messages into prompt and history.

    Args:
        turns: the messages of user, assistant and tools, in order.
        instructions: the messages of the system, in order.
        limits: of the tenant.

    Raises:
        RequestError: ``validation_error``: nothing is asked, or more than the tenant allows.
    """
    said = [turn for turn in turns if turn.content or turn.tool_calls or turn.role == "tool"]
    asked = next((turn for turn in reversed(said) if turn.role == "user"), None)
    if asked is None:
        raise invalid("messages", "must hold a message of the user")
    if len(asked.content) > limits.prompt_chars:
        raise invalid(
            "messages", f"the last one of the user must have 1 to {limits.prompt_chars} characters"
        )
    if asked.content.isspace():
        raise invalid("messages", "the last one of the user must not be all white space")
    last = said[-1] is asked
    history = tuple(said[:-1] if last else said)
    if len(history) > limits.history_messages:
        raise invalid(
            "messages", f"at most {limits.history_messages} may stand before the last one"
        )
    system = "\n\n".join(text for text in (limits.system, *instructions) if text)
    return Conversation(asked.content if last else "", history, system or None)


def invalid(field: str, text: str) -> RequestError:
    """Refuse a field."""
    return RequestError("validation_error", details=((field, text),))
