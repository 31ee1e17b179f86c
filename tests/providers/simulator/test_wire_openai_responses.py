"""The openai-responses wire: which events an answer is made of, byte for byte where it matters."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellstream.providers.simulator.answer import Tool, Turn, pieces
from tellstream.providers.simulator.failure import failure
from tellstream.providers.simulator.keys import EXTRA_FRAMES, Fault
from tellstream.providers.simulator.script import parse_model
from tellstream.providers.simulator.wire import CREATED, Frame, RequestError
from tellstream.providers.simulator.wire_openai_responses import OpenAIResponsesWire

WIRE = OpenAIResponsesWire()
CLOCK = Tool("clock", {"properties": {"zone": {"type": "string"}}, "required": ["zone"]})
PLACE = '"item_id":"msg_abc0","output_index":0,"content_index":0'
PART = '"part":{"type":"output_text","annotations":[],"logprobs":[],"text":'


def turn(model: str, **fields: Any) -> Turn:
    return Turn(model=model, digest="abc", prompt_tokens=7, **fields)


def frames(model: str, **fields: Any) -> list[Frame]:
    script, asked = parse_model(model), turn(model, **fields)
    return list(WIRE.frames(script, asked, pieces(script, asked)))


def events(model: str, **fields: Any) -> list[Any]:
    decoded = []
    for data, _ in frames(model, **fields):
        kind, _, rest = data.partition(b"\n")
        assert rest.startswith(b"data: ")
        assert rest.endswith(b"\n\n")
        decoded.append(json.loads(rest[6:]))
        assert kind == b"event: " + decoded[-1]["type"].encode()
    return decoded


def response(model: str, status: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": "resp_abc",
        "object": "response",
        "created_at": CREATED + 5,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": None,
        "metadata": {},
    } | fields


def test_a_small_answer_frame_by_frame() -> None:
    model = "sim:mark=w,words=2,seed=5"
    begun = json.dumps(response(model, "in_progress"), separators=(",", ":"))
    text = {"type": "output_text", "annotations": [], "logprobs": [], "text": "w1 w2"}
    done = {"id": "msg_abc0", "type": "message", "status": "completed", "content": [text]}
    done |= {"role": "assistant"}
    usage = {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 9,
    }
    ended = response(model, "completed", output=[done], usage=usage)
    item, last = (json.dumps(each, separators=(",", ":")) for each in (done, ended))
    expected = [
        ("response.created", f'"response":{begun}'),
        ("response.in_progress", f'"response":{begun}'),
        (
            "response.output_item.added",
            (
                '"output_index":0,"item":{"id":"msg_abc0","type":"message",'
                '"status":"in_progress","content":[],"role":"assistant"}'
            ),
        ),
        ("response.content_part.added", f'{PLACE},{PART}""}}'),
        ("response.output_text.delta", f'{PLACE},"delta":"w1","logprobs":[]'),
        ("response.output_text.delta", f'{PLACE},"delta":" w2","logprobs":[]'),
        ("response.output_text.done", f'{PLACE},"text":"w1 w2","logprobs":[]'),
        ("response.content_part.done", f'{PLACE},{PART}"w1 w2"}}'),
        ("response.output_item.done", f'"output_index":0,"item":{item}'),
        ("response.completed", f'"response":{last}'),
    ]
    assert [frame.data.decode() for frame in frames(model)] == [
        f'event: {kind}\ndata: {{"type":"{kind}",{fields},"sequence_number":{number}}}\n\n'
        for number, (kind, fields) in enumerate(expected)
    ]


def test_thinking_is_a_reasoning_item_with_a_summary_part() -> None:
    said = events("sim:think=2,words=0")
    assert [event["type"].removeprefix("response.") for event in said[2:-1]] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    item = said[-1]["response"]["output"][0]
    assert item["summary"] == [{"type": "summary_text", "text": "Let me"}]
    assert item["encrypted_content"]


def test_calls_have_output_indices_of_their_own_and_interleave() -> None:
    said = events("sim:words=1,tools=2", tools=(CLOCK,))
    added = [e for e in said if e["type"] == "response.output_item.added"]
    assert [(e["output_index"], e["item"]["type"]) for e in added] == [
        (0, "message"),
        (1, "function_call"),
        (2, "function_call"),
    ]
    assert added[1]["item"]["call_id"] == "call_abc0"
    deltas = [e for e in said if e["type"] == "response.function_call_arguments.delta"]
    assert [e["output_index"] for e in deltas[:4]] == [1, 2, 1, 2]
    assert [item["type"] for item in said[-1]["response"]["output"]] == [
        "message",
        "function_call",
        "function_call",
    ]
    assert json.loads(said[-1]["response"]["output"][2]["arguments"]) == {"zone": "simulated"}


def test_frames_count_what_usage_says() -> None:
    said = frames("sim:think=1,words=1,tools=2", tools=(CLOCK,))
    usage = json.loads(said[-1].data.partition(b"data: ")[2])["response"]["usage"]
    assert usage["output_tokens"] == sum(frame.tokens for frame in said)


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_an_incomplete_response_says_why(finish: str, reason: str) -> None:
    last = events(f"sim:words=1,finish={finish}")[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["status"] == "incomplete"
    assert last["response"]["incomplete_details"] == {"reason": reason}
    assert last["response"]["output"][0]["status"] == "incomplete"
    assert last["response"]["usage"]


def test_a_refusal_has_its_own_part_and_events() -> None:
    said = events("sim:refusal=1,text=No")
    assert said[3]["part"] == {"type": "refusal", "refusal": ""}
    assert said[4]["type"] == "response.refusal.delta"
    assert said[5]["refusal"] == "No"
    assert said[-1]["response"]["output"][0]["content"] == [{"type": "refusal", "refusal": "No"}]


def test_an_endless_answer_is_not_remembered() -> None:
    finite, endless = parse_model("sim:words=3"), parse_model("sim:fault=endless")
    *_, ended = WIRE.frames(endless, turn("x"), pieces(finite, turn("x")))
    assert b"response.completed" in ended.data
    assert b"stream" not in ended.data


@pytest.mark.parametrize("fault", sorted(EXTRA_FRAMES))
def test_the_frames_that_faults_add_are_what_they_say(fault: Fault) -> None:
    script = parse_model(f"sim:fault={fault},at=4")
    data, tokens = WIRE.fault_frame(script, turn("sim"), fault)
    assert tokens == 0
    assert data.endswith(b"\n\n")
    first, *more = data.removesuffix(b"\n\n").split(b"\n\n")
    payload = first.partition(b"\ndata: ")[2]
    if fault is Fault.GARBLE:
        with pytest.raises(json.JSONDecodeError):
            json.loads(payload)
    elif fault is Fault.BADUTF8:
        with pytest.raises(UnicodeDecodeError):
            payload.decode()
    elif fault is Fault.HUGEEVENT:
        assert json.loads(payload)["sequence_number"] == 4
    else:
        assert json.loads(payload)["error"]["code"] == "server_error"
        failed = json.loads(more[0].partition(b"\ndata: ")[2])
        assert (failed["type"], failed["sequence_number"]) == ("response.failed", 5)
        assert failed["response"]["status"] == "failed"
        assert set(failed["response"]["error"]) == {"code", "message"}


def test_an_answer_in_one_piece() -> None:
    model = "sim:think=2,text=a%20b,tools=2"
    script, asked = parse_model(model), turn(model, stream=False, tools=(CLOCK,))
    frame = WIRE.whole(script, asked, pieces(script, asked))
    streamed = events(model, tools=(CLOCK,))[-1]["response"]
    assert json.loads(frame.data) == streamed
    assert frame.tokens == streamed["usage"]["output_tokens"]


def test_error_bodies_are_those_of_the_other_openai_wire() -> None:
    error = json.loads(WIRE.failure(failure(429)))["error"]
    assert (error["code"], error["type"]) == ("rate_limit_exceeded", "requests")


def test_a_request_is_read_for_what_the_answer_needs() -> None:
    body = {
        "model": "sim",
        "instructions": "be kind",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "one two"}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a b c"}]},
            {"type": "function_call", "name": "clock", "arguments": "{}", "call_id": "c"},
            {"type": "function_call_output", "call_id": "c", "output": "it is noon"},
        ],
        "tools": [{"type": "function", "name": "clock", "parameters": {"a": 1}}, {"type": "x"}, 5],
        "stream": True,
    }
    read = WIRE.read(json.dumps(body).encode())
    assert (read.prompt_tokens, read.question, read.result) == (7, "one two", "it is noon")
    assert read.tools == (Tool("clock", {"a": 1}),)
    assert read.stream
    short = WIRE.read(b'{"model":"sim","input":"three little words"}')
    assert (short.prompt_tokens, short.question, short.stream) == (3, "three little words", False)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"input":"a"}', b'{"model":"sim","input":[1]}'])
def test_an_unreadable_request_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError):
        WIRE.read(body)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.sampled_from(["input", "instructions", "tools", "stream", "model"]), _json)
def test_any_json_is_read_or_refused(field: str, value: Any) -> None:
    with suppress(RequestError):
        WIRE.read(json.dumps({"model": "sim", "input": "a"} | {field: value}).encode())
