"""Sources of an answer in the ``gemini`` dialect.

Source: Gemini API reference, ``GroundingMetadata`` and ``CitationMetadata``. Later chunks of a
stream repeat and complete what earlier ones said, and places are counted in bytes of the whole
answer, so sources are collected and told once, at the end: one citation for each distinct one.
A place that does not fit the text is left out.
"""

from itertools import accumulate
from typing import Any, Final, NamedTuple

from tellstream.core.events import Citation
from tellstream.providers.base import count, field, items

_URL: Final = ("http://", "https://")
_CONTINUATION_BITS: Final = 0xC0
_CONTINUATION: Final = 0x80
"""Of bytes that are not the first of their UTF-8 character."""


class _Source(NamedTuple):
    """What tells one source from another."""

    kind: str
    uri: str
    title: str
    text: str
    start: int | None = None
    end: int | None = None


class _Segment(NamedTuple):
    """A piece of the answer, in bytes; ``text`` is empty if the provider did not repeat it."""

    start: int
    end: int
    text: str


class Sources:
    """Collects the sources of one answer."""

    def __init__(self) -> None:
        self._found: dict[_Source, dict[_Segment, None]] = {}  # in order of arrival
        self._chunks: list[_Source | None] = []

    def add(self, candidate: dict[str, Any]) -> None:
        """Read whatever sources a candidate names."""
        self._ground(field(candidate, "groundingMetadata", dict))
        metadata = field(candidate, "citationMetadata", dict)
        for raw in [*items(metadata, "citations"), *items(metadata, "citationSources")]:
            start, end = count(raw, "startIndex"), count(raw, "endIndex")
            source = _source("citation", raw)
            if source is not None:
                segments = self._found.setdefault(source._replace(start=start, end=end), {})
                if end is not None:
                    segments[_Segment(start or 0, end, "")] = None

    def take(self, text: str) -> list[Citation]:
        """Say the sources found so far, given the text of the answer, and forget them."""
        found, self._found = self._found, {}
        places = _Places(text) if found else None
        return [_citation(source, segments, places) for source, segments in found.items()]

    def _ground(self, metadata: dict[str, Any] | None) -> None:
        chunks = items(metadata, "groundingChunks")
        if chunks:
            self._chunks = [_chunk(raw) for raw in chunks]
            for source in self._chunks:
                if source is not None:
                    self._found.setdefault(source, {})
        for support in items(metadata, "groundingSupports"):
            raw = field(support, "segment", dict)
            segment = _Segment(
                count(raw, "startIndex") or 0,
                count(raw, "endIndex") or 0,
                field(raw, "text", str) or "",
            )
            for index in items(support, "groundingChunkIndices"):
                if isinstance(index, int) and 0 <= index < len(self._chunks) and segment.end:
                    cited = self._chunks[index]
                    if cited is not None:
                        self._found.setdefault(cited, {})[segment] = None


class _Places:
    """Where characters stand in the bytes of a text."""

    def __init__(self, text: str) -> None:
        self._bytes = text.encode("utf-8", "replace")
        self._characters = [0, *accumulate(map(_firsts, self._bytes))]

    def find(self, segment: _Segment) -> tuple[int, int] | None:
        """The characters of a segment; None if it is not in the text."""
        start, end, text = segment
        if not start < end <= len(self._bytes):
            return None
        if text and self._bytes[start:end] != text.encode("utf-8", "replace"):
            return None
        return self._characters[start], self._characters[end]


def _firsts(byte: int) -> int:
    return int(byte & _CONTINUATION_BITS != _CONTINUATION)


def _chunk(raw: Any) -> _Source | None:
    """Read a grounding chunk: an object with one member that says its kind."""
    if isinstance(raw, dict):
        for kind, body in raw.items():
            if isinstance(body, dict):
                return _source(kind, body)
    return None


def _source(kind: str, raw: Any) -> _Source | None:
    uri = field(raw, "uri", str) or field(raw, "sourceUri", str) or ""
    title = field(raw, "title", str) or ""
    text = field(raw, "text", str) or ""
    return _Source(kind, uri, title, text) if uri or title or text else None


def _citation(source: _Source, segments: dict[_Segment, None], places: _Places | None) -> Citation:
    placed = [
        (segment, place)
        for segment in segments
        if places is not None and (place := places.find(segment)) is not None
    ]
    start, end = placed[0][1] if placed else (None, None)
    more = [{"start_index": place[0], "end_index": place[1]} for _, place in placed]
    return Citation(
        "url" if source.uri.startswith(_URL) else "document",
        source.uri or source.title,
        source_text=source.text or None,
        source_title=source.title or None,
        source_position_type="character" if placed else None,
        source_start_index=start,
        source_end_index=end,
        additional_content={"segments": more} if len(more) > 1 else {},
    )
