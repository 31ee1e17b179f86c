"""What is said: a script and a request become abstract pieces, no wire's shape.

Invariant: the same script and turn give the same pieces. Every answer holds a Finish and, unless it
is endless or fails, a Close; what comes after one of them is a fault the script asked for.
Nothing here judges the request: the simulator answers whatever it understands.
"""

import re
from collections.abc import Iterator
from itertools import cycle, islice, repeat, zip_longest
from typing import Any, Final

import msgspec

from tellstream.providers.simulator import prose
from tellstream.providers.simulator.failure import Failure, failure
from tellstream.providers.simulator.keys import Fault
from tellstream.providers.simulator.script import Script

_FRAGMENT_CHARACTERS: Final = 8
_QUOTE_CHARACTERS: Final = 60
_SCHEMA_DEPTH: Final = 8  # a schema may nest or refer to itself without end


class Tool(msgspec.Struct, frozen=True):
    """A tool the request declares."""

    name: str
    schema: dict[str, Any]


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A request, as far as an answer depends on it.

    Attributes:
        digest: hexadecimal digest of the request's bytes; ids are made of it.
        question: the user's last message.
        result: the tool result the request ends with, if it ends with one.
        wants_usage: whether the request asked for usage, on wires where one has to ask.
    """

    model: str
    digest: str
    stream: bool = True
    prompt_tokens: int = 1
    question: str = ""
    tools: tuple[Tool, ...] = ()
    result: str | None = None
    wants_usage: bool = False


class Thinking(msgspec.Struct, frozen=True, gc=False):
    """A delta of thinking."""

    text: str


class Text(msgspec.Struct, frozen=True, gc=False):
    """A delta of text."""

    text: str


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A delta of a refusal."""

    text: str


class ToolStart(msgspec.Struct, frozen=True, gc=False):
    """The opening of a tool call."""

    index: int
    id: str
    name: str


class ToolArguments(msgspec.Struct, frozen=True, gc=False):
    """A fragment of a tool call's JSON arguments."""

    index: int
    fragment: str


class Finish(msgspec.Struct, frozen=True, gc=False):
    """Why the answer ends: stop, length, tool_calls, content_filter, or none for no reason."""

    reason: str


class Close(msgspec.Struct, frozen=True, gc=False):
    """The end of the answer: usage and terminal marker, as the script wants them."""


Delta = Thinking | Text | Refusal | ToolStart | ToolArguments
# The same for isinstance, which takes several times as long with a union.
DELTAS: Final = (Text, Thinking, Refusal, ToolStart, ToolArguments)
Piece = Delta | Finish | Failure | Close


def pieces(script: Script, turn: Turn) -> Iterator[Piece]:
    """Say what the script says to this turn."""
    calls = _called_tools(script, turn)
    yield from map(Thinking, islice(_spaced(prose.thinking_words(script.seed)), script.think))
    kind = Refusal if script.refusal else Text
    yield from map(kind, _text(script, turn, calling=bool(calls)))
    yield from _calls(turn, calls)
    yield from _ending(script, script.finish or ("tool_calls" if calls else "stop"))


def _ending(script: Script, reason: str) -> Iterator[Piece]:
    yield Finish(reason)
    if script.fault is Fault.ERRORAFTER:
        yield failure(code=script.code)
        return
    if script.fault is Fault.DUPFINISH:
        yield Finish(reason)
    if script.fault is Fault.AFTERFINISH:
        yield Text(prose.LATE)
    yield Close()
    if script.fault is Fault.AFTERDONE:
        yield Text(prose.LATE)


def _text(script: Script, turn: Turn, *, calling: bool) -> Iterator[str]:
    if script.fault is Fault.ENDLESS:
        return _spaced(cycle(prose.words(script.seed)))
    if script.words is not None or script.mark or script.stamp:
        count = prose.WORDS if script.words is None else script.words
        return islice(_spaced(_words(script)), count)
    if script.text is not None:
        return split_words(script.text)
    if script.echo:
        return split_words(turn.question)
    return iter(()) if calling else split_words(_friendly(turn))


def _words(script: Script) -> Iterator[str]:
    if script.stamp:
        return repeat(prose.STAMP)
    return prose.numbered(script.mark) if script.mark else prose.words(script.seed)


def _friendly(turn: Turn) -> str:
    if turn.result is not None:
        return prose.AFTER_TOOL.format(quote=_quote(turn.result))
    return prose.FRIENDLY.format(quote=_quote(turn.question))


def _quote(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTE_CHARACTERS else line[:_QUOTE_CHARACTERS] + "…"


def _spaced(words: Iterator[str]) -> Iterator[str]:
    for word in islice(words, 1):
        yield word
    for word in words:
        yield " " + word


def split_words(text: str) -> Iterator[str]:
    """Split into words with the white space before them; joined they are the text again."""
    return (match.group() for match in re.finditer(r"\s*\S+|\s+\Z", text))


def _called_tools(script: Script, turn: Turn) -> list[Tool]:
    if turn.result is not None:  # the call has been answered; another one would never end
        return []
    return list(islice(cycle(turn.tools), script.tools))


def _calls(turn: Turn, calls: list[Tool]) -> Iterator[Piece]:
    for index, tool in enumerate(calls):
        yield ToolStart(index, f"call_{turn.digest}{index}", tool.name)
    for fragments in zip_longest(*(_fragments(tool) for tool in calls)):
        for index, fragment in enumerate(fragments):
            if fragment is not None:
                yield ToolArguments(index, fragment)


def _fragments(tool: Tool) -> list[str]:
    text = msgspec.json.encode(sample(tool.schema)).decode()
    return [text[i : i + _FRAGMENT_CHARACTERS] for i in range(0, len(text), _FRAGMENT_CHARACTERS)]


def sample(schema: dict[str, Any]) -> dict[str, Any]:
    """Return an object with the required properties of a JSON schema."""
    value = _sample_object(schema, _SCHEMA_DEPTH)
    return value if isinstance(value, dict) else {}


_SAMPLES: Final[dict[str, Any]] = {
    "string": "simulated",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "array": [],
    "null": None,
}


def _sample_value(schema: Any, depth: int) -> Any:
    if not isinstance(schema, dict) or depth == 0:
        return None
    if "const" in schema:
        return schema["const"]
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    kind = schema.get("type")
    if isinstance(kind, list) and kind:  # a nullable type lists its alternatives
        kind = kind[0]
    kind = kind.lower() if isinstance(kind, str) else kind  # Gemini writes STRING
    if kind == "object":
        return _sample_object(schema, depth)
    return _SAMPLES.get(kind, _SAMPLES["string"]) if isinstance(kind, str) else _SAMPLES["string"]


def _sample_object(schema: dict[str, Any], depth: int) -> Any:
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict) or not isinstance(required, list):
        return {}
    names = (name for name in required if isinstance(name, str))
    return {name: _sample_value(properties.get(name), depth - 1) for name in names}
