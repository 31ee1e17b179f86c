"""Function calls of the ``gemini`` dialect, whole or streamed.

Source: Vertex AI reference, "Stream function call arguments". A streamed call begins with its name,
then come pieces of the form "at this JSON path stands (more of) this value", until a piece that
does not say ``willContinue``. Invariant: arguments are complete and all of them, or marked as not.
"""

import re
from itertools import pairwise
from typing import Any, Final, TypeAlias

from tellstream.core import lenient_json
from tellstream.core import parts as pt
from tellstream.providers.base import field, items

_Step: TypeAlias = str | int

_STEP: Final = re.compile(
    r"""\.(?P<name>[^.\[\]]+)|\[(?P<index>[0-9]{1,9})\]|\[(?P<quote>['"])(?P<key>.*?)(?P=quote)\]"""
)
_MAX_STEPS: Final = 64


class FunctionCall:
    """One call; ``take`` its pieces, then ask for its parts.

    Args:
        key: unique in the stream.
        call: the first piece, which names it.
    """

    def __init__(self, key: int, call: dict[str, Any]) -> None:
        self._key = key
        self.name = field(call, "name", str) or ""
        self.tool_id = field(call, "id", str) or ""
        self._arguments: dict[str, Any] = {}
        self._signature = ""
        self._path = ""  # of the string that is still arriving
        self._string: list[str] = []
        self._whole = True

    def take(self, call: dict[str, Any], signature: str | None) -> None:
        """Add a piece."""
        self._signature = self._signature or signature or ""
        self.tool_id = self.tool_id or field(call, "id", str) or ""
        self._arguments |= field(call, "args", dict) or {}
        for piece in items(call, "partialArgs"):
            self._place(piece)

    def parts(self, *, ended: bool) -> list[pt.Part]:
        """Say the call, and what must go back with its result.

        Args:
            ended: whether its last piece was seen; else its arguments must not be used.
        """
        self._settle()
        if not (ended and self._whole):
            cut = lenient_json.dumps(self._arguments)[:-1]  # never an object
            return [pt.ToolFragment(self._key, self.tool_id, self.name, cut)]
        call = {"name": self.name, "args": self._arguments}
        parts: list[pt.Part] = [pt.ToolWhole(self._key, self.tool_id, self.name, self._arguments)]
        if self.tool_id:
            call["id"] = self.tool_id
        if self._signature:
            parts.append(pt.Replay({"functionCall": call, "thoughtSignature": self._signature}))
        elif self.tool_id:
            parts.append(pt.Replay({"functionCall": call}))
        return parts

    def _place(self, piece: Any) -> None:
        path = field(piece, "jsonPath", str) or ""
        if path != self._path:
            self._settle()
        text = field(piece, "stringValue", str)
        if text is not None:
            self._path = path
            self._string.append(text)
            if piece.get("willContinue") is not True:
                self._settle()
        elif "nullValue" in piece:
            self._put(path, None)
        else:
            for name, kind in (("boolValue", bool), ("numberValue", int), ("numberValue", float)):
                value = field(piece, name, kind)
                if value is not None:
                    self._put(path, value)
                    return

    def _settle(self) -> None:
        """Put the string that was arriving into its place."""
        if self._string:
            self._put(self._path, "".join(self._string))
        self._path = ""
        self._string = []

    def _put(self, path: str, value: Any) -> None:
        steps = _steps(path)
        node: Any = self._arguments
        for step, following in pairwise(steps):
            child = _get(node, step)
            if child is None:
                child = [] if isinstance(following, int) else {}
                self._whole &= _set(node, step, child)
            node = child
        self._whole &= bool(steps) and _set(node, steps[-1], value)


def _steps(path: str) -> list[_Step]:
    """Cut ``$.a[0]['b c']`` into its steps; empty if it is not such a path."""
    steps: list[_Step] = []
    position = 1
    while position < len(path):
        found = _STEP.match(path, position)
        if found is None or len(steps) == _MAX_STEPS:
            return []
        index = found["index"]
        steps.append(int(index) if index is not None else found["name"] or found["key"] or "")
        position = found.end()
    return steps if path.startswith("$") else []


def _get(node: Any, step: _Step) -> Any:
    if isinstance(node, dict) and isinstance(step, str):
        return node.get(step)
    if isinstance(node, list) and isinstance(step, int) and step < len(node):
        return node[step]
    return None


def _set(node: Any, step: _Step, value: Any) -> bool:
    """Set a member, or the next or an earlier element; False if there is no such place."""
    if isinstance(node, dict) and isinstance(step, str):
        node[step] = value
        return True
    if isinstance(node, list) and isinstance(step, int) and step <= len(node):
        node[step : step + 1] = [value]
        return True
    return False
