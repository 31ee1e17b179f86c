"""What may stand in a log line: the rules, and the filter that applies them.

A field is judged by its name, then its text by what it looks like. Whatever is left is made
harmless (no control characters, bounded size) and plain (text, numbers, true, false, null, arrays,
objects), so that writing it cannot fail. What the task was told in
confidence (``core.private``) is not quoted either. Knows nothing of logging.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

from tellstream.core.errors import CODES
from tellstream.core.private import PRIVATE
from tellstream.telemetry.quotes import Quotable

MAX_FIELD_BYTES: Final = 1000
"""UTF-8 bytes of one text; the rest is cut off."""
MAX_EXCEPTION_BYTES: Final = 16_000
"""UTF-8 bytes of a traceback, whose end says most: its beginning is cut off."""
MAX_SCANNED_CHARS: Final = 8 * MAX_FIELD_BYTES
"""Of one text are looked at; a secret that straddles this is cut off with the rest anyway."""
MAX_ITEMS: Final = 50
"""Of one array or object."""
MAX_DEPTH: Final = 4
"""Of arrays and objects in each other; what is deeper is shown as text."""
MAX_HIDDEN: Final = 1000
"""Known secrets that are looked for in every text: about 0.1 ms per line at most."""
MIN_HIDDEN_CHARS: Final = 8
"""Anything shorter is no secret, and hiding it would blank out common words."""
_MAX_PLAIN_NUMBER: Final = 2**63
"""JSON readers lose larger integers."""
_MAX_SMALL_CODE: Final = 1000
"""Exit codes and HTTP statuses are smaller; one-time codes are not."""

SECRET: Final = "[secret]"  # noqa: S105 - what is shown instead of one
ASKED: Final = "[private]"
CUT: Final = "…"


class NameRule(NamedTuple):
    """A field whose whole name matches is not shown (names in lower case, ``_`` for ``-``)."""

    label: str
    pattern: re.Pattern[str]
    shown: str = SECRET


class TextRule(NamedTuple):
    """A part of a text that matches is replaced."""

    label: str
    pattern: re.Pattern[str]
    replacement: str


NAME_RULES: Final = (
    NameRule("authorization", re.compile(r".*authorization")),
    NameRule("cookie", re.compile(r".*cookie\d?")),
    NameRule("API key", re.compile(r".*(api_?key|private_key|encryption_key).*")),
    NameRule("code", re.compile(r"(auth_|user_|device_|one_time_)?code(_verifier)?")),
    NameRule("token", re.compile(r".*token.*")),
    NameRule("secret", re.compile(r".*secret.*")),
    NameRule("password", re.compile(r".*(password|passwd|passphrase).*")),
    NameRule("credential", re.compile(r".*(credential|assertion).*")),
    NameRule("asked", re.compile(r"prompt|system|history|messages|tools"), ASKED),
    NameRule(
        "answered",
        re.compile(r"completion|content|text|thinking|delta|arguments|result|body"),
        ASKED,
    ),
)
"""What may not be shown whatever its value is."""

TEXT_RULES: Final = (
    TextRule(
        "credentials after a scheme",
        re.compile(r"\b(bearer|basic|dpop)\s{1,4}[\w.~+/=-]{8,}", re.IGNORECASE),
        rf"\1 {SECRET}",
    ),
    TextRule("JSON Web Token", re.compile(r"\beyJ[\w-]{4,500}\.[\w-]+(\.[\w-]*)*"), SECRET),
    TextRule("password in an address", re.compile(r"(://)[^\s\"'<>]{0,300}@"), rf"\1{SECRET}@"),
    TextRule(
        "named value",
        re.compile(
            r"(token|secret|password|passwd|passphrase|api[_-]?key|authorization|cookie)"
            r"((?>[\"']?\s{0,4}[:=]\s{0,4}(?:(?:bearer|basic)\s)?(?:b(?=[\"']))?[\"']?))"
            r"(?!\d+\b|\[secret\])[^\s\"'&,;})]+",
            re.IGNORECASE,
        ),
        rf"\1\2{SECRET}",
    ),
    TextRule(
        "value in a query",
        re.compile(r"([?&](?:code|key|sig|signature)=)[^\s&\"'#]+"),
        rf"\1{SECRET}",
    ),
    TextRule(
        "provider key",
        re.compile(r"\b(?:(?:sk|xai|gsk|pk|rk|hf|r8)[_-]|AIza)[\w*-]{8,}"),
        SECRET,
    ),
)
"""What is not shown wherever it stands. Strangers write these texts: all repeats are bounded, or
consume what they pass, so that the time is linear in the text."""

# C0, DEL, C1, the line ends of Unicode, characters that turn the direction of text, surrogates.
_CONTROL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_CONTROL_BUT_NEWLINE: Final = re.compile(
    _CONTROL.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f")
)
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

MAX_KNOWN_NAMES: Final = 1000
"""Names of fields whose rule is remembered; ours are some hundred."""
MAX_KNOWN_TEXTS: Final = 1000
"""Short texts of which is remembered that no rule changes them: names of models and occurrences."""
MAX_INERT_CHARS: Final = 64
"""Of such a text."""
# Nothing but what identifiers, words and numbers are made of. Of all rules for texts, only those
# for JSON Web Tokens and for keys can match it, and these begin as stands here.
_WORD: Final = re.compile(r"(?!.*(?:eyJ|sk|xai|gsk|pk|rk|hf|r8|AIza))[\w.-]{0,64}", re.ASCII)

Plain: TypeAlias = "str | int | float | bool | list[Plain] | dict[str, Plain] | None"


class Redactor:
    """Applies the rules.

    Args:
        names: rules for fields.
        texts: rules for parts of texts, in order.
    """

    def __init__(
        self,
        names: Iterable[NameRule] = NAME_RULES,
        texts: Iterable[TextRule] = TEXT_RULES,
    ) -> None:
        self._names = tuple(names)
        self._texts = tuple(texts)
        self._usual = self._texts == TEXT_RULES
        self._inert = lru_cache(MAX_KNOWN_TEXTS)(self._is_inert)
        self._hidden: dict[str, None] = {}
        self._shown_instead = lru_cache(MAX_KNOWN_NAMES)(self._judge)
        self._open: set[str] = set()  # names that say nothing of their values

    def hide(self, secrets: Iterable[str]) -> None:
        """Never show these values, such as provider keys, wherever they stand.

        Those shorter than ``MIN_HIDDEN_CHARS`` are passed over; of more than ``MAX_HIDDEN`` the
        newest are hidden.
        """
        for secret in secrets:
            if len(secret) >= MIN_HIDDEN_CHARS:
                self._hidden.pop(secret, None)
                self._hidden[secret] = None
        while len(self._hidden) > MAX_HIDDEN:
            del self._hidden[next(iter(self._hidden))]

    def fields(self, given: Mapping[str, Any]) -> dict[str, Plain]:
        """Return the fields of a line as they may be shown."""
        return self._object(given, 0)

    def text(self, text: str, *, max_bytes: int = MAX_FIELD_BYTES) -> str:
        """Return a text as it may be shown, on one line."""
        if len(text) <= MAX_INERT_CHARS and self._inert(text):
            return self._unquoted(text)
        shown = _CONTROL.sub(_escape, self._mask(text[:MAX_SCANNED_CHARS]))
        return _cut(shown if len(text) <= MAX_SCANNED_CHARS else shown + CUT, max_bytes)

    def exception(self, text: str) -> str:
        """Return a traceback as it may be shown; its line ends stay."""
        shown = _CONTROL_BUT_NEWLINE.sub(_escape, self._mask(text[-2 * MAX_EXCEPTION_BYTES :]))
        encoded = shown.encode()
        if len(encoded) <= MAX_EXCEPTION_BYTES:
            return shown
        return CUT + encoded[-MAX_EXCEPTION_BYTES:].decode(errors="ignore")

    def _object(self, given: Mapping[Any, Any], depth: int) -> dict[str, Plain]:
        shown: dict[str, Plain] = {}
        for name, value in islice(given.items(), MAX_ITEMS):
            if name in self._open:
                shown[name] = self.text(value) if type(value) is str else self._value(value, depth)
                continue
            label = _as_text(name)
            shown[label if label.isidentifier() else self.text(label)] = self._member(
                label, value, depth
            )
        return shown

    def _member(self, name: str, value: Any, depth: int) -> Plain:
        """Judge a value by its name first."""
        shown = self._shown_instead(name)
        if shown is not None and not _harmless(name, value):
            return shown
        if name == "exception" and isinstance(value, str):
            return self.exception(value)
        if shown is None and name != "exception" and name.isidentifier():
            self._open_name(name)
        return self._value(value, depth)

    def _open_name(self, name: str) -> None:
        if len(self._open) < MAX_KNOWN_NAMES:
            self._open.add(name)

    def _is_inert(self, text: str) -> bool:
        """Whether no rule changes a text; what was told in confidence is another matter."""
        if self._usual and _WORD.fullmatch(text):
            return True
        if _CONTROL.search(text):
            return False
        return not any(rule.pattern.search(text) for rule in self._texts)

    def _judge(self, name: str) -> str | None:
        """Say what is shown instead of a field with this name, if its value is not harmless."""
        known = name.lower().replace("-", "_")
        return next((rule.shown for rule in self._names if rule.pattern.fullmatch(known)), None)

    def _value(self, value: Any, depth: int) -> Plain:
        if type(value) is str:
            return self.text(value)
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, int) and abs(value) < _MAX_PLAIN_NUMBER:
            return int(value)
        if depth < MAX_DEPTH and isinstance(value, Mapping):
            return self._object(value, depth + 1)
        if depth < MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
            return self._array(list(value)[:MAX_ITEMS], depth + 1)
        return self.text(_as_text(value))

    def _array(self, items: list[Any], depth: int) -> Plain:
        """Judge items; pairs, as of raw headers, by the name in front."""
        shown: list[Plain] = []
        for item in items:
            pair = item if isinstance(item, tuple | list) else ()
            if len(pair) == 2 and isinstance(pair[0], str | bytes):  # noqa: PLR2004 - name, value
                name = _as_text(pair[0])
                shown.append([self.text(name), self._member(name, pair[1], depth)])
            else:
                shown.append(self._value(item, depth))
        return shown

    def _mask(self, text: str) -> str:
        text = self._unquoted(text)
        for rule in self._texts:
            text = rule.pattern.sub(rule.replacement, text)
        return text

    def _unquoted(self, text: str) -> str:
        """Take out what was told in confidence, and the secrets that are known."""
        private = PRIVATE.get()
        if private is not None:
            if private.prepared is None:
                private.prepared = Quotable(private.texts)
            text = private.prepared.mask(text, ASKED)
        for secret in self._hidden:
            if secret in text:
                text = text.replace(secret, SECRET)
        return text


def _harmless(name: str, value: Any) -> bool:
    """Whether a value says nothing although its name sounds like it: counts, our error codes."""
    if value is None or isinstance(value, bool):
        return True
    if name == "code":
        small = isinstance(value, int) and abs(value) < _MAX_SMALL_CODE
        return small or (isinstance(value, str) and value in CODES)
    return name.endswith("tokens") and isinstance(value, int | float)


def _as_text(value: Any) -> str:
    """Show any object; its own mistakes while doing so must not become ours."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray):
        return bytes(value[:MAX_SCANNED_CHARS]).decode(errors="backslashreplace")
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - any class's own __repr__ runs here
        return f"<a {type(value).__name__} that cannot be shown>"


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return _SHORT.get(character) or f"\\u{ord(character):04x}"


def _cut(text: str, max_bytes: int) -> str:
    encoded = text.encode()
    if len(encoded) <= max_bytes:
        return text
    return encoded[: max_bytes - len(CUT.encode())].decode(errors="ignore") + CUT
