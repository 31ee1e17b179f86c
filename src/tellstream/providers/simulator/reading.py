"""What every wire reads from a request: its JSON, who said what, the tools, and the turn they make.

Invariant: any bytes become a Turn or a RequestError. Equal conversations count equal prompt tokens
on every wire: one per word of a message or a tool result, whatever they are wrapped in.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from tellstream.providers.simulator.answer import Tool, Turn
from tellstream.providers.simulator.wire import RequestError


class Said(NamedTuple):
    """One message: ``role`` is ``user``, ``tool`` for a result, or anything else."""

    role: str
    text: str


def object_of(raw: bytes) -> dict[str, Any]:
    """Decode a request body."""
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        raise RequestError("The body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise RequestError("The body is not a JSON object.")
    return body


def model_of(body: dict[str, Any]) -> str:
    """Return the model of a wire that names it in the body."""
    model = body.get("model")
    if not isinstance(model, str):
        raise RequestError("You must provide a model parameter.")
    return model


def objects_of(body: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return a required array of objects."""
    found = body.get(key)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise RequestError(f"'{key}' must be an array of objects.")
    return found


def dicts(value: Any) -> list[dict[str, Any]]:
    """Return the objects of what may be an array."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def text_of(content: Any) -> str:
    """Return the text of a message, whose content is a string or a list of parts."""
    if isinstance(content, str):
        return content
    texts = (part.get("text") for part in dicts(content))
    return " ".join(text for text in texts if isinstance(text, str))


def tools_of(declared: Iterable[Any], *schema_keys: str) -> tuple[Tool, ...]:
    """Return the declared functions; the first of the keys that is there holds the schema."""
    return tuple(
        Tool(each["name"], next((each[key] for key in schema_keys if _is_object(each, key)), {}))
        for each in declared
        if isinstance(each, dict) and isinstance(each.get("name"), str)
    )


def _is_object(holder: dict[str, Any], key: str) -> bool:
    return isinstance(holder.get(key), dict)


def turn_of(
    raw: bytes,
    model: str,
    said: Sequence[Said],
    tools: tuple[Tool, ...],
    *,
    stream: bool,
    wants_usage: bool = False,
) -> Turn:
    """Put a turn together; ``raw`` is what makes the request different from others."""
    return Turn(
        model=model,
        digest=blake2b(raw, digest_size=12).hexdigest(),
        stream=stream,
        prompt_tokens=max(1, sum(len(text.split()) for _, text in said)),
        question=next((text for role, text in reversed(said) if role == "user"), ""),
        tools=tools,
        result=said[-1].text if said and said[-1].role == "tool" else None,
        wants_usage=wants_usage,
    )
