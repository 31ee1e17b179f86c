"""The 17 events: exact bytes, characters that could cut a line, values that could stop a stream."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellstream.core import events as ev
from tellstream.core.usage import FinishReason, Usage

I, T = "evt_01KPTDR1BW0000000000000000", 1776855811  # noqa: E741  (as short as the wire)

CITATION = ev.Citation("url", "https://a/b", "t", "T", "character", 0, 4, {"k": 1})
CITATION_JSON = (
    '{"source_type":"url","source":"https://a/b","source_text":"t","source_title":"T",'
    '"source_position_type":"character","source_start_index":0,"source_end_index":4,'
    '"additional_content":{"k":1}}'
)
USAGE_JSON = (
    '{"prompt_tokens":1,"completion_tokens":2,"cache_write_input_tokens":3,'
    '"cache_read_input_tokens":4,"thought_tokens":5}'
)
HEAD = f'{{"id":"{I}","timestamp":{T}'

# Every type with every field given, and its JSON as native-events.md section 2 orders it.
FULL: list[tuple[ev.Event, str]] = [
    (
        ev.StreamStart(I, T, "grok-4", "xai", {"a": "b"}),
        ',"model":"grok-4","provider":"xai","metadata":{"a":"b"}}',
    ),
    (ev.StepStart(I, T), "}"),
    (ev.TextStart(I, T, "m"), ',"message_id":"m"}'),
    (ev.TextDelta(I, T, "é/😀", "m"), ',"delta":"é/😀","message_id":"m"}'),
    (ev.TextComplete(I, T, "m"), ',"message_id":"m"}'),
    (ev.ThinkingStart(I, T, "r"), ',"reasoning_id":"r"}'),
    (
        ev.ThinkingDelta(I, T, "d", "r", {"s": 1}),
        ',"delta":"d","reasoning_id":"r","summary":{"s":1}}',
    ),
    (ev.ThinkingComplete(I, T, "r", {"s": 1}), ',"reasoning_id":"r","summary":{"s":1}}'),
    (
        ev.ToolCallDelta(I, T, "t", "n", '{"a"', "m"),
        ',"tool_id":"t","tool_name":"n","delta":"{\\"a\\"","message_id":"m"}',
    ),
    (
        ev.ToolCall(I, T, "t", "n", {}, "m", "r", '{"a"'),
        (
            ',"tool_id":"t","tool_name":"n","arguments":{},"message_id":"m","reasoning_id":"r",'
            '"invalid_arguments":"{\\"a\\""}'
        ),
    ),
    (
        ev.ToolResult(I, T, "t", [1, None], "c", "m", False, "e"),
        (
            ',"tool_id":"t","result":[1,null],"tool_call_result_id":"c","message_id":"m",'
            '"success":false,"error":"e"}'
        ),
    ),
    (
        ev.Artifact(I, T, "t", "n", "m", ev.ArtifactData("i", "QQ==", "image/png", {"k": "v"})),
        (
            ',"tool_call_id":"t","tool_name":"n","message_id":"m",'
            '"artifact":{"id":"i","data":"QQ==","mime_type":"image/png","metadata":{"k":"v"}}}'
        ),
    ),
    (
        ev.ProviderToolEvent(
            I, T, "provider_tool_event", "provider_tool_event.w.done", "w", "done", "7", {"q": "x"}
        ),
        (
            ',"type":"provider_tool_event","event_key":"provider_tool_event.w.done","tool_type":"w",'
            '"status":"done","item_id":"7","data":{"q":"x"}}'
        ),
    ),
    (
        ev.CitationEvent(I, T, CITATION, "m", 2, {"k": 1}),
        f',"citation":{CITATION_JSON},"message_id":"m","block_index":2,"metadata":{{"k":1}}}}',
    ),
    (
        ev.Error(I, T, "provider_timeout", "Late.", False, {"k": 1}),
        (
            ',"error_type":"provider_timeout","message":"Late.","recoverable":false,'
            '"metadata":{"k":1}}'
        ),
    ),
    (ev.StepFinish(I, T), "}"),
    (
        ev.StreamEnd(
            I, T, FinishReason.STOP, Usage(1, 2, 3, 4, 5), [ev.CitationPart("x", [CITATION])]
        ),
        (
            f',"finish_reason":"Stop","usage":{USAGE_JSON},'
            f'"citations":[{{"output_text":"x","citations":[{CITATION_JSON}]}}]}}'
        ),
    ),
]
# The same with whatever may be left out left out: the keys stay, as null.
LEAST: list[tuple[ev.Event, str]] = [
    (
        ev.StreamStart(I, T, "m", "p"),
        ',"model":"m","provider":"p","metadata":null}',
    ),
    (ev.ThinkingDelta(I, T, "d", "r"), ',"delta":"d","reasoning_id":"r","summary":null}'),
    (ev.ThinkingComplete(I, T, "r"), ',"reasoning_id":"r","summary":null}'),
    (
        ev.ToolCall(I, T, "t", "n", {"a": 1}, "m"),
        ',"tool_id":"t","tool_name":"n","arguments":{"a":1},"message_id":"m","reasoning_id":null}',
    ),
    (
        ev.ToolResult(I, T, "t", None, None, "m", True),
        (
            ',"tool_id":"t","result":null,"tool_call_result_id":null,"message_id":"m","success":true,'
            '"error":null}'
        ),
    ),
    (
        ev.CitationEvent(I, T, ev.Citation("document", 3), "m"),
        (
            ',"citation":{"source_type":"document","source":3,"source_text":null,"source_title":null,'
            '"source_position_type":null,"source_start_index":null,"source_end_index":null,'
            '"additional_content":{}},"message_id":"m","block_index":null,"metadata":null}'
        ),
    ),
    (
        ev.Error(I, T, "e", "m", True),
        ',"error_type":"e","message":"m","recoverable":true,"metadata":null}',
    ),
    (
        ev.StreamEnd(I, T, FinishReason.CANCELLED, None),
        ',"finish_reason":"Cancelled","usage":null,"citations":null}',
    ),
]
each = pytest.mark.parametrize(
    ("event", "rest"),
    FULL + LEAST,
    ids=[e.type for e, _ in FULL] + [f"{e.type}-" for e, _ in LEAST],
)


@each
def test_an_event_is_exactly_these_bytes(event: ev.Event, rest: str) -> None:
    assert ev.encode(event).decode() == HEAD + rest


@each
def test_decoding_is_the_inverse_of_encoding(event: ev.Event, rest: str) -> None:
    assert ev.decode(event.type, ev.encode(event)) == event


def test_the_samples_above_are_all_of_the_17_types() -> None:
    assert [event.type for event, _ in FULL] == list(ev.EVENT_TYPES)
    assert len(ev.EVENT_TYPES) == 17


def test_content_events_are_all_but_the_five_that_frame_a_stream() -> None:
    assert set(ev.EVENT_TYPES) > ev.NON_CONTENT
    assert {"stream_start", "step_start", "step_finish", "error", "stream_end"} == ev.NON_CONTENT


def test_events_cannot_be_changed() -> None:
    event = ev.StepStart(I, T)
    with pytest.raises(AttributeError):
        event.timestamp = 1  # type: ignore[misc]


@pytest.mark.parametrize("separator", ["\u0085", "\u2028", "\u2029"])
def test_what_some_clients_take_for_a_line_end_is_escaped(separator: str) -> None:
    data = ev.encode(ev.TextDelta(I, T, f"a{separator}b", "m"))
    assert f'"a\\u{ord(separator):04x}b"'.encode() in data


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_one_event_is_one_line_for_every_line_splitter(delta: str) -> None:
    event = ev.TextDelta(I, T, delta, "m")
    data = ev.encode(event)
    assert len(data.decode().splitlines()) == 1
    assert ev.decode("text_delta", data) == event


def test_neighbours_of_the_separators_are_left_alone() -> None:
    text = "\u2027\u202a\u0084\u0086é…\u20ac\U00022028"
    assert json.dumps(text, ensure_ascii=False).encode() in ev.encode(ev.TextDelta(I, T, text, "m"))


def test_a_lone_surrogate_becomes_the_replacement_character() -> None:
    event = ev.decode("text_delta", ev.encode(ev.TextDelta(I, T, "a\ud83db", "m")))
    assert event == ev.TextDelta(I, T, "a\ufffdb", "m")


def test_a_pair_of_surrogates_becomes_its_character() -> None:
    assert ev.without_surrogates("\ud83d\ude00") == "😀"


def test_surrogates_are_replaced_at_every_depth_and_change_nothing_else() -> None:
    arguments = {"k\udc00": ["x\ud800", {"y": "\udfff"}, 1, None, 2.5], "big": 2**80}
    made = ev.decode("tool_call", ev.encode(ev.ToolCall(I, T, "t", "n", arguments, "m")))
    replaced = {"k\ufffd": ["x\ufffd", {"y": "\ufffd"}, 1, None, 2.5], "big": 2**80}
    assert made == ev.ToolCall(I, T, "t", "n", replaced, "m")


def test_surrogates_do_not_change_the_order_of_keys() -> None:
    event = ev.ProviderToolEvent(
        I, T, "provider_tool_event", "k", "\ud800", "s", "i", {"\ud800": 1}
    )
    data = json.loads(ev.encode(event))
    assert list(data) == (
        ["id", "timestamp", "type", "event_key", "tool_type", "status", "item_id", "data"]
    )
    assert data["data"] == {"\ufffd": 1}


def tool_call(arguments: dict[str, Any]) -> ev.Event:
    return ev.decode("tool_call", ev.encode(ev.ToolCall(I, T, "t", "n", arguments, "m")))


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**300, -(10**4000)])
def test_integers_of_any_size_survive(number: int) -> None:
    assert tool_call({"n": number}) == ev.ToolCall(I, T, "t", "n", {"n": number}, "m")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_json_has_no_number_for_is_null(number: float) -> None:
    assert tool_call({"n": number}) == ev.ToolCall(I, T, "t", "n", {"n": None}, "m")


@pytest.mark.parametrize("leaf", ["plain", "\ud800"])
def test_the_deepest_arguments_that_are_read_can_be_written(leaf: str) -> None:
    depth = 197  # below lenient_json.MAX_DEPTH, in an object, in an event
    arguments: Any = leaf
    for level in range(depth):
        arguments = {"a": arguments} if level % 2 else [arguments]
    data = ev.encode(ev.ToolCall(I, T, "t", "n", {"a": arguments}, "m"))
    assert data.count(b"[") + data.count(b"{") == depth + 2


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Text with surrogates, as lenient decoding lets it through.
    | st.text(st.characters(exclude_categories=[])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=[])), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=[])), JSON, max_size=4))
def test_any_json_object_can_be_arguments(arguments: dict[str, Any]) -> None:
    event = ev.ToolCall(I, T, "t", "n", arguments, "m")
    data = ev.encode(event)
    assert len(data.decode().splitlines()) == 1
    again = ev.decode("tool_call", data)
    assert ev.encode(again) == data


def test_an_unknown_type_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        ev.decode("text_end", b"{}")


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"id":1,"timestamp":1}', b'{"id":"\xff"}'])
def test_data_that_is_not_the_event_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        ev.decode("step_start", data)


def test_unknown_keys_of_later_versions_are_ignored() -> None:
    data = b'{"id":"i","new":{},"timestamp":1}'
    assert ev.decode("step_start", data) == ev.StepStart("i", 1)


def test_a_missing_optional_key_reads_as_null() -> None:
    data = b'{"id":"i","timestamp":1,"model":"m","provider":"p"}'
    assert ev.decode("stream_start", data) == ev.StreamStart("i", 1, "m", "p", None)


def test_invalid_arguments_are_absent_rather_than_null() -> None:
    event = ev.decode("tool_call", ev.encode(ev.ToolCall(I, T, "t", "n", {}, "m")))
    assert isinstance(event, ev.ToolCall)
    assert event.invalid_arguments is msgspec.UNSET
