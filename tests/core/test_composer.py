"""Parts in, well-formed events out: for any parts, ended in any way at any point."""

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellstream.core import events as ev
from tellstream.core import parts as pt
from tellstream.core.composer import CANCELLED, Composer, Ending
from tellstream.core.errors import ProviderError, ServerError
from tellstream.core.estimate import CALL_TOKENS, tokens, weight
from tellstream.core.grammar import check
from tellstream.core.ids import EventIds
from tellstream.core.transcript import fold
from tellstream.core.usage import FinishReason, Usage

NOW = 1776855811.25
USAGE = Usage(3, 4)
FAILED = Ending.failed(ServerError("worker_lost"))
SOURCE = ev.Citation("url", "https://a")
OTHER_SOURCE = ev.Citation("url", "https://b")
FILE = ev.ArtifactData(None, "QQ==", "image/png", {})
STOP = pt.Finished(FinishReason.STOP)


def composer() -> Composer:
    return Composer(EventIds(0), "xai", "grok-4")


def run(*parts: pt.Part, ending: Ending | None = None) -> list[ev.Event]:
    """Compose a whole stream; it ends as the parts say unless ``ending`` does."""
    made = composer()
    events = made.feed(list(parts), NOW)
    events += made.close(ending or made.ending(), USAGE, NOW)
    check(events)
    return events


def types(events: list[ev.Event]) -> list[str]:
    return [event.type for event in events]


