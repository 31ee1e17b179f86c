"""Native streams to encode: ready ones of each kind, and a strategy for all the grammar allows."""

import string
from typing import Any

from hypothesis import strategies as st

from tellstream.core import events as ev
from tellstream.core import grammar
from tellstream.core.frames import encode_frames
from tellstream.core.usage import FinishReason, Usage

AT = 1_700_000_000
USAGE = Usage(12, 7, None, 4, 2)


class Writer:
    """Writes grammatical streams, with ids and times that count up."""

    def __init__(self) -> None:
        self.events: list[ev.Event] = []
        self._parts = 0

    def say(self, kind: type[ev.Event], *values: Any, **named: Any) -> "Writer":
        number = len(self.events) + 1
        self.events.append(kind(f"evt_{number:026d}", AT + number // 10, *values, **named))
        return self

    def part(self) -> str:
        self._parts += 1
        return f"evt_part{self._parts:022d}"

    def start(self, metadata: dict[str, str] | None = None) -> "Writer":
        return self.say(ev.StreamStart, "grok-4", "xai", metadata).say(ev.StepStart)

    def text(self, *deltas: str) -> "Writer":
        part = self.part()
        self.say(ev.TextStart, part)
        for delta in deltas:
            self.say(ev.TextDelta, delta, part)
        return self.say(ev.TextComplete, part)

    def thinking(self, *deltas: str) -> "Writer":
        part = self.part()
        self.say(ev.ThinkingStart, part)
        for delta in deltas:
            self.say(ev.ThinkingDelta, delta, part)
        return self.say(ev.ThinkingComplete, part)

    def end(self, reason: FinishReason = FinishReason.STOP) -> list[ev.Event]:
        self.say(ev.StepFinish).say(ev.StreamEnd, reason, USAGE)
        grammar.check(self.events)
        return self.events


def page(url: str, title: str | None) -> ev.Citation:
    return ev.Citation("url", url, "said there", title, "character", 0, 5)


def _tools() -> list[ev.Event]:
    w, m = Writer().start(), "evt_message"
    w.say(ev.ToolCallDelta, "call_1", "weather", '{"city":', m)
    w.say(ev.ToolCallDelta, "call_2", "time", "{", m)
    w.say(ev.ToolCallDelta, "call_1", "weather", '"Rome"}', m)
    w.say(ev.ToolCallDelta, "call_2", "time", "}", m)
    w.say(ev.ToolCall, "call_1", "weather", {"city": "Rome"}, m)
    w.say(ev.ToolCall, "call_2", "time", {}, m)
    w.say(ev.ToolCall, "call_3", "whole", {"a": [1, "é"]}, m)
    w.say(ev.ToolCall, "call_4", "cut", {}, m, invalid_arguments='{"a": ')
    return w.end(FinishReason.TOOL_CALLS)


def _server_tools() -> list[ev.Event]:
    w, m = Writer().start(), "evt_message"
    w.say(ev.ToolCall, "call_1", "search", {"q": "x"}, m).say(ev.ToolCall, "call_2", "fails", {}, m)
    w.say(ev.ToolResult, "call_1", {"hits": 3}, None, m, success=True)
    w.say(ev.Artifact, "call_1", "search", m, ev.ArtifactData(None, "aGk=", "text/plain", {}))
    w.say(ev.ToolResult, "call_2", "boom", None, m, success=False, error="boom")
    w.say(ev.StepFinish).say(ev.StepStart)
    return w.text("Three hits.").end()


def _citations() -> list[ev.Event]:
    w = Writer().start({"user": "42"})
    w.say(ev.ProviderToolEvent, "provider_tool_event", "provider_tool_event.web_search.completed",
          "web_search", "completed", "ws_1", {"query": "rome"})  # fmt: skip
    part = w.part()
    w.say(ev.TextStart, part).say(ev.TextDelta, "Rome.", part)
    for cited in (
        page("https://example.com/rome", "Rome"),
        page("javascript:alert(1)", None),
        ev.Citation("document", 3, source_title="Atlas"),
    ):
        w.say(ev.CitationEvent, cited, part)
    return w.say(ev.TextComplete, part).end()


def _broken() -> list[ev.Event]:
    w = Writer().start().thinking("Hm.")
    part = w.part()
    w.say(ev.TextStart, part).say(ev.TextDelta, "It be", part)
    w.say(ev.Error, "upstream_truncated", "It broke off.", recoverable=False)
    return w.say(ev.TextComplete, part).end(FinishReason.ERROR)


def _cancelled_call() -> list[ev.Event]:
    w = Writer().start()
    w.say(ev.ToolCallDelta, "call_1", "weather", '{"ci', "evt_message")
    return w.end(FinishReason.CANCELLED)


def _never_began() -> list[ev.Event]:
    w = Writer().say(ev.StreamStart, "grok-4", "xai")
    w.say(ev.Error, "provider_timeout", "The provider did not answer.", recoverable=False)
    w.say(ev.StreamEnd, FinishReason.ERROR, Usage())
    grammar.check(w.events)
    return w.events


CASES: dict[str, list[ev.Event]] = {
    "text": Writer().start().text("Hel", "lo\n\ndata: x\r\u2028", "\U0001f600").end(),
    "thinking": Writer().start().thinking("Let me", " see.").text("Yes.").end(),
    "tools": _tools(),
    "server-tools": _server_tools(),
    "citations": _citations(),
    "refusal": Writer().start().text("I cannot.").end(FinishReason.CONTENT_FILTER),
    "length": Writer().start().text("And so").end(FinishReason.LENGTH),
    "error": _broken(),
    "never-began": _never_began(),
    "cancelled": Writer().start().text("One, tw").end(FinishReason.CANCELLED),
    "cancelled-call": _cancelled_call(),
    "warned": Writer().start().say(ev.Error, "provider_protocol", "Skipped.", recoverable=True)
    .text("Still.").end(FinishReason.OTHER),
}  # fmt: skip


def frames(events: list[ev.Event]) -> list[bytes]:
    return encode_frames(1, events)


@st.composite
def streams(draw: st.DrawFn) -> list[ev.Event]:
    """Any stream that the grammar allows: walks its table."""
    w = Writer()
    walk = grammar.Grammar()
    text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
    names = st.text(string.ascii_letters, min_size=1, max_size=4)
    part, failed, calls = "", False, 0
    unfinished: list[str] = []  # calls with fragments
    known: list[str] = []
    length = draw(st.integers(0, 30))
    while walk.state is not grammar.State.ENDED:
        allowed = sorted(grammar.TABLE[walk.state])
        if walk.state is grammar.State.STARTED:
            allowed.remove("stream_end")
        if walk.state is grammar.State.RESULTS and not known:
            allowed.remove("tool_result")
        if walk.state is grammar.State.STEP and not known:
            allowed.remove("tool_result")
        if len(w.events) > length:  # go home
            home = ("stream_end", "step_finish", "text_complete", "thinking_complete", "step_start")
            allowed = [next(name for name in (*home, *allowed) if name in allowed)]
        symbol = draw(st.sampled_from(allowed))
        m = "evt_m"
        match symbol:
            case "stream_start":
                w.say(ev.StreamStart, "m", "p", draw(st.none() | st.just({"a": "b"})))
            case "step_start":
                w.say(ev.StepStart)
            case "step_finish":
                unfinished = []
                w.say(ev.StepFinish)
            case "text_start" | "thinking_start":
                part = w.part()
                w.say(ev.EVENT_TYPES[symbol], part)
            case "text_complete" | "thinking_complete":
                w.say(ev.EVENT_TYPES[symbol], part)
            case "text_delta" | "thinking_delta":
                w.say(ev.EVENT_TYPES[symbol], draw(text), part)
            case "tool_call_delta":
                if not unfinished or draw(st.booleans()):
                    calls += 1
                    unfinished.append(f"call_{calls}")
                w.say(ev.ToolCallDelta, draw(st.sampled_from(unfinished)), "f", draw(text), m)
            case "tool_call":
                closes: bool = draw(st.booleans())
                if unfinished and closes:
                    tool_id = unfinished.pop(0)
                else:
                    calls += 1
                    tool_id = f"call_{calls}"
                known.append(tool_id)
                invalid = draw(st.booleans())
                extra = {"invalid_arguments": draw(text)} if invalid else {}
                given = {} if invalid else draw(st.dictionaries(names, text, max_size=2))
                w.say(ev.ToolCall, tool_id, "f", given, m, **extra)
            case "tool_result":
                ok = draw(st.booleans())
                result = draw(st.none() | text | st.integers() | st.just({"a": [1]}))
                w.say(ev.ToolResult, draw(st.sampled_from(known)), result, None, m, ok,
                      None if ok else draw(st.none() | text))  # fmt: skip
            case "artifact":
                data = ev.ArtifactData(None, "aGk=", "image/png", {})
                w.say(ev.Artifact, "call_1", "f", m, data)
            case "provider_tool_event":
                w.say(ev.ProviderToolEvent, symbol, "k", "web_search", "completed", "i", {})
            case "citation":
                cited = draw(st.sampled_from([page("https://x.y/z", None), page("file:x", "t"),
                                              ev.Citation("document", 0)]))  # fmt: skip
                w.say(ev.CitationEvent, cited, part if walk.state is grammar.State.TEXT else m)
            case "error" | "failure":
                failed = failed or symbol == "failure"
                w.say(ev.Error, "provider_protocol", draw(text), symbol == "error")
            case "stream_end":
                reasons = [reason for reason in FinishReason if reason is not FinishReason.ERROR]
                reason = FinishReason.ERROR if failed else draw(st.sampled_from(reasons))
                w.say(ev.StreamEnd, reason, draw(st.none() | st.just(USAGE)))
        walk.feed(w.events[-1])
    return w.events
