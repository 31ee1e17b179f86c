"""JSON as providers really send it: strict and fast first, lenient second.

Strict decoding refuses lone surrogate escapes (a provider that cuts an emoji in two) and invalid
UTF-8 (a proxy that cut bytes). Both still carry the rest of the answer, so the second attempt
replaces what cannot be text by U+FFFD instead of losing the line.
"""

import json
from typing import Any, Never

import msgspec


def loads(data: bytes | str) -> Any:
    """Decode one JSON value.

    Raises:
        ValueError: it is not JSON (NaN and Infinity are not), or nested too deeply.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error


def dumps(value: Any) -> str:
    """Encode ``value`` without spaces, non-ASCII characters as they are."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is not JSON")
