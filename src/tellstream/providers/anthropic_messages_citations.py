"""Citations of the ``anthropic-messages`` dialect: five kinds of location, one shape of ours.

Source: Anthropic API reference, "Citations", "Search results" and "Web search". A location that
is not known is no citation rather than half of one.
"""

from typing import Any, Final, NamedTuple

from tellstream.core.events import Citation
from tellstream.providers.base import count, field


class _Place(NamedTuple):
    """How a location in a document counts: our unit, and the names of its two indices."""

    unit: str
    start: str
    end: str


_CHUNKS: Final = _Place("chunk", "start_block_index", "end_block_index")
_DOCUMENTS: Final = {
    "char_location": _Place("character", "start_char_index", "end_char_index"),
    "page_location": _Place("page", "start_page_number", "end_page_number"),
    "content_block_location": _CHUNKS,
}
_MORE: Final = ("file_id", "encrypted_index", "search_result_index")
"""Members that have no place of their own in ours."""


def citation_of(raw: Any) -> Citation | None:
    """Read one ``citation`` object; None if it names no source."""
    kind = field(raw, "type", str) or ""
    place = _DOCUMENTS.get(kind)
    if place is not None:
        return _citation(raw, "document", count(raw, "document_index") or 0, place)
    if kind == "web_search_result_location":
        url = field(raw, "url", str)
        return _citation(raw, "url", url, None) if url else None
    if kind == "search_result_location":
        source = field(raw, "source", str)
        return _citation(raw, "url", source, _CHUNKS) if source else None
    return None


def _citation(raw: Any, source_type: str, source: str | int, place: _Place | None) -> Citation:
    title = field(raw, "document_title", str) or field(raw, "title", str)
    start = count(raw, place.start) if place else None
    end = count(raw, place.end) if place else None
    return Citation(
        source_type,
        source,
        source_text=field(raw, "cited_text", str) or None,
        source_title=title or None,
        source_position_type=None if place is None or start is None else place.unit,
        source_start_index=start,
        source_end_index=end,
        additional_content={name: raw[name] for name in _MORE if raw.get(name) is not None},
    )
