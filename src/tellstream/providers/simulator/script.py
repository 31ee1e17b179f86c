"""The script of an answer: a model name, read into frozen decisions.

``sim`` alone or an alias names a ready script; ``sim:key=value,key=value`` writes one, with the
keys of keys.py.

Invariant: a name has exactly one reading. It becomes a Script, or it is refused with the key that
is wrong; nothing is corrected silently. This file does not look at requests or at the clock.
"""

from functools import lru_cache
from typing import Any, Final

import msgspec

from tellstream.providers.simulator.keys import (
    BEFORE_HEAD,
    BREAKING,
    CUTS,
    EXTRA_FRAMES,
    SCRIPT_KEYS,
    Fault,
)

BASE_NAME: Final = "sim"
MAX_NAME_CHARACTERS: Final = 8_192  # a model name is repeated in every frame
_FLAP_STATUS: Final = 503


class UnknownModelError(Exception):
    """No script has this name."""


class ScriptError(Exception):
    """A script that cannot be read; ``key`` is the key at fault."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}")
        self.key = key


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What one answer says, how fast, and what goes wrong. SCRIPT_KEYS explains each field."""

    words: int | None = None
    text: str | None = None
    echo: bool = False
    mark: str = ""
    stamp: bool = False
    seed: int = 0
    think: int = 0
    tools: int = 0
    refusal: bool = False
    finish: str = ""
    cached: int = 0
    usage: str = "asked"
    done: bool = True
    head_ms: float = 0.0
    first_ms: float = 0.0
    delay_ms: float = 0.0
    pings: bool = False
    ping_ms: float = 1_000.0
    chunk: int = 0
    together: bool = False
    drip: bool = False
    gzip: bool = False
    status: int = 0
    code: str = ""
    retry_after: str = ""
    redirect: bool = False
    body: str = ""
    fault: Fault | None = None
    at: int = 0
    byte: int | None = None
    times: int = 0
    flap: int = 0

    @property
    def breaks(self) -> bool:
        """Whether the response as a whole counts as failed."""
        return bool(self.status or self.redirect or self.body) or self.fault in BREAKING

    def healed(self) -> "Script":
        """Return the same answer without its failures."""
        return msgspec.structs.replace(self, status=0, redirect=False, body="", fault=None)

    def nth(self, asked: int) -> "Script":
        """Return what the ``asked``-th request with this name gets, counted from 1."""
        if self.times and asked > self.times:
            return self.healed()
        if not self.flap:
            return self
        if asked % self.flap:
            return self.healed()
        fails = self != self.healed()
        return self if fails else msgspec.structs.replace(self, status=_FLAP_STATUS)


class Alias(msgspec.Struct, frozen=True):
    """A short name: the options it stands for, and what it shows."""

    options: str
    help: str


_PACE: Final = "first_ms=100,delay_ms=15"

ALIASES: Final[dict[str, Alias]] = {
    "sim": Alias(_PACE, "a short friendly answer"),
    "sim-fast": Alias("", "the same without any delay"),
    "sim-slow": Alias("first_ms=2000,delay_ms=250", "the same, slowly"),
    "sim-long": Alias("first_ms=100,delay_ms=5,words=1000", "a thousand words"),
    "sim-thinking": Alias(f"{_PACE},think=40", "thinks before it answers"),
    "sim-tools": Alias(f"{_PACE},tools=1", "calls the first tool the request declares"),
    "sim-refusal": Alias(
        f"{_PACE},refusal=1,text=I%27m sorry%2C but I cannot help with that.", "refuses"
    ),
    "sim-length": Alias(f"{_PACE},words=40,finish=length", "runs into its output limit"),
    "sim-cut": Alias(f"{_PACE},fault=eof,at=12", "breaks off in the middle of its text"),
    "sim-stall": Alias(f"{_PACE},fault=stall,at=12", "falls silent in the middle of its text"),
    "sim-error": Alias(f"{_PACE},fault=error,at=12", "reports an error in the middle of its text"),
    "sim-busy": Alias("status=429,retry_after=2", "is busy: 429 with Retry-After"),
}


@lru_cache(maxsize=1_024)
def parse_model(name: str) -> Script:
    """Read a model name.

    Raises:
        UnknownModelError: the name is no alias and does not begin with ``sim:``.
        ScriptError: an option is unknown, malformed, out of range or contradicts another.
    """
    alias = ALIASES.get(name)
    if alias is not None:
        return _read_options(alias.options)
    base, colon, options = name.partition(":")
    if not colon or base not in ALIASES:
        raise UnknownModelError(name)
    if base != BASE_NAME:
        raise ScriptError(base, f"takes no options; write sim:{ALIASES[base].options} and add them")
    if len(name) > MAX_NAME_CHARACTERS:
        raise ScriptError("model", f"the name is longer than {MAX_NAME_CHARACTERS} characters")
    return _read_options(options)


def _read_options(options: str) -> Script:
    fields: dict[str, Any] = {}
    for option in options.split(",") if options else ():
        key, equals, value = option.partition("=")
        known = SCRIPT_KEYS.get(key)
        if known is None or not equals:
            raise ScriptError(key, f"is not a key=value the simulator knows: {_names()}")
        if key in fields:
            raise ScriptError(key, "is given twice")
        try:
            fields[key] = known.read(value)
        except (ValueError, KeyError):
            raise ScriptError(key, f"{value!r} is not one of {known.values}") from None
    _check_together(fields)
    return Script(**fields)


def _names() -> str:
    return ", ".join(SCRIPT_KEYS)


# They say something else, or write words in pieces.
_NO_STAMPS: Final = frozenset({"text", "echo", "mark", "chunk", "drip", "gzip"})


def _check_together(fields: dict[str, Any]) -> None:
    for key, wrong, message in _contradictions(fields):
        if key in fields and wrong:
            raise ScriptError(key, message)


def _contradictions(fields: dict[str, Any]) -> tuple[tuple[str, bool, str], ...]:
    """List (key, whether it is wrong here, why): every rule that needs two keys."""
    fault = fields.get("fault")
    before_head = {Fault.RESET, Fault.EOF, Fault.STALL}
    return (
        ("text", "words" in fields or "echo" in fields, "excludes words and echo"),
        ("echo", "words" in fields, "excludes words"),
        ("mark", "text" in fields or "echo" in fields, "excludes text and echo"),
        ("stamp", bool(fields.keys() & _NO_STAMPS), f"excludes {', '.join(sorted(_NO_STAMPS))}"),
        ("at", fault not in CUTS | EXTRA_FRAMES, "needs a fault that happens at a frame"),
        ("at", "byte" in fields, "excludes byte"),
        (
            "at",
            fields.get("at") == BEFORE_HEAD and fault not in before_head,
            "before the head there can only be reset, eof or stall",
        ),
        ("byte", fault not in CUTS, "needs fault=reset, eof, end or stall"),
        ("together", fault is Fault.ENDLESS, "cannot hold an endless body"),
        ("flap", "times" in fields, "excludes times"),
    )
