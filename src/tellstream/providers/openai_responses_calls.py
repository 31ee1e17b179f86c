"""The function calls of one Responses stream: whose an event is, and what of it was told already.

Every event names its item by ``item_id`` and ``output_index``. Some hosts change the ids from event
to event, others count no index, so the id is tried first and the index second. Arguments arrive as
deltas, or whole at the end, or both: whatever the deltas left out is told then, nothing twice.
"""

from typing import Any, Final, TypeAlias

from tellstream.core import lenient_json
from tellstream.core import parts as pt
from tellstream.providers.base import field

_ID: Final = "id"
_INDEX: Final = "index"
_CALL: Final = "call"
_Alias: TypeAlias = tuple[str, str | int | None]


class _Call:
    __slots__ = ("key", "named", "sent")

    def __init__(self, key: int) -> None:
        self.key = key
        self.named = False
        self.sent: list[str] = []


class Calls:
    """The calls so far; true once there is one."""

    __slots__ = ("_by_alias", "_count", "_last")

    def __init__(self) -> None:
        self._by_alias: dict[_Alias, _Call] = {}
        self._count = 0
        self._last: _Call | None = None

    def __bool__(self) -> bool:
        """Whether any call was seen."""
        return self._count > 0

    def item(self, event: dict[str, Any], item: dict[str, Any], *, whole: bool) -> list[pt.Part]:
        """Read the item of a call.

        Args:
            event: what it came in.
            item: a ``function_call`` or ``custom_tool_call``.
            whole: it is complete; otherwise it was only announced.
        """
        item_id, call_id = field(item, "id", str), field(item, "call_id", str)
        aliases: list[_Alias] = [(_ID, item_id), (_INDEX, field(event, "output_index", int))]
        call = self._by_alias.get(aliases[0]) if item_id else None
        if call is None and whole and call_id:
            call = self._by_alias.get((_CALL, call_id))
        if call is None:
            unnamed = self._by_alias.get(aliases[1])
            call = unnamed if unnamed is not None and not unnamed.named else self._new()
        self._know(call, [*aliases, (_CALL, call_id)])
        parts: list[pt.Part] = []
        if not call.named:
            call.named = True
            name = field(item, "name", str) or ""
            parts.append(pt.ToolFragment(call.key, call_id or item_id or "", name, ""))
        return (
            parts + self._rest(call, item.get("arguments", item.get("input"))) if whole else parts
        )

    def arguments(self, event: dict[str, Any]) -> list[pt.Part]:
        """Read a delta of arguments, or all of them at their end."""
        call = self._of(event)
        if call is None:
            return []
        delta = field(event, "delta", str)
        if delta is None:
            return self._rest(call, event.get("arguments", event.get("input")))
        call.sent.append(delta)
        return [pt.ToolFragment(call.key, "", "", delta)]

    def _of(self, event: dict[str, Any]) -> _Call | None:
        """Find the call of a delta; None if it is none of ours.

        Arguments may come before their call is announced; the input of a custom tool that runs at
        the provider comes after an announcement that was not ours.
        """
        aliases: list[_Alias] = [
            (_ID, field(event, "item_id", str)),
            (_INDEX, field(event, "output_index", int)),
        ]
        found = next((call for alias in aliases if (call := self._by_alias.get(alias))), None)
        if found is None and all(name is None for _, name in aliases):
            found = self._last
        if found is None and "custom" not in str(event.get("type")):
            found = self._new()
            self._know(found, aliases)
        return found

    def _new(self) -> _Call:
        self._last = _Call(self._count)
        self._count += 1
        return self._last

    def _know(self, call: _Call, aliases: list[_Alias]) -> None:
        self._by_alias |= {alias: call for alias in aliases if alias[1] is not None}

    def _rest(self, call: _Call, whole: Any) -> list[pt.Part]:
        """Say what of the arguments was not said yet."""
        if isinstance(whole, dict):
            whole = lenient_json.dumps(whole)
        sent = "".join(call.sent)
        if not isinstance(whole, str) or not whole.startswith(sent) or whole == sent:
            return []
        call.sent = [whole]
        return [pt.ToolFragment(call.key, "", "", whole[len(sent) :])]
