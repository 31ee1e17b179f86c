"""The tools that ran at the provider, in one Responses stream: their statuses, and what they made.

A status comes as an event of its own, ``response.<kind>_call.<status>``; how a tool ended waits for
its finished item, which says more (queries, sources, code, files). Kinds without such events, such
as shells, custom tools of xAI and lists of MCP tools, are told by their items alone.
"""

import re
from typing import Any, Final

from tellstream.core import parts as pt
from tellstream.core.events import ArtifactData
from tellstream.providers.base import field, items

_STATUS: Final = re.compile(r"response\.(\w+_call)\.(\w+)")
_RESEARCH: Final = "response.reasoning."
_ENDINGS: Final = frozenset({"completed", "failed", "incomplete", "cancelled"})
_ENVELOPE: Final = frozenset({"type", "sequence_number", "item_id", "output_index", "obfuscation"})
"""Members of an event that say where it belongs, not what happened."""
_NOT_NEWS: Final = _ENVELOPE | {"partial_image_b64", "thought", "usage"}
_DATA_URL: Final = re.compile(r"data:([\w.+/-]+);base64,")


class HostedTools:
    """The hosted tools so far."""

    __slots__ = ("_ended", "_notes")

    def __init__(self) -> None:
        self._ended: dict[str, pt.ProviderTool] = {}  # those that await their item
        self._notes = 0

    def event(self, kind: str, event: dict[str, Any]) -> list[pt.Part]:
        """Read an event that may be a status; any other means nothing here."""
        data = {name: value for name, value in event.items() if name not in _NOT_NEWS}
        status = _STATUS.fullmatch(kind)
        if status:
            tool = pt.ProviderTool(status[1], status[2], _item_id(event, {}), data)
            if tool.status not in _ENDINGS:
                return [tool]
            self._ended[tool.item_id] = tool
        elif kind.startswith(_RESEARCH) and data:  # Perplexity: queries, results
            self._notes += 1
            status_name = kind.removeprefix(_RESEARCH)
            return [pt.ProviderTool("reasoning", status_name, f"reasoning_{self._notes}", data)]
        return []

    def added(self, event: dict[str, Any], item: dict[str, Any]) -> list[pt.Part]:
        """Read the announcement of an item."""
        if not str(item.get("type")).endswith("_call"):
            return []
        return [pt.ProviderTool(_tool_type(item), "in_progress", _item_id(event, item), {})]

    def done(self, event: dict[str, Any], item: dict[str, Any]) -> list[pt.Part]:
        """Read a finished item and the files it made."""
        item_id = _item_id(event, item)
        ended = self._ended.pop(item_id, None)
        status = _ending(item) if ended is None else ended.status
        return [
            pt.ProviderTool(_tool_type(item), status, item_id, _without_files(item)),
            *map(pt.Attached, _files(item)),
        ]

    def settle(self) -> list[pt.Part]:
        """Tell the ends whose items never came."""
        ended = list(self._ended.values())
        self._ended = {}
        return [*ended]


def _tool_type(item: dict[str, Any]) -> str:
    """Name a tool: by its kind, or by its name where the kind says nothing."""
    kind = field(item, "type", str) or ""
    return field(item, "name", str) or kind if kind == "custom_tool_call" else kind


def _item_id(event: dict[str, Any], item: dict[str, Any]) -> str:
    item_id = field(item, "id", str) or field(event, "item_id", str)
    return item_id or f"item_{field(event, 'output_index', int) or 0}"


def _ending(item: dict[str, Any]) -> str:
    """Say how a finished item ended; an image is still ``generating`` in the event of its end."""
    status = field(item, "status", str)
    if status in _ENDINGS:
        return status
    return "failed" if item.get("error") else "completed"


def _without_files(item: dict[str, Any]) -> dict[str, Any]:
    """Read an item without its base64."""
    data = dict(item)
    if item.get("type") == "image_generation_call":
        data.pop("result", None)
    if "outputs" in item:
        data["outputs"] = [
            {k: v for k, v in output.items() if k != "url"} if _embedded(output) else output
            for output in items(item, "outputs")
        ]
    return data


def _files(item: dict[str, Any]) -> list[ArtifactData]:
    item_id = field(item, "id", str)
    found = [
        ArtifactData(item_id, embedded[1], embedded[0], {})
        for output in items(item, "outputs")  # of a code interpreter
        if (embedded := _embedded(output))
    ]
    result = field(item, "result", str)
    if result and item.get("type") == "image_generation_call":
        mime_type = f"image/{field(item, 'output_format', str) or 'png'}"
        names = ("revised_prompt", "size", "quality", "background")
        metadata = {name: item[name] for name in names if item.get(name) is not None}
        found.append(ArtifactData(item_id, result, mime_type, metadata))
    return found


def _embedded(output: Any) -> tuple[str, str] | None:
    """Read the media type and the base64 of an output that is a data URL."""
    url = field(output, "url", str) or ""
    head = _DATA_URL.match(url)
    return (head[1], url[head.end() :]) if head else None
