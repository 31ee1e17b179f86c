"""The words the simulator says. Data and iterators over it, nothing else."""

from collections.abc import Iterator
from itertools import count, cycle, islice
from typing import Final

WORDS: Final = 60  # of an answer that names its words but not their number
LATE: Final = " (too late)"
STAMP: Final = "<monotonic-usec>"  # playback puts the time in its place, in as many digits

FRIENDLY: Final = """\
**Hello from the simulator.** No language model is running here: this answer is scripted, so it is \
the same every time. You wrote:

> {quote}

Other models to try:

- `sim-thinking` thinks before it answers
- `sim-tools` calls a tool you declare
- `sim-cut` breaks off in mid-sentence

Configure a provider key, and a real model answers instead."""

AFTER_TOOL: Final = """\
**Thank you, the simulator has read the tool's result:**

> {quote}

Nothing more needs to be called."""

_TEXT: Final = """\
A stream is a promise kept one word at a time. The first word says that somebody is listening, the \
next that they are still there, and the last that nothing was left out. Between them lies a wire \
that may be slow, or cut, or shared with strangers, and a reader who may leave the room and come \
back. So every word gets a number, every number is written down before it is spoken, and whoever \
returns asks only for what is missing. Rivers do the same with less ceremony: they never repeat \
themselves, they never skip a stone, and they always arrive somewhere."""

_THINKING: Final = """\
Let me see what is being asked before I say anything. The message is short, the tone is friendly, \
and nothing in it needs a tool. I could answer with a list, though a paragraph reads better. First \
the main point, then one example, then stop."""


def words(seed: int) -> Iterator[str]:
    """Yield words of prose for ever, from a place the seed decides."""
    return _from(_TEXT.split(), seed)


def thinking_words(seed: int) -> Iterator[str]:
    """Yield words of thinking for ever, from a place the seed decides."""
    return _from(_THINKING.split(), seed)


def numbered(mark: str) -> Iterator[str]:
    """Yield mark1, mark2, mark3 ... for ever."""
    return (f"{mark}{number}" for number in count(1))


def _from(text: list[str], seed: int) -> Iterator[str]:
    return islice(cycle(text), seed % len(text), None)