def only(events: list[ev.Event], kind: type[ev.Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def between(events: list[ev.Event]) -> list[str]:
    """The types between step_start and step_finish."""
    said = types(events)
    assert said[:2] == ["stream_start", "step_start"]
    assert said[-2:] == ["step_finish", "stream_end"]
    return said[2:-2]


def fragment(key: int, arguments: str, tool_id: str = "", name: str = "") -> pt.Part:
    return pt.ToolFragment(key, tool_id, name, arguments)


# --- any parts, any ending -----------------------------------------------------------------------

DELTA = st.sampled_from(["0", "Hello", " ", "\n", "é😀"])
KEY = st.integers(min_value=0, max_value=2)
ARGUMENTS = st.sampled_from(["", "{", '{"a":', "1}", "{}", "[]", "0", "x"])
OPENING = [
    st.builds(pt.Text, DELTA),
    st.builds(pt.Refusal, DELTA),
    st.builds(pt.Thinking, DELTA),
    KEY.flatmap(
        lambda key: st.builds(
            pt.ToolFragment,
            st.just(key),
            st.sampled_from(["", f"id{key}"]),
            st.sampled_from(["", f"tool{key}"]),
            ARGUMENTS,
        )
    ),
    KEY.flatmap(
        lambda key: st.builds(
            pt.ToolWhole,
            st.just(key),
            st.sampled_from(["", f"id{key}"]),
            st.just(f"tool{key}"),
            st.sampled_from([{}, {"a": 1}]),
        )
    ),
    st.builds(pt.Cited, st.sampled_from([SOURCE, OTHER_SOURCE])),
    st.just(pt.Attached(FILE)),
    st.builds(
        pt.ProviderTool,
        st.just("web"),
        st.sampled_from(["started", "completed"]),
        st.sampled_from(["0", "1"]),
        st.just({}),
    ),
]
SILENT = [
    st.just(pt.Break()),
    st.just(pt.Replay({"signature": "x"})),
    st.just(pt.Model("grok-4-0709")),
    st.builds(pt.Finished, st.sampled_from(list(FinishReason)[:-1])),  # Cancelled is only ours
    st.just(pt.Used(USAGE)),
]
LAST = [st.just(pt.Done()), st.just(pt.Failed(ProviderError("provider_timeout")))]
PARTS = st.lists(st.one_of(*OPENING, *OPENING, *SILENT, *LAST), max_size=25)
ENDINGS = st.sampled_from([None, CANCELLED, FAILED])


def heard(parts: list[pt.Part]) -> list[pt.Part]:
    """The parts before the terminal marker or failure."""
    for number, part in enumerate(parts):
        if isinstance(part, (pt.Done, pt.Failed)):
            return parts[:number]
    return parts


def compose(parts: list[pt.Part], ending: Ending | None) -> tuple[list[ev.Event], Ending]:
    made = composer()
    events = made.feed(parts, NOW)
    ending = ending or made.ending()
    return events + made.close(ending, USAGE, NOW), ending


@settings(max_examples=300, deadline=None)
@given(PARTS, ENDINGS)
def test_any_parts_with_any_ending_are_a_grammatical_stream(
    parts: list[pt.Part], ending: Ending | None
) -> None:
    events, decided = compose(parts, ending)
    check(events)
    last = events[-1]
    assert isinstance(last, ev.StreamEnd)
    assert (last.finish_reason, last.usage) == (decided.reason, USAGE)


@settings(max_examples=200, deadline=None)
@given(PARTS, ENDINGS)
def test_nothing_that_arrived_is_lost_or_doubled(
    parts: list[pt.Part], ending: Ending | None
) -> None:
    events, _ = compose(parts, ending)
    kept = heard(parts)
    said = fold(events)
    assert said.text == "".join(p.delta for p in kept if isinstance(p, (pt.Text, pt.Refusal)))
    assert said.thinking == "".join(p.delta for p in kept if isinstance(p, pt.Thinking))
    assert said.citations == [p.citation for p in kept if isinstance(p, pt.Cited)]
    assert said.artifacts == [p.artifact for p in kept if isinstance(p, pt.Attached)]


@settings(max_examples=200, deadline=None)
@given(PARTS)
def test_each_call_is_told_once_under_the_id_of_its_fragments(parts: list[pt.Part]) -> None:
    events, decided = compose(parts, None)
    calls = only(events, ev.ToolCall)
    ids = [call.tool_id for call in calls]
    keys = {p.key for p in heard(parts) if isinstance(p, (pt.ToolFragment, pt.ToolWhole))}
    if decided.error is None:
        assert len(calls) == len(keys)
        assert {delta.tool_id for delta in only(events, ev.ToolCallDelta)} <= set(ids)
    else:
        assert calls == []
    assert len(set(ids)) == len(ids)
    assert "" not in ids


@settings(max_examples=200, deadline=None)
@given(PARTS, ENDINGS)
def test_ids_rise_and_every_block_has_a_fresh_one(
    parts: list[pt.Part], ending: Ending | None
) -> None:
    events, _ = compose(parts, ending)
    ids = [event.id for event in events]
    assert ids == sorted(set(ids))
    blocks = [event.message_id for event in only(events, ev.TextStart)]
    blocks += [event.reasoning_id for event in only(events, ev.ThinkingStart)]
    assert len(set(blocks)) == len(blocks)
    assert not set(blocks) & set(ids)
    assert all(block.startswith("evt_") for block in blocks)


@settings(max_examples=200, deadline=None)
@given(PARTS, st.lists(st.integers(min_value=0, max_value=25), max_size=5))
def test_how_parts_are_batched_changes_nothing(parts: list[pt.Part], cuts: list[int]) -> None:
    made = composer()
    events: list[ev.Event] = []
    edges = [0, *sorted(cuts), len(parts)]
    for start, stop in itertools.pairwise(edges):
        events += made.feed(parts[start:stop], NOW)
    assert events == composer().feed(parts, NOW)


@settings(max_examples=200, deadline=None)
@given(PARTS)
def test_the_first_event_waits_for_the_first_content(parts: list[pt.Part]) -> None:
    made = composer()
    calls: dict[str | int, tuple[bool, bool]] = {}  # named, with arguments
    for part in heard(parts):
        silent = isinstance(part, (pt.Model, pt.Finished, pt.Used, pt.Break, pt.Replay))
        if isinstance(part, pt.ToolFragment):
            named, said = calls.get(part.key, (False, False))
            calls[part.key] = named or bool(part.name), said or bool(part.arguments)
            silent = calls[part.key] != (True, True)
        before = made.started
        assert bool(made.feed([part], NOW)) or silent or before
        assert made.started is (before or not silent)


@settings(max_examples=200, deadline=None)
@given(PARTS)
def test_the_output_is_counted_for_an_estimate(parts: list[pt.Part]) -> None:
    made = composer()
    made.feed(parts, NOW)
    expected = 0
    calls = set()
    for part in heard(parts):
        match part:
            case pt.Text(delta=text) | pt.Refusal(delta=text) | pt.Thinking(delta=text):
                expected += weight(text)
            case pt.ToolFragment(arguments=text):
                expected += weight(text)
                calls.add(part.key)
            case pt.ToolWhole(arguments=arguments):
                expected += weight(msgspec.json.encode(arguments).decode())
                calls.add(part.key)
            case _:
                pass
    assert made.output.tokens == tokens(expected) + CALL_TOKENS * len(calls)


@settings(max_examples=200, deadline=None)
@given(PARTS, ENDINGS)
def test_the_citations_at_the_end_are_those_of_the_events_beside_their_text(
    parts: list[pt.Part], ending: Ending | None
) -> None:
    events, _ = compose(parts, ending)
    texts: dict[str, str] = {}
    sources: dict[str, list[ev.Citation]] = {}
    for event in events:
        match event:
            case ev.TextDelta(delta=delta, message_id=block):
                texts[block] = texts.get(block, "") + delta
            case ev.CitationEvent(citation=citation, message_id=block):
                sources.setdefault(block, []).append(citation)
            case _:
                pass
    last = events[-1]
    assert isinstance(last, ev.StreamEnd)
    told = {(part.output_text, tuple(map(str, part.citations))) for part in last.citations or []}
    assert told == {(texts.get(b, ""), tuple(map(str, found))) for b, found in sources.items()}
    assert last.citations != []


# --- framing -------------------------------------------------------------------------------------


def test_a_plain_answer_is_exactly_the_documented_seven() -> None:
    assert types(run(pt.Text("a"), pt.Text("b"), STOP)) == [
        "stream_start",
        "step_start",
        "text_start",
        "text_delta",
        "text_delta",
        "text_complete",
        "step_finish",
        "stream_end",
    ]


def test_an_answer_without_content_still_has_its_step() -> None:
    assert between(run(STOP)) == []


def test_the_digit_zero_is_text() -> None:
    assert [event.delta for event in only(run(pt.Text("0"), STOP), ev.TextDelta)] == ["0"]


def test_thinking_closes_before_text_opens_and_the_other_way_round() -> None:
    events = run(pt.Thinking("a"), pt.Text("b"), pt.Thinking("c"), STOP)
    thinking = ["thinking_start", "thinking_delta", "thinking_complete"]
    text = ["text_start", "text_delta", "text_complete"]
    assert between(events) == thinking + text + thinking


@pytest.mark.parametrize("part", [pt.Attached(FILE), pt.ProviderTool("w", "s", "0", {})])
@pytest.mark.parametrize("opening", [pt.Text("a"), pt.Thinking("a")])
def test_what_is_neither_text_nor_thinking_closes_the_open_part(
    opening: pt.Part, part: pt.Part
) -> None:
    said = between(run(opening, part, opening, STOP))
    assert len(said) == 7
    assert said[:3] == said[4:]


@pytest.mark.parametrize("part", [pt.Text("a"), pt.Thinking("a")])
def test_a_break_makes_what_follows_a_part_of_its_own(part: pt.Part) -> None:
    said = between(run(pt.Break(), part, pt.Break(), pt.Break(), part, part, STOP))
    assert len(said) == 7
    assert said[3] == said[0]


def test_what_a_provider_wants_back_is_kept_and_never_shown() -> None:
    made = composer()
    assert made.feed([pt.Replay({"n": 1}), pt.Replay({"n": 2})], NOW) == []
    assert made.replay == [{"n": 1}, {"n": 2}]


def test_the_head_names_who_answers_and_echoes_the_metadata() -> None:
    made = Composer(EventIds(0), "xai", "grok-4", {"a": "b"})
    start = made.feed([pt.Text("x")], NOW)[0]
    assert start == ev.StreamStart(start.id, 1776855811, "grok-4", "xai", {"a": "b"})


def test_the_model_that_the_provider_names_before_content_is_shown() -> None:
    start = run(pt.Model("grok-4-0709"), pt.Text("x"), pt.Model("later"), STOP)[0]
    assert isinstance(start, ev.StreamStart)
    assert start.model == "grok-4-0709"


def test_a_provider_tool_event_is_told_once_per_item_and_status() -> None:
    def tool(status: str, item: str) -> pt.Part:
        return pt.ProviderTool("web_search", status, item, {"q": 1})

    events = run(tool("started", "0"), tool("started", "0"), tool("done", "0"), tool("done", "1"))
    told = only(events, ev.ProviderToolEvent)
    assert [(event.status, event.item_id) for event in told] == [
        ("started", "0"),
        ("done", "0"),
        ("done", "1"),
    ]
    assert told[0].kind == "provider_tool_event"
    assert told[0].event_key == "provider_tool_event.web_search.started"


def test_an_artifact_of_the_provider_belongs_to_no_call() -> None:
    (artifact,) = only(run(pt.Attached(FILE), STOP), ev.Artifact)
    assert (artifact.tool_call_id, artifact.tool_name, artifact.artifact) == ("", "", FILE)
    assert artifact.message_id


def test_the_clock_of_a_stream_never_runs_backwards() -> None:
    made = composer()
    events = made.feed([pt.Text("a")], NOW) + made.feed([pt.Text("b")], NOW - 60)
    events += made.close(CANCELLED, USAGE, NOW + 1)
    assert [event.timestamp for event in events[:-3]] == [1776855811] * 5
    assert {event.timestamp for event in events[-3:]} == {1776855812}


# --- tool calls ----------------------------------------------------------------------------------


def calls(*parts: pt.Part) -> list[tuple[str, str, dict[str, Any], Any]]:
    return [
        (call.tool_id, call.tool_name, call.arguments, call.invalid_arguments)
        for call in only(run(*parts, STOP), ev.ToolCall)
    ]


def test_fragments_of_parallel_calls_may_interleave() -> None:
    events = run(
        fragment(0, "", "a", "f"),
        fragment(1, '{"y":', "b", "g"),
        fragment(0, '{"x":'),
        fragment(1, "2}"),
        fragment(0, "1}"),
        STOP,
    )
    deltas = [(d.tool_id, d.tool_name, d.delta) for d in only(events, ev.ToolCallDelta)]
    assert deltas == [
        ("b", "g", '{"y":'),
        ("a", "f", '{"x":'),
        ("b", "g", "2}"),
        ("a", "f", "1}"),
    ]
    assert [(c.tool_id, c.arguments) for c in only(events, ev.ToolCall)] == [
        ("a", {"x": 1}),
        ("b", {"y": 2}),
    ]


def test_fragments_wait_until_their_call_is_named() -> None:
    events = run(fragment(0, '{"a"'), fragment(0, ":1"), fragment(0, "}", "id", "f"), STOP)
    assert [delta.delta for delta in only(events, ev.ToolCallDelta)] == ['{"a":1}']


def test_a_call_without_an_id_gets_one_that_its_fragments_share() -> None:
    events = run(fragment(0, "{", name="f"), fragment(0, "}"), STOP)
    (call,) = only(events, ev.ToolCall)
    assert call.tool_id.startswith("call_")
    assert {delta.tool_id for delta in only(events, ev.ToolCallDelta)} == {call.tool_id}


def test_a_call_without_a_name_is_still_told() -> None:
    events = run(fragment(0, "{}", "id"), STOP)
    assert only(events, ev.ToolCallDelta) == []
    assert [(c.tool_id, c.tool_name) for c in only(events, ev.ToolCall)] == [("id", "")]


@pytest.mark.parametrize("raw", ["", " ", "{}", " {} "])
def test_no_arguments_are_an_empty_object(raw: str) -> None:
    assert calls(fragment(0, raw, "id", "f")) == [("id", "f", {}, msgspec.UNSET)]


@pytest.mark.parametrize("raw", ['{"a"', "[]", "0", '"{}"', "null", "nope", "{}{}", '{"a":NaN}'])
def test_arguments_that_are_not_an_object_are_kept_as_text(raw: str) -> None:
    assert calls(fragment(0, raw, "id", "f")) == [("id", "f", {}, raw)]


def test_arguments_nested_absurdly_deep_are_kept_as_text() -> None:
    raw = '{"a":' * 900 + "1" + "}" * 900
    ((_, _, arguments, invalid),) = calls(fragment(0, raw, "id", "f"))
    assert (arguments, invalid) == ({}, raw)


def test_arguments_with_a_lone_surrogate_are_an_object() -> None:
    assert calls(fragment(0, r'{"a":"\ud83d"}', "id", "f"))[0][2] == {"a": "\ud83d"}


def test_a_whole_call_is_told_without_fragments() -> None:
    events = run(pt.ToolWhole("k", "id", "f", {"a": 1}), STOP)
    assert between(events) == ["tool_call"]


def test_a_whole_call_after_fragments_keeps_the_id_they_were_told_under() -> None:
    events = run(fragment(0, "{", name="f"), pt.ToolWhole(0, "", "f", {"a": 1}), STOP)
    (delta,), (call,) = only(events, ev.ToolCallDelta), only(events, ev.ToolCall)
    assert (call.tool_id, call.arguments) == (delta.tool_id, {"a": 1})


def test_a_call_closes_the_text_before_it() -> None:
    said = between(run(pt.Text("a"), fragment(0, "{}", "id", "f"), STOP))
    assert said == ["text_start", "text_delta", "text_complete", "tool_call_delta", "tool_call"]


def test_text_after_the_fragments_of_a_call_stands_before_the_call() -> None:
    said = between(run(fragment(0, "{}", "id", "f"), pt.Text("a"), STOP))
    assert said == ["tool_call_delta", "text_start", "text_delta", "text_complete", "tool_call"]


def test_a_call_names_the_thinking_that_led_to_it() -> None:
    events = run(pt.Thinking("hm"), fragment(0, "{}", "id", "f"), STOP)
    (started,), (call,) = only(events, ev.ThinkingStart), only(events, ev.ToolCall)
    assert call.reasoning_id == started.reasoning_id


def test_the_calls_that_were_told_are_known_by_their_ids() -> None:
    made = composer()
    made.feed([fragment(0, "{}", "a", "f"), pt.ToolWhole(1, "b", "g", {})], NOW)
    assert made.tool_ids == []
    made.close(Ending(FinishReason.TOOL_CALLS), USAGE, NOW)
    assert made.tool_ids == ["a", "b"]


def test_a_call_without_thinking_names_none() -> None:
    (call,) = only(run(fragment(0, "{}", "id", "f"), STOP), ev.ToolCall)
    assert call.reasoning_id is None


# --- how it ends ---------------------------------------------------------------------------------


def ended(*parts: pt.Part) -> Ending:
    made = composer()
    made.feed(list(parts), NOW)
    return made.ending()


WELL = [r for r in FinishReason if r is not FinishReason.ERROR]
TOOL = fragment(0, "{}", "id", "f")


@pytest.mark.parametrize("reason", WELL)
def test_the_finish_reason_of_the_provider_is_that_of_the_stream(reason: FinishReason) -> None:
    assert ended(pt.Text("a"), pt.Finished(reason)) == Ending(reason)


def test_the_last_finish_reason_counts() -> None:
    assert ended(STOP, pt.Finished(FinishReason.LENGTH)).reason is FinishReason.LENGTH


def test_content_after_a_finish_reason_is_kept() -> None:
    assert fold(run(pt.Text("a"), STOP, pt.Text("b"))).text == "ab"


@pytest.mark.parametrize("last", [pt.Done(), pt.Failed(ProviderError("provider_timeout"))])
def test_content_after_the_terminal_marker_is_dropped(last: pt.Part) -> None:
    made = composer()
    assert fold(made.feed([pt.Text("a"), last, pt.Text("b"), STOP], NOW)).text == "a"
    assert made.feed([pt.Text("c")], NOW) == []
    assert made.over
    assert not made.finish_seen


def test_the_terminal_marker_alone_proves_an_end_of_unknown_reason() -> None:
    assert ended(pt.Text("a"), pt.Done()) == Ending(FinishReason.UNKNOWN)


@pytest.mark.parametrize("parts", [[], [pt.Text("a")], [TOOL], [pt.Used(USAGE)]])
def test_an_answer_without_proof_of_its_end_is_truncated(parts: list[pt.Part]) -> None:
    ending = ended(*parts)
    assert ending.reason is FinishReason.ERROR
    assert ending.error is not None
    assert ending.error.code == "upstream_truncated"


@pytest.mark.parametrize("tool", [TOOL, pt.ToolWhole(0, "id", "f", {})])
def test_stop_although_tools_were_called_means_tool_calls(tool: pt.Part) -> None:
    assert ended(tool, STOP).reason is FinishReason.TOOL_CALLS


def test_a_call_that_was_cut_by_the_length_limit_ends_with_length() -> None:
    assert ended(fragment(0, '{"a', "id", "f"), pt.Finished(FinishReason.LENGTH)) == Ending(
        FinishReason.LENGTH
    )


@pytest.mark.parametrize("reason", [FinishReason.STOP, FinishReason.LENGTH])
def test_a_refusal_is_text_that_ends_as_content_filter(reason: FinishReason) -> None:
    events = run(pt.Refusal("I cannot."), pt.Finished(reason))
    said = fold(events)
    assert (said.text, said.finish_reason) == ("I cannot.", FinishReason.CONTENT_FILTER)


def test_a_finish_reason_that_says_error_is_a_failure() -> None:
    ending = ended(pt.Text("a"), pt.Finished(FinishReason.ERROR))
    assert ending.error is not None
    assert ending.error.code == "provider_unavailable"


def test_a_failure_counts_more_than_a_finish_reason() -> None:
    error = ProviderError("provider_timeout")
    assert ended(pt.Text("a"), STOP, pt.Failed(error)) == Ending.failed(error)


def test_a_failure_is_told_with_its_code_and_its_safe_message() -> None:
    error = ProviderError("provider_timeout", reason="key sk-1 of acme")
    events = run(pt.Text("a"), pt.Failed(error))
    (told,) = only(events, ev.Error)
    assert (told.error_type, told.message, told.recoverable, told.metadata) == (
        "provider_timeout",
        error.message,
        False,
        None,
    )


def in_state(*parts: pt.Part) -> Callable[[], Composer]:
    def build() -> Composer:
        made = composer()
        made.feed(list(parts), NOW)
        return made

    return build


STATES = {
    "nothing": in_state(),
    "a finish reason": in_state(STOP),
    "text": in_state(pt.Text("a")),
    "thinking": in_state(pt.Thinking("a")),
    "a call": in_state(TOOL),
    "a nameless call": in_state(fragment(0, "{")),
    "a closed part": in_state(pt.Text("a"), pt.Attached(FILE)),
}
CLOSERS = {
    "text": ["text_complete", "step_finish"],
    "thinking": ["thinking_complete", "step_finish"],
    "nothing": [],
    "a finish reason": [],
    "a nameless call": [],
}
UNBEGUN = {"nothing", "a finish reason", "a nameless call"}  # no content was told yet
each_state = pytest.mark.parametrize("state", STATES)


def close(state: str, ending: Ending) -> list[str]:
    return types(STATES[state]().close(ending, USAGE, NOW))


@each_state
def test_a_cancel_closes_what_is_open_and_nothing_else(state: str) -> None:
    begin = [] if state not in UNBEGUN else ["stream_start"]
    closers = CLOSERS.get(state, ["step_finish"])
    assert close(state, CANCELLED) == [*begin, *closers, "stream_end"]


@each_state
def test_a_failure_is_told_before_what_is_open_closes(state: str) -> None:
    begin = [] if state not in UNBEGUN else ["stream_start"]
    closers = CLOSERS.get(state, ["step_finish"])
    assert close(state, FAILED) == [*begin, "error", *closers, "stream_end"]


@each_state
def test_a_success_also_tells_the_calls(state: str) -> None:
    begin = [] if state not in UNBEGUN else ["stream_start", "step_start"]
    closers = CLOSERS.get(state) or ["step_finish"]
    call = ["tool_call"] if state.endswith("call") else []
    assert close(state, Ending(FinishReason.STOP)) == [*begin, *call, *closers, "stream_end"]


# --- fallback to another target ------------------------------------------------------------------


def test_what_a_failed_target_said_is_forgotten() -> None:
    made = composer()
    silent: list[pt.Part] = [pt.Model("m1"), pt.Used(Usage(9, 9)), pt.Replay({"n": 1})]
    silent += [fragment(0, "{"), pt.Finished(FinishReason.LENGTH)]
    assert made.feed([*silent, pt.Failed(ProviderError("provider_timeout"))], NOW) == []
    made.target("groq", "llama")
    assert (made.usage, made.over, made.finish_seen, made.started) == (None, False, False, False)
    assert made.replay == []
    assert made.ending().error is not None  # truncated: nothing is proven yet
    assert made.output.tokens == 0
    start = made.feed([pt.Text("a"), pt.Finished(FinishReason.STOP)], NOW)[0]
    assert made.ending().reason is FinishReason.STOP  # the call was the other target's
    assert isinstance(start, ev.StreamStart)
    assert (start.provider, start.model) == ("groq", "llama")


def test_no_other_target_continues_a_stream_that_began() -> None:
    made = composer()
    made.feed([pt.Text("a")], NOW)
    with pytest.raises(AssertionError):
        made.target("groq", "llama")


def test_the_last_usage_counts() -> None:
    made = composer()
    made.feed([pt.Used(Usage(1, 1)), pt.Text("a"), pt.Used(Usage(1, 2))], NOW)
    assert made.usage == Usage(1, 2)


# --- citations -----------------------------------------------------------------------------------


def cited(*parts: pt.Part) -> list[tuple[str, list[str | int]]]:
    last = run(*parts, STOP)[-1]
    assert isinstance(last, ev.StreamEnd)
    return [(p.output_text, [c.source for c in p.citations]) for p in last.citations or []]


def test_a_citation_before_the_text_belongs_to_the_text_that_follows() -> None:
    events = run(pt.Cited(SOURCE), pt.Text("a"), STOP)
    assert between(events) == ["citation", "text_start", "text_delta", "text_complete"]
    (citation,), (start,) = only(events, ev.CitationEvent), only(events, ev.TextStart)
    assert citation.message_id == start.message_id
    assert cited(pt.Cited(SOURCE), pt.Text("a")) == [("a", ["https://a"])]


def test_a_citation_inside_the_text_leaves_it_open() -> None:
    events = run(pt.Text("a"), pt.Cited(SOURCE), pt.Text("b"), STOP)
    assert between(events) == [
        "text_start",
        "text_delta",
        "citation",
        "text_delta",
        "text_complete",
    ]
    assert cited(pt.Text("a"), pt.Cited(SOURCE), pt.Text("b")) == [("ab", ["https://a"])]


def test_a_citation_after_the_text_belongs_to_the_text_before() -> None:
    events = run(pt.Text("a"), pt.Attached(FILE), pt.Cited(SOURCE), STOP)
    (citation,), (start,) = only(events, ev.CitationEvent), only(events, ev.TextStart)
    assert citation.message_id == start.message_id
    assert cited(pt.Text("a"), pt.Thinking("t"), pt.Cited(SOURCE)) == [("a", ["https://a"])]


def test_a_citation_without_any_text_is_told_all_the_same() -> None:
    assert cited(pt.Cited(SOURCE)) == [("", ["https://a"])]


def test_each_text_block_has_its_own_citations() -> None:
    first: list[pt.Part] = [pt.Text("a"), pt.Cited(SOURCE)]
    second: list[pt.Part] = [pt.Text("b"), pt.Cited(OTHER_SOURCE)]
    told = cited(*first, pt.Thinking("t"), *second)
    assert told == [("a", ["https://a"]), ("b", ["https://b"])]


def test_without_citations_the_end_says_null() -> None:
    last = run(pt.Text("a"), STOP)[-1]
    assert isinstance(last, ev.StreamEnd)
    assert last.citations is None
