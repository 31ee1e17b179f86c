"""What arrives after a stream was cancelled: it is charged for, and said to nobody."""

from typing import Final

from tellstream.core import parts as pt
from tellstream.core.composer import Composer

_SILENT: Final = (pt.Used, pt.Finished, pt.Failed, pt.Done)
"""Parts that no event follows from."""


def count(composer: Composer, parts: list[pt.Part]) -> None:
    """Take note of parts without composing anything of them."""
    for part in parts:
        if isinstance(part, _SILENT):
            composer.feed([part], 0.0)  # time never steps back
        elif isinstance(part, pt.Text | pt.Refusal | pt.Thinking):
            composer.output.say(part.delta)
        elif isinstance(part, pt.ToolFragment):
            composer.output.say(part.arguments)
