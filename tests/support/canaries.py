"""Planted values, and the search for them: nothing that was planted may come out anywhere.

A value is looked for as it is and as encodings disguise it: base64 (at any offset, both alphabets),
percent-encoded, escaped for JSON or for Python, in hexadecimal. Lower and upper case count as one.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, quote_plus

MIN_CHARS = 12
"""A shorter value could be found by chance."""


class Leak(NamedTuple):
    """A planted value was found."""

    planted: str  # its name, not the value
    form: str
    place: str


def forms(value: str) -> dict[str, bytes]:
    """Everything that a value may look like, in lower case."""
    assert len(value) >= MIN_CHARS, "too short to be told from chance"
    raw = value.encode()
    found = {
        "plain": raw,
        "hexadecimal": raw.hex().encode(),
        "percent-encoded": quote(value, safe="").encode(),
        "percent-encoded, slashes kept": quote(value).encode(),
        "form-encoded": quote_plus(value).encode(),
        "JSON": json.dumps(value)[1:-1].encode(),
        "JSON, Unicode kept": json.dumps(value, ensure_ascii=False)[1:-1].encode(),
        "JSON in JSON": json.dumps(json.dumps(value)[1:-1])[1:-1].encode(),
        "Python": repr(value)[1:-1].encode(),
        "UTF-16": value.encode("utf-16-le"),
    }
    for offset in range(3):
        # Only the characters that do not depend on what stands before and after.
        padded = base64.b64encode(bytes(offset) + raw)
        first = (0, 2, 3)[offset]
        last = (offset + len(raw)) * 8 // 6
        found[f"base64 at {offset}"] = padded[first:last]
        found[f"base64url at {offset}"] = padded[first:last].translate(_URL_SAFE)
    return {form: text.lower() for form, text in found.items()}


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def leaks(planted: Mapping[str, str], texts: Mapping[str, str | bytes]) -> list[Leak]:
    """Look for planted values (by name) in texts (by place)."""
    wanted = {name: forms(value) for name, value in planted.items()}
    found = []
    for place, text in texts.items():
        content = (text.encode(errors="replace") if isinstance(text, str) else text).lower()
        found += [
            Leak(name, form, place)
            for name, looks in wanted.items()
            for form, look in looks.items()
            if look in content
        ]
    return found


def contents(paths: Iterable[Path]) -> dict[str, bytes]:
    """Read files, and all files of folders."""
    return {str(file): file.read_bytes() for path in paths for file in _files(path)}


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (file for file in sorted(path.rglob("*")) if file.is_file())
    else:
        yield path
