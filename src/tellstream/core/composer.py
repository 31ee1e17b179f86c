"""Parts in, well-formed events out: the only place that opens and closes anything.

A decoder says what arrived; the composer frames it, and every event passes the grammar. Nothing is
emitted before the first content, so that another target may still answer. A stream ends in two
moves: ``ending()`` decides from what was seen, the caller settles the usage, ``close()`` emits the
closing events, legally from every state.

Time is an argument; nothing here does I/O.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from tellstream.core import events as ev
from tellstream.core import lenient_json
from tellstream.core import parts as pt
from tellstream.core.errors import ChatError, ProviderError
from tellstream.core.grammar import Grammar, State
from tellstream.core.ids import EventIds
from tellstream.core.output import OutputCount
from tellstream.core.pending import PendingTool, TextBlock, citation_parts, parse_arguments
from tellstream.core.usage import FinishReason, Usage


class Ending(msgspec.Struct, frozen=True):
    """How a stream ends: its finish reason, and the error if that is ``Error``."""

    reason: FinishReason
    error: ChatError | None = None

    @classmethod
    def failed(cls, error: ChatError) -> "Ending":
        """The ending of a stream that failed."""
        return cls(FinishReason.ERROR, error)


CANCELLED: Final = Ending(FinishReason.CANCELLED)


class Composer:
    """Composes the events of one stream.

    Args:
        ids: source of event and part ids.
        provider: configured name of the one about to answer; model: what is asked of it.
        metadata: echoed in ``stream_start``.

    Attributes:
        tool_ids: of the calls that were closed.
        replay: what the provider wants back with the results of these calls.
        usage: the last token counts the provider reported, or None.
        output: how much was said so far.
        over: whether the provider's marker or failure was seen.
    """

    def __init__(
        self, ids: EventIds, provider: str, model: str, metadata: dict[str, str] | None = None
    ) -> None:
        self._ids = ids
        self._grammar = Grammar()
        self._metadata = metadata
        self.target(provider, model)
        self.tool_ids: list[str] = []
        self._blocks: list[TextBlock] = []
        self._message_id = ""
        self._message_used = False
        self._reasoning_id: str | None = None
        self._provider_tools: set[tuple[str, str]] = set()
        self._out: list[ev.Event] = []
        self._now_ms = 0
        self._now = 0

    def target(self, provider: str, model: str) -> None:
        """Name the target that is tried next; what an earlier one said is forgotten.

        Only before the first event: after it, another target must never continue the stream.
        """
        assert self._grammar.state is State.NEW
        self.provider = provider
        self.model = model
        self.usage: Usage | None = None
        self._finish: FinishReason | None = None
        self._refused = False
        self.replay: list[dict[str, Any]] = []
        self._tools: dict[str | int, PendingTool] = {}
        self._tools_seen = False
        self.output = OutputCount()
        self._failure: ProviderError | None = None
        self.over = False

    @property
    def started(self) -> bool:
        """Whether the first event was emitted."""
        return self._grammar.state is not State.NEW

    @property
    def finish_seen(self) -> bool:
        """Whether a finish reason was seen, so that the end is proven."""
        return self._finish is not None

    def follow(self, event: ev.Event) -> None:
        """Go where an event led that is in the log already; to end a stream somebody else began.

        Raises:
            GrammarError: the event is illegal here.
        """
        self._grammar.feed(event)
        self._begin(event.timestamp)  # a slower clock must not step back
        match event:
            case ev.TextStart(message_id=message_id):
                self._follow_message(message_id)
            case ev.ThinkingStart(reasoning_id=reasoning_id):
                self._reasoning_id = reasoning_id
            case ev.TextDelta(delta=delta):
                self._blocks[-1].text.append(delta)
                self.output.say(delta)
            case ev.ThinkingDelta(delta=delta) | ev.ToolCallDelta(delta=delta):
                self.output.say(delta)
            case ev.ToolCall():
                self.output.call()
            case ev.CitationEvent(citation=citation, message_id=message_id):
                self._follow_message(message_id)
                self._blocks[-1].citations.append(citation)
            case _:
                pass

    def _follow_message(self, message_id: str) -> None:
        if message_id != self._message_id:
            self._message_id = message_id
            self._blocks.append(TextBlock())

    def feed(self, parts: list[pt.Part], now: float) -> list[ev.Event]:
        """Compose the events of what arrived.

        Args:
            parts: in order of arrival; those after the terminal marker are dropped.
            now: Unix seconds.
        """
        self._begin(now)
        for part in parts:
            if self.over:
                break
            _COMPOSE[type(part)](self, part)
        return self._take()

    def ending(self) -> Ending:
        """Decide how the stream ends, given that the provider says nothing more.

        Success must be proven by a finish reason or the terminal marker; otherwise the answer was
        truncated.
        """
        if self._failure is not None:
            return Ending.failed(self._failure)
        if self._finish is FinishReason.ERROR:
            return Ending.failed(
                ProviderError("provider_unavailable", reason="finish reason says error")
            )
        if self._finish is None and not self.over:
            return Ending.failed(ProviderError("upstream_truncated"))
        if self._refused:
            return Ending(FinishReason.CONTENT_FILTER)
        reason = self._finish or FinishReason.UNKNOWN
        if self._tools_seen and reason is FinishReason.STOP:
            reason = FinishReason.TOOL_CALLS  # some hosts say stop although calls were sent
        return Ending(reason)

    def close(self, ending: Ending, usage: Usage | None, now: float) -> list[ev.Event]:
        """Emit what legally ends the stream from wherever it is.

        Args:
            ending: from ``ending()``, ``CANCELLED`` or ``Ending.failed``.
            usage: the settled token counts; None: not yet, another call says the end.
            now: Unix seconds.
        """
        self._begin(now)
        well = ending.reason not in {FinishReason.ERROR, FinishReason.CANCELLED}
        if well:
            self._step()
            self._close_part()
            self._close_tools()
        elif self._grammar.state is State.NEW:
            self._start()
        if ending.error is not None:
            error = ending.error
            self._emit(ev.Error(*self._stamp(), error.code, error.message, False))
        self._close_part()
        if self._grammar.state in {State.STEP, State.RESULTS, State.FAILED_STEP}:
            self._emit(ev.StepFinish(*self._stamp()))
        if usage is not None:
            cited = citation_parts(self._blocks)
            self._emit(ev.StreamEnd(*self._stamp(), ending.reason, usage, cited))
        return self._take()

    # -- what the parts mean ----------------------------------------------------------------------

    def _text(self, part: pt.Text) -> None:
        if self._grammar.state is not State.TEXT:
            self._open_text()
        delta = part.delta
        self.output.say(delta)
        self._blocks[-1].text.append(delta)
        event = ev.TextDelta(self._ids.next(self._now_ms), self._now, delta, self._message_id)
        self._grammar.feed(event)
        self._out.append(event)

    def _refusal(self, part: pt.Refusal) -> None:
        self._refused = True
        self._text(pt.Text(part.delta))

    def _thinking(self, part: pt.Thinking) -> None:
        if self._grammar.state is not State.THINKING:
            self._step()
            self._close_part()
            self._reasoning_id = self._ids.next(self._now_ms)
            self._emit(ev.ThinkingStart(*self._stamp(), self._reasoning_id))
        assert self._reasoning_id is not None
        self.output.say(part.delta)
        self._emit(ev.ThinkingDelta(*self._stamp(), part.delta, self._reasoning_id))

    def _break(self, _part: pt.Break) -> None:
        if self._grammar.state in {State.TEXT, State.THINKING}:
            self._close_part()

    def _replay(self, part: pt.Replay) -> None:
        self.replay.append(part.item)

    def _tool_fragment(self, part: pt.ToolFragment) -> None:
        tool = self._tool(part.key)
        self._tools_seen = True
        tool.tool_id = tool.tool_id or part.tool_id
        tool.name = tool.name or part.name
        if part.arguments:
            tool.fragments.append(part.arguments)
            self.output.say(part.arguments)
        # A fragment cannot be attributed before its call is named.
        if tool.name and len(tool.fragments) > tool.said:
            self._step()
            self._close_part()
            tool.tool_id = tool.tool_id or "call_" + self._ids.next(self._now_ms)[4:]
            delta = "".join(tool.fragments[tool.said :])
            tool.said = len(tool.fragments)
            self._emit(
                ev.ToolCallDelta(*self._stamp(), tool.tool_id, tool.name, delta, self._message())
            )

    def _tool(self, key: str | int) -> PendingTool:
        if key not in self._tools:
            self._tools[key] = PendingTool()
            self.output.call()
        return self._tools[key]

    def _tool_whole(self, part: pt.ToolWhole) -> None:
        self._step()
        self._tools_seen = True
        tool = self._tool(part.key)
        tool.tool_id = tool.tool_id or part.tool_id  # fragments were told under it
        tool.name = tool.name or part.name
        tool.arguments = part.arguments
        self.output.say(lenient_json.dumps(part.arguments))

    def _cited(self, part: pt.Cited) -> None:
        self._step()
        if self._grammar.state is not State.TEXT:
            self._close_part()
        message_id = self._message()
        self._blocks[-1].citations.append(part.citation)
        self._emit(ev.CitationEvent(*self._stamp(), part.citation, message_id))

    def _attached(self, part: pt.Attached) -> None:
        self._step()
        self._close_part()
        self._emit(ev.Artifact(*self._stamp(), "", "", self._message(), part.artifact))

    def _provider_tool(self, part: pt.ProviderTool) -> None:
        if (part.item_id, part.status) in self._provider_tools:
            return  # once per (item, status)
        self._provider_tools.add((part.item_id, part.status))
        self._step()
        self._close_part()
        name = ev.ProviderToolEvent.type
        key = f"{name}.{part.tool_type}.{part.status}"
        self._emit(
            ev.ProviderToolEvent(
                *self._stamp(), name, key, part.tool_type, part.status, part.item_id, part.data
            )
        )

    def _model_named(self, part: pt.Model) -> None:
        if not self.started:
            self.model = part.name

    def _finished(self, part: pt.Finished) -> None:
        self._finish = part.reason

    def _used(self, part: pt.Used) -> None:
        self.usage = part.usage
        self.output.report()

    def _failed(self, part: pt.Failed) -> None:
        self._failure = part.error
        self.over = True

    def _done(self, _part: pt.Done) -> None:
        self.over = True

    # -- opening and closing ----------------------------------------------------------------------

    def _start(self) -> None:
        self._emit(ev.StreamStart(*self._stamp(), self.model, self.provider, self._metadata))

    def _step(self) -> None:
        """Make sure a step is open."""
        if self._grammar.state is State.NEW:
            self._start()
            self._emit(ev.StepStart(*self._stamp()))

    def _open_text(self) -> None:
        self._step()
        self._close_part()
        if self._message_used:
            self._message_id = ""
        message_id = self._message()
        self._message_used = True
        self._emit(ev.TextStart(*self._stamp(), message_id))

    def _message(self) -> str:
        """The id of the current text block, reserved if none was opened yet."""
        if not self._message_id:
            self._message_id = self._ids.next(self._now_ms)
            self._message_used = False
            self._blocks.append(TextBlock())
        return self._message_id

    def _close_part(self) -> None:
        state = self._grammar.state
        if state in {State.TEXT, State.FAILED_TEXT}:
            self._emit(ev.TextComplete(*self._stamp(), self._message_id))
        elif state in {State.THINKING, State.FAILED_THINKING}:
            assert self._reasoning_id is not None
            self._emit(ev.ThinkingComplete(*self._stamp(), self._reasoning_id))

    def _close_tools(self) -> None:
        """Emit the calls that arrived, in their order of arrival."""
        for tool in self._tools.values():
            tool_id = tool.tool_id or "call_" + self._ids.next(self._now_ms)[4:]
            self.tool_ids.append(tool_id)
            raw = "".join(tool.fragments)
            arguments = tool.arguments if tool.arguments is not None else parse_arguments(raw)
            self._emit(
                ev.ToolCall(
                    *self._stamp(),
                    tool_id,
                    tool.name,
                    {} if arguments is None else arguments,
                    self._message(),
                    self._reasoning_id,
                    raw if arguments is None else msgspec.UNSET,
                )
            )
        self._tools.clear()

    # -- plumbing ---------------------------------------------------------------------------------

    def _begin(self, now: float) -> None:
        self._now_ms = max(self._now_ms, int(now * 1000))
        self._now = self._now_ms // 1000

    def _stamp(self) -> tuple[str, int]:
        return self._ids.next(self._now_ms), self._now

    def _emit(self, event: ev.Event) -> None:
        self._grammar.feed(event)
        self._out.append(event)

    def _take(self) -> list[ev.Event]:
        out = self._out
        self._out = []
        return out


_COMPOSE: Final[dict[type, Callable[[Composer, Any], None]]] = {
    pt.Text: Composer._text,
    pt.Refusal: Composer._refusal,
    pt.Thinking: Composer._thinking,
    pt.Break: Composer._break,
    pt.Replay: Composer._replay,
    pt.ToolFragment: Composer._tool_fragment,
    pt.ToolWhole: Composer._tool_whole,
    pt.Cited: Composer._cited,
    pt.Attached: Composer._attached,
    pt.ProviderTool: Composer._provider_tool,
    pt.Model: Composer._model_named,
    pt.Finished: Composer._finished,
    pt.Used: Composer._used,
    pt.Failed: Composer._failed,
    pt.Done: Composer._done,
}
