"""JSON as providers really send it: strict and fast first, lenient second.

Strict decoding refuses lone surrogate escapes (a provider that cuts an emoji in two) and invalid
UTF-8 (a proxy that cut bytes). Both still carry the rest of the answer, so the second attempt
replaces what cannot be text by U+FFFD instead of losing the line.
"""

import json
from typing import Any, Final, Never

import msgspec

MAX_DEPTH: Final = 200
"""Levels of nesting. Whoever writes the value again stands deeper in the stack than who read it, so
the interpreter's limit alone would let values in that cannot be written."""


def loads(data: bytes | str) -> Any:
    """Decode one JSON value.

    Raises:
        ValueError: it is not JSON (NaN and Infinity are not), or nested too deeply.
    """
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        value = _loads(data.decode("utf-8", "replace") if isinstance(data, bytes) else data)
    # Each level takes two brackets; most lines are too short to be asked.
    if len(data) > 2 * MAX_DEPTH and _brackets(data) > MAX_DEPTH and _too_deep(value):
        raise ValueError("JSON is nested too deeply")
    return value


def dumps(value: Any) -> str:
    """Encode ``value`` without spaces, non-ASCII characters as they are."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _loads(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error


def _brackets(data: bytes | str) -> int:
    """An upper bound of the depth, cheap to know."""
    if isinstance(data, bytes):
        return data.count(b"[") + data.count(b"{")
    return data.count("[") + data.count("{")


def _too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is not JSON")
