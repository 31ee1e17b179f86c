"""Places, usage, sources and endings in the ``openai-responses`` dialect: one pure function each.

Source: OpenAI API reference, Responses (object, usage, annotations); docs.x.ai (citations) and
docs.perplexity.ai (search results, errors) for what those hosts add.
"""

from typing import Any, Final, TypeAlias

from tellstream.core.events import Citation
from tellstream.core.usage import FinishReason, Usage
from tellstream.providers.base import field, items
from tellstream.providers.openai_chat_usage import usage_of

_INCOMPLETE: Final = {
    "max_output_tokens": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "length": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
}
_FAILED: Final = frozenset({"failed", "cancelled"})

Block: TypeAlias = tuple[int | str | None, str, int | None]
"""Which item a text or thinking belongs to, what it is, and which of that in the item."""


def owner_of(event: dict[str, Any]) -> int | str | None:
    """Say which item an event belongs to."""
    index = field(event, "output_index", int)
    if index is not None:
        return index
    return field(event, "item_id", str) or field(field(event, "item", dict), "id", str)


def block_of(kind: str, event: dict[str, Any]) -> Block:
    """Say which block an event of speech belongs to."""
    index = "summary_index" if "summary" in kind else "content_index"
    return owner_of(event), kind, field(event, index, int)


def usage_from(raw: dict[str, Any]) -> Usage | None:
    """Normalise one usage object: chat's arithmetic under other names.

    Every host counts reasoning inside ``output_tokens``, xAI too (unlike on its chat wire).
    """
    return usage_of(
        {
            "prompt_tokens": raw.get("input_tokens"),
            "prompt_tokens_details": raw.get("input_tokens_details"),
            "completion_tokens": raw.get("output_tokens"),
            "completion_tokens_details": raw.get("output_tokens_details"),
            "total_tokens": raw.get("total_tokens"),
        },
        completion_excludes_reasoning=False,
    )


def citation_of(annotation: Any) -> Citation | None:
    """Read one annotation of any type; None if it names no source."""
    url, name = field(annotation, "url", str), field(annotation, "filename", str)
    source = url or name or field(annotation, "file_id", str)
    if not source:
        return None
    start, end = field(annotation, "start_index", int), field(annotation, "end_index", int)
    placed = bool(end)  # 0..0 says nothing
    more = ("file_id", "container_id", "index")
    return Citation(
        "url" if url else "document",
        source,
        source_title=field(annotation, "title", str) or name or None,
        source_position_type="character" if placed else None,
        source_start_index=start if placed else None,
        source_end_index=end if placed else None,
        additional_content={k: annotation[k] for k in more if annotation.get(k) is not None},
    )


def sources_in(holder: Any) -> list[Citation]:
    """Read lists of sources: search results (Perplexity) and bare URLs (xAI)."""
    found = []
    for name in ("results", "contents", "citations"):
        for result in items(holder, name):
            url = result if isinstance(result, str) else field(result, "url", str)
            title, text = field(result, "title", str), field(result, "snippet", str)
            if url:
                found.append(
                    Citation("url", url, source_text=text or None, source_title=title or None)
                )
    return found


def custom_tools(response: Any) -> frozenset[str] | None:
    """Name the custom tools that were declared to the provider; None if it does not say."""
    tools = field(response, "tools", list)
    if tools is None:
        return None
    customs = (tool for tool in tools if field(tool, "type", str) == "custom")
    return frozenset(name for tool in customs if (name := field(tool, "name", str)))


def error_of(event: dict[str, Any]) -> dict[str, Any] | None:
    """Say what failed, from the event that ends the response; None if nothing did.

    Perplexity puts the error beside the response, others into it; some give none.
    """
    response = field(event, "response", dict) or {}
    error = event.get("error") or response.get("error")
    if error or not _FAILED.isdisjoint(_states(event)):
        return {"error": error or "the response failed"}
    return None


def finish_of(event: dict[str, Any], *, called: bool) -> FinishReason:
    """Say why the response ended, from the event that ends it; ``called``: calls were made."""
    details = field(field(event, "response", dict), "incomplete_details", dict)
    reason = field(details, "reason", str) or ""
    if reason or "incomplete" in _states(event):
        return _INCOMPLETE.get(reason, FinishReason.OTHER)
    return FinishReason.TOOL_CALLS if called else FinishReason.STOP


def _states(event: dict[str, Any]) -> tuple[str, str]:
    """Read the state a response ended in, which event and response both name."""
    kind = field(event, "type", str) or ""
    status = field(field(event, "response", dict), "status", str) or ""
    return kind.rpartition(".")[2], status
