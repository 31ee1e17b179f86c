"""What the composer keeps while parts of a stream are still arriving."""

from typing import Any

from tellstream.core import events as ev
from tellstream.core import lenient_json


class PendingTool:
    """A tool call that is still arriving."""

    __slots__ = ("arguments", "fragments", "name", "said", "tool_id")

    def __init__(self) -> None:
        self.tool_id = ""
        self.name = ""
        self.fragments: list[str] = []
        self.said = 0  # fragments already emitted
        self.arguments: dict[str, Any] | None = None  # set when the call arrived decoded


class TextBlock:
    """A text block, kept for the citations of ``stream_end``."""

    __slots__ = ("citations", "text")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.citations: list[ev.Citation] = []


def citation_parts(blocks: list[TextBlock]) -> list[ev.CitationPart] | None:
    """Return the cited texts as ``stream_end`` has them; None if nothing was cited."""
    parts = [ev.CitationPart("".join(b.text), b.citations) for b in blocks if b.citations]
    return parts or None


def parse_arguments(raw: str) -> dict[str, Any] | None:
    """Decode the arguments of a call: nothing means none; None if they are not an object."""
    if not raw.strip():
        return {}
    try:
        value = lenient_json.loads(raw)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
