"""The keys of a script: what each takes, what it does, and how its value is read. Tables, mostly.

Invariant: a value is read or refused, whatever it is; reading depends on nothing else. Which keys
exclude each other is decided in script.py. The help and the documentation print these tables.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Final
from urllib.parse import unquote

import msgspec

from tellstream.providers.simulator.failure import FAILURES

MAX_WORDS: Final = 100_000  # about 25 MB on the wire
_MAX_MS: Final = 600_000  # nothing here lasts longer than ten minutes
_MAX_BYTES: Final = 1 << 30
BEFORE_HEAD: Final = -1


class Fault(StrEnum):
    """What goes wrong inside a response; the three groups below say where it is applied."""

    RESET = "reset"
    EOF = "eof"
    END = "end"
    STALL = "stall"
    GARBLE = "garble"
    BADUTF8 = "badutf8"
    HUGEEVENT = "hugeevent"
    ERROR = "error"
    ERRORAFTER = "errorafter"
    ENDLESS = "endless"
    DUPFINISH = "dupfinish"
    AFTERFINISH = "afterfinish"
    AFTERDONE = "afterdone"


# They end the body, at a frame or at a byte.
CUTS: Final = frozenset({Fault.RESET, Fault.EOF, Fault.END, Fault.STALL})
# They add one frame at a frame index; the error frame is then the last one.
EXTRA_FRAMES: Final = frozenset({Fault.GARBLE, Fault.BADUTF8, Fault.HUGEEVENT, Fault.ERROR})
# Those of them, and of the faults in what is said, that keep a request from counting as complete.
BREAKING: Final = CUTS | {Fault.ERROR, Fault.ERRORAFTER}


class Key(msgspec.Struct, frozen=True):
    """One key of the language: which values it takes, what it does, and how it is read."""

    values: str
    help: str
    read: Callable[[str], object]


def _integer(low: int, high: int, text: str) -> Key:
    def read(value: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,10}", value) or not low <= int(value) <= high:
            raise ValueError
        return int(value)

    return Key(f"{low}..{high}", text, read)


def _milliseconds(low: float, text: str) -> Key:
    def read(value: str) -> float:
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value):
            raise ValueError
        if not low <= float(value) <= _MAX_MS:
            raise ValueError
        return float(value)

    return Key(f"{low:g}..{_MAX_MS}", text, read)


def _flag(text: str) -> Key:
    return Key("0|1", text, {"0": False, "1": True}.__getitem__)


def _choice(values: tuple[str, ...], text: str) -> Key:
    return Key("|".join(values), text, {value: value for value in values}.__getitem__)


def _pattern(pattern: str, values: str, text: str) -> Key:
    def read(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError
        return value

    return Key(values, text, read)


def _percent_decoded(value: str) -> str:
    return unquote(value, errors="strict")  # UnicodeDecodeError is a ValueError


SCRIPT_KEYS: Final[dict[str, Key]] = {
    # What is said.
    "words": _integer(0, MAX_WORDS, "exactly this many text deltas, one word each"),
    "text": Key("percent-encoded text", "say exactly this, word by word", _percent_decoded),
    "echo": _flag("repeat the user's last message, word by word"),
    "mark": _pattern(
        r"[A-Za-z0-9._-]{1,64}", "a word", "say mark1 mark2 mark3 ..., to tell streams apart"
    ),
    "stamp": _flag("say when each word is written: microseconds of the monotonic clock"),
    "seed": _integer(0, 1_000_000_000, "start the prose elsewhere; shifts `created` too"),
    "think": _integer(0, MAX_WORDS, "this many thinking deltas before the text"),
    "tools": _integer(
        0, 32, "this many parallel calls, fragments interleaved, if the request declares tools"
    ),
    "refusal": _flag("send the text as a refusal"),
    "finish": _choice(
        ("stop", "length", "tool_calls", "content_filter", "none"),
        "finish reason (default: what fits; none: leave it out)",
    ),
    "cached": _integer(
        0, MAX_WORDS, "so many tokens of the prompt, at most all, were read from a cache"
    ),
    "usage": _choice(
        ("asked", "end", "finish", "none"),
        "where usage goes: at the end if the request asked, at the end, on the finish, nowhere",
    ),
    "done": _flag("send the terminal marker (default 1)"),
    # How fast, and in which pieces.
    "head_ms": _milliseconds(0, "wait before the response head"),
    "first_ms": _milliseconds(0, "wait between the head and the first token"),
    "delay_ms": _milliseconds(0, "wait between frames"),
    "pings": _flag("send keep-alives while waiting"),
    "ping_ms": _milliseconds(1, "wait between keep-alives (default 1000)"),
    "chunk": _integer(1, _MAX_BYTES, "write the body in pieces of this many bytes"),
    "together": _flag("write all frames at once"),
    "drip": _flag("pace bytes instead of frames: one piece (chunk, default 1 byte) per delay_ms"),
    "gzip": _flag("compress the body, whatever the request accepts"),
    # What goes wrong.
    "status": _integer(400, 599, "answer with this HTTP status and the body it usually has"),
    "code": _choice(tuple(FAILURES), "the code of the error (default: what fits the status)"),
    "retry_after": _pattern(
        r"(date:)?[0-9]{1,6}", "seconds | date:seconds", "Retry-After of an error, number or date"
    ),
    "redirect": _flag("answer with a redirect"),
    "body": _choice(("html", "json"), "answer with the wrong kind of body"),
    "fault": Key("|".join(Fault), "what goes wrong inside the response", Fault),
    "at": _integer(
        BEFORE_HEAD, MAX_WORDS, "at which frame: 0 before the first one, -1 before the head"
    ),
    "byte": _integer(0, _MAX_BYTES, "cut after exactly this many body bytes instead"),
    "times": _integer(
        0, 1_000_000, "fail only the first this many requests with this model name (0: all)"
    ),
    "flap": _integer(
        0,
        1_000_000,
        "fail only every this-many-th request with this model name (0: all), with 503 unless "
        "another failure is given",
    ),
}
