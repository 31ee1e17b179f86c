"""Finding quotations: parts of a text that stand in other, private texts too."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Final

QUOTE_CHARS: Final = 24
"""So many characters in a row that stand in a private text too are a quotation, certainly found.
Shorter ones are also common phrases."""
MIN_WHOLE_CHARS: Final = 8
"""A whole private text is found from this length on."""
MAX_PRIVATE_CHARS: Final = 64 * 1024
"""Of private texts are compared, the first ones first: some milliseconds per line at most."""
_WINDOW: Final = QUOTE_CHARS // 2
"""Windows side by side: a quotation holds a whole one wherever it begins."""
_SAME_IN_JSON: Final = re.compile(r"[ !#-\[\]-~]*")
"""Visible ASCII without quotes and backslashes."""
_RUN: Final = re.compile(rb"\x01{%d,}" % QUOTE_CHARS)


class Quotable:
    """Private texts, prepared for being looked for in many others.

    Args:
        private: the texts.
    """

    __slots__ = ("_shortest", "_source", "_wholes")

    def __init__(self, private: Sequence[str]) -> None:
        spelled = _spelled(private)
        self._wholes = [whole for whole in spelled if len(whole) >= MIN_WHOLE_CHARS]
        self._shortest = min([QUOTE_CHARS, *map(len, self._wholes)])
        self._source = "\0".join(spelled)[:MAX_PRIVATE_CHARS]

    def mask(self, text: str, mask: str) -> str:
        """Replace whatever ``text`` quotes from the private texts."""
        if len(text) < self._shortest:
            return text
        for whole in self._wholes:
            text = text.replace(whole, mask)
        if len(text) < QUOTE_CHARS:
            return text
        shown, done = [], 0
        for run in _RUN.finditer(_quoted(text, self._source)):
            shown += [text[done : run.start()], mask]
            done = run.end()
        return "".join([*shown, text[done:]]) if shown else text


def mask_quotes(text: str, private: Sequence[str], mask: str) -> str:
    """Replace whatever ``text`` quotes from ``private`` texts."""
    return Quotable(private).mask(text, mask)


def _spelled(private: Sequence[str]) -> list[str]:
    """Give texts as they are, and as JSON and JSON within JSON write them: quotes differ there."""
    escaped = [form for text in private for form in _escaped(text[:MAX_PRIVATE_CHARS])]
    return list(dict.fromkeys((*private, *escaped)))


def _escaped(text: str) -> Iterable[str]:
    if _SAME_IN_JSON.fullmatch(text):
        return
    for ascii_only in (True, False):
        once = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield from (once, json.dumps(once, ensure_ascii=ascii_only)[1:-1])


def _quoted(text: str, source: str) -> bytearray:
    """Mark the characters of ``text`` that are part of a window that ``source`` holds too."""
    marks = bytearray(len(text))
    last = len(text) - _WINDOW
    for at in range(0, last + 1, _WINDOW):
        if text[at : at + _WINDOW] in source:
            for near in range(max(0, at - _WINDOW + 1), min(at + _WINDOW, last + 1)):
                if text[near : near + _WINDOW] in source:
                    marks[near : near + _WINDOW] = b"\1" * _WINDOW
    return marks
