"""What providers want back with the results of their calls, kept until the results come.

Signed or encrypted thinking belongs to the provider and is not shown to callers; a caller returns
only the call's id and its result. So the server remembers, per tenant and subject, what belongs to
a call's id. Forgetting is harmless for the grammar of the conversation, only less helpful.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from tellstream.core.chat import ChatRequest, Replay, Turn

MAX_CALLS: Final = 10_000
"""Calls remembered in one process, the oldest are forgotten first."""
KEEP_SECONDS: Final = 3600.0
"""For the user's tool to answer."""
MAX_BYTES: Final = 256 * 1024
"""Of one step's items, encoded; larger ones are not kept."""


class Continuations:
    """The memory of one process.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[int, str, str], tuple[float, Replay]] = OrderedDict()

    def remember(self, tenant: int, subject: str, tool_ids: list[str], replay: Replay) -> None:
        """Keep ``replay`` under the ids of the calls it belongs to."""
        if not replay.items or len(msgspec.json.encode(replay.items)) > MAX_BYTES:
            return
        for tool_id in tool_ids:
            self._kept[tenant, subject, tool_id] = (self._clock(), replay)
        while len(self._kept) > MAX_CALLS:
            self._kept.popitem(last=False)

    def restore(self, tenant: int, subject: str, chat: ChatRequest) -> ChatRequest:
        """Add what is remembered to the turns of ``chat`` that hold calls."""
        if not any(turn.tool_calls for turn in chat.history):
            return chat
        turns = tuple(self._restored(tenant, subject, turn) for turn in chat.history)
        return msgspec.structs.replace(chat, history=turns)

    def _restored(self, tenant: int, subject: str, turn: Turn) -> Turn:
        oldest = self._clock() - KEEP_SECONDS
        for call in turn.tool_calls:
            kept = self._kept.get((tenant, subject, call.tool_id))
            if kept is not None and kept[0] >= oldest:
                return msgspec.structs.replace(turn, replay=kept[1])
        return turn
