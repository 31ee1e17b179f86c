"""Which event may follow which: one table, one class that walks it.

Theory of operation. A stream is a sequence of steps (one per model call); a step is a sequence of
parts (text, thinking, tool calls, provider tool events, citations, artifacts), then results of
tools. At most one text or thinking part is open at a time; fragments of tool calls need no opening
and may interleave. ``stream_start`` comes first and once, ``stream_end`` last and once, from every
state: a failure is announced by ``error`` with ``recoverable: false`` (the symbol ``failure`` in
the table), after which only closers may follow.

The table is the whole truth about order; docs/reference/grammar.md is drawn from it. What a table
of states cannot say stands in ``Grammar._guard``: the ids of an open part match, a result names a
known call, an artifact that is not a part follows a result, and the finish reason fits the ending.

This file knows nothing of providers, wires or time.
"""

from enum import StrEnum
from typing import Final

from tellstream.core import events as ev
from tellstream.core.errors import GrammarError
from tellstream.core.usage import FinishReason


class State(StrEnum):
    """Where a stream stands between two events."""

    NEW = "new"
    STARTED = "started"
    STEP = "step"
    TEXT = "text"
    THINKING = "thinking"
    RESULTS = "results"
    BETWEEN = "between"
    FAILED_TEXT = "failed_text"
    FAILED_THINKING = "failed_thinking"
    FAILED_STEP = "failed_step"
    FAILED = "failed"
    ENDED = "ended"


# The symbol of an ``error`` event with recoverable=false; every other symbol is an event type.
FAILURE: Final = "failure"

TABLE: Final[dict[State, dict[str, State]]] = {
    State.NEW: {"stream_start": State.STARTED},
    State.STARTED: {
        "step_start": State.STEP,
        "error": State.STARTED,
        FAILURE: State.FAILED,
        "stream_end": State.ENDED,  # only Cancelled, see _guard
    },
    State.STEP: {
        "text_start": State.TEXT,
        "thinking_start": State.THINKING,
        "tool_call_delta": State.STEP,
        "tool_call": State.STEP,
        "provider_tool_event": State.STEP,
        "citation": State.STEP,
        "artifact": State.STEP,
        "error": State.STEP,
        "tool_result": State.RESULTS,
        "step_finish": State.BETWEEN,
        FAILURE: State.FAILED_STEP,
    },
    State.TEXT: {
        "text_delta": State.TEXT,
        "citation": State.TEXT,
        "text_complete": State.STEP,
        FAILURE: State.FAILED_TEXT,
    },
    State.THINKING: {
        "thinking_delta": State.THINKING,
        "thinking_complete": State.STEP,
        FAILURE: State.FAILED_THINKING,
    },
    State.RESULTS: {
        "tool_result": State.RESULTS,
        "artifact": State.RESULTS,
        "step_finish": State.BETWEEN,
        FAILURE: State.FAILED_STEP,
    },
    State.BETWEEN: {
        "step_start": State.STEP,
        "error": State.BETWEEN,
        FAILURE: State.FAILED,
        "stream_end": State.ENDED,
    },
    State.FAILED_TEXT: {"text_complete": State.FAILED_STEP},
    State.FAILED_THINKING: {"thinking_complete": State.FAILED_STEP},
    State.FAILED_STEP: {"step_finish": State.FAILED},
    State.FAILED: {"stream_end": State.ENDED},
    State.ENDED: {},
}

# Events whose id must be that of the open part.
_PART_IDS: Final = {
    "text_delta": "message_id",
    "text_complete": "message_id",
    "thinking_delta": "reasoning_id",
    "thinking_complete": "reasoning_id",
}


# Events of which _guard knows more than the table says.
_GUARDED: Final = frozenset(
    {
        "text_start",
        "thinking_start",
        "citation",
        "tool_call",
        "tool_result",
        FAILURE,
        "stream_end",
    }
)


class Grammar:
    """Checks the events of one stream in order.

    Attributes:
        state: where the stream stands.
    """

    __slots__ = ("_failed", "_part_id", "_tool_ids", "state")

    def __init__(self) -> None:
        self.state = State.NEW
        self._failed = False
        self._part_id = ""
        self._tool_ids: set[str] = set()

    def feed(self, event: ev.Event) -> None:
        """Advance by one event.

        Raises:
            GrammarError: the event is illegal here; the state is unchanged.
        """
        symbol = event.type
        if (  # nearly all are such, and change nothing
            symbol == "text_delta"
            and self.state is State.TEXT
            and event.message_id == self._part_id  # type: ignore[attr-defined]
        ):
            return
        if symbol == "error" and not event.recoverable:  # type: ignore[attr-defined]
            symbol = FAILURE
        following = TABLE[self.state].get(symbol)
        if following is None:
            raise GrammarError(f"{symbol} in state {self.state}")
        self._guard(symbol, event)
        self.state = following

    def _guard(self, symbol: str, event: ev.Event) -> None:
        """Check what the table cannot say, and remember what later checks need."""
        attribute = _PART_IDS.get(symbol)
        if attribute is not None:
            if getattr(event, attribute) != self._part_id:
                raise GrammarError(f"{symbol} for a part that is not open")
            return
        if symbol not in _GUARDED:
            return
        match event:
            case ev.TextStart(message_id=part_id) | ev.ThinkingStart(reasoning_id=part_id):
                self._require(bool(part_id), f"{symbol} without an id")
                self._part_id = part_id
            case ev.CitationEvent(message_id=part_id) if self.state is State.TEXT:
                self._require(part_id == self._part_id, "citation for a part that is not open")
            case ev.ToolCall(tool_id=tool_id):
                self._tool_ids.add(tool_id)
            case ev.ToolResult(tool_id=tool_id):
                self._require(tool_id in self._tool_ids, "tool_result for an unknown tool_id")
            case ev.Error(recoverable=False):
                self._failed = True
            case ev.StreamEnd(finish_reason=reason):
                self._guard_end(reason)
            case _:
                pass

    @staticmethod
    def _require(holds: bool, otherwise: str) -> None:
        if not holds:
            raise GrammarError(otherwise)

    def _guard_end(self, reason: FinishReason) -> None:
        if (reason is FinishReason.ERROR) is not self._failed:
            raise GrammarError(f"stream_end {reason} does not fit the failure seen")
        if self.state is State.STARTED and reason is not FinishReason.CANCELLED:
            raise GrammarError(f"stream_end {reason} without a step")


def check(events: list[ev.Event]) -> None:
    """Check a whole stream.

    Raises:
        GrammarError: an event is illegal, or the stream does not end.
    """
    grammar = Grammar()
    for event in events:
        grammar.feed(event)
    if grammar.state is not State.ENDED:
        raise GrammarError(f"the stream stops in state {grammar.state}")
