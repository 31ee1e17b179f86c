"""The anthropic-messages wire: blocks in sequence, cumulative usage, its own errors."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellstream.providers.simulator.answer import Tool, Turn, pieces
from tellstream.providers.simulator.failure import Failure, failure
from tellstream.providers.simulator.keys import EXTRA_FRAMES, Fault
from tellstream.providers.simulator.script import parse_model
from tellstream.providers.simulator.wire import Frame, RequestError
from tellstream.providers.simulator.wire_anthropic_messages import AnthropicMessagesWire

WIRE = AnthropicMessagesWire()
CLOCK = Tool("clock", {"properties": {"zone": {"type": "string"}}, "required": ["zone"]})


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


def usage(output: int, thinking: int) -> str:
    return (
        '"usage":{"input_tokens":7,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,'
        f'"output_tokens":{output},"output_tokens_details":{{"thinking_tokens":{thinking}}}}}'
    )


def test_a_small_answer_frame_by_frame() -> None:
    model = "sim:think=1,mark=w,words=2"
    signature = json.loads(frames(model)[3].data.partition(b"data: ")[2])["delta"]["signature"]
    expected = [
        (
            "message_start",
            (
                f',"message":{{"model":"{model}","id":"msg_abc","type":"message",'
                f'"role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,'
                f"{usage(0, 0)}}}"
            ),
        ),
        (
            "content_block_start",
            ',"index":0,"content_block":{"type":"thinking","thinking":"","signature":""}',
        ),
        (
            "content_block_delta",
            ',"index":0,"delta":{"type":"thinking_delta","thinking":"Let"}',
        ),
        (
            "content_block_delta",
            f',"index":0,"delta":{{"type":"signature_delta","signature":"{signature}"}}',
        ),
        ("content_block_stop", ',"index":0'),
        ("content_block_start", ',"index":1,"content_block":{"type":"text","text":""}'),
        ("content_block_delta", ',"index":1,"delta":{"type":"text_delta","text":"w1"}'),
        ("content_block_delta", ',"index":1,"delta":{"type":"text_delta","text":" w2"}'),
        ("content_block_stop", ',"index":1'),
        (
            "message_delta",
            f',"delta":{{"stop_reason":"end_turn","stop_sequence":null}},{usage(3, 1)}',
        ),
        ("message_stop", ""),
    ]
    assert [frame.data.decode() for frame in frames(model)] == [
        f'event: {kind}\ndata: {{"type":"{kind}"{fields}}}\n\n' for kind, fields in expected
    ]
    assert [frame.tokens for frame in frames(model)] == [0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0]


def test_parallel_calls_are_blocks_one_after_the_other() -> None:
    said = events("sim:words=1,tools=2", tools=(CLOCK,))
    blocks = [e["content_block"] for e in said if e["type"] == "content_block_start"]
    assert blocks == [
        {"type": "text", "text": ""},
        {"type": "tool_use", "id": "toolu_abc0", "name": "clock", "input": {}},
        {"type": "tool_use", "id": "toolu_abc1", "name": "clock", "input": {}},
    ]
    deltas = [e for e in said if e.get("delta", {}).get("type") == "input_json_delta"]
    assert [e["index"] for e in deltas] == sorted(e["index"] for e in deltas)
    for index in (1, 2):
        arguments = (e["delta"]["partial_json"] for e in deltas if e["index"] == index)
        assert json.loads("".join(arguments)) == {"zone": "simulated"}
    assert said[-2]["delta"]["stop_reason"] == "tool_use"
    assert said[-2]["usage"]["output_tokens"] == sum(
        frame.tokens for frame in frames("sim:words=1,tools=2", tools=(CLOCK,))
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("finish=length", "max_tokens"),
        ("finish=content_filter", "refusal"),
        ("finish=none", None),
        ("refusal=1", "refusal"),
        ("refusal=1,finish=stop", "end_turn"),
    ],
)
def test_stop_reasons(options: str, reason: str | None) -> None:
    assert events(f"sim:words=1,{options}")[-2]["delta"]["stop_reason"] == reason


def test_without_usage_nothing_is_counted() -> None:
    assert b"usage" not in b"".join(f.data for f in frames("sim:words=1,usage=none")).replace(
        b"usage=none", b""
    )


def test_words_after_the_finish_are_a_block_of_their_own() -> None:
    kinds = [event["type"] for event in events("sim:words=0,fault=afterfinish")]
    assert kinds == [
        "message_start",
        "message_delta",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_stop",
    ]


@pytest.mark.parametrize("fault", sorted(EXTRA_FRAMES))
@pytest.mark.parametrize("think", [0, 1])
def test_the_frames_that_faults_add_are_what_they_say(fault: Fault, think: int) -> None:
    script = parse_model(f"sim:think={think},fault={fault}")
    data, tokens = WIRE.fault_frame(script, turn("sim"), fault)
    assert tokens == 0
    payload = data.removesuffix(b"\n\n").partition(b"\ndata: ")[2]
    if fault is Fault.GARBLE:
        with pytest.raises(json.JSONDecodeError):
            json.loads(payload)
    elif fault is Fault.BADUTF8:
        with pytest.raises(UnicodeDecodeError):
            payload.decode()
    elif fault is Fault.HUGEEVENT:
        assert json.loads(payload)["index"] == think  # the block of the text
    else:
        assert data == b"event: error\ndata: " + WIRE.failure(failure()) + b"\n\n"


def test_an_answer_in_one_piece() -> None:
    model = "sim:think=2,text=a%20b,tools=1"
    script, asked = parse_model(model), turn(model, stream=False, tools=(CLOCK,))
    frame = WIRE.whole(script, asked, pieces(script, asked))
    body = json.loads(frame.data)
    thinking, text, call = body["content"]
    assert thinking["thinking"] == "Let me"
    assert thinking["signature"]
    assert text == {"type": "text", "text": "a b"}
    assert call["input"] == {"zone": "simulated"}
    assert body["stop_reason"] == "tool_use"
    assert body["usage"]["output_tokens"] == frame.tokens
    refused = parse_model("sim-refusal")
    content = json.loads(WIRE.whole(refused, asked, pieces(refused, asked)).data)["content"]
    assert content[0]["text"].startswith("I'm sorry")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "", "invalid_request_error"),
        (401, "", "authentication_error"),
        (402, "", "billing_error"),
        (413, "", "request_too_large"),
        (418, "", "invalid_request_error"),
        (429, "", "rate_limit_error"),
        (429, "insufficient_quota", "rate_limit_error"),
        (500, "", "api_error"),
        (503, "", "api_error"),
        (529, "", "overloaded_error"),
    ],
)
def test_error_bodies(status: int, code: str, kind: str) -> None:
    body = json.loads(WIRE.failure(failure(status, code)))
    assert (body["type"], body["error"]["type"]) == ("error", kind)
    assert body["request_id"]
    spent = {"error_code": "enforced_spend_limit_reached"}
    assert body["error"]["details"] == (spent if code else None)


def test_a_particular_message_is_kept_and_a_general_one_is_the_providers() -> None:
    def message(of: Failure) -> Any:
        return json.loads(WIRE.failure(of))["error"]["message"]

    assert message(failure(401)) == "invalid x-api-key"
    assert message(Failure(401, "invalid_api_key", "mine")) == "mine"
    assert message(Failure(404, "unknown_url", "where?")) == "where?"


def test_a_request_is_read_for_what_the_answer_needs() -> None:
    result = [{"type": "text", "text": "it is noon"}, {"type": "image"}]
    thinking = {"type": "thinking", "thinking": "a b c", "signature": "s"}
    body = {
        "model": "sim",
        "system": [{"type": "text", "text": "be kind"}],
        "messages": [
            {"role": "user", "content": "one two"},
            {"role": "assistant", "content": [thinking, {"type": "tool_use", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "content": result}]},
        ],
        "tools": [{"name": "clock", "input_schema": {"a": 1}}, {"type": "web_search"}, 5],
        "stream": True,
    }
    read = WIRE.read(json.dumps(body).encode())
    assert (read.prompt_tokens, read.question, read.result) == (7, "one two", "it is noon")
    assert read.tools == (Tool("clock", {"a": 1}),)
    assert read.stream
    body["messages"][-1]["content"].append({"type": "text", "text": "and now?"})  # type: ignore[index]
    read = WIRE.read(json.dumps(body).encode())
    assert (read.question, read.result) == ("and now?", None)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"messages":[]}', b'{"model":"sim"}'])
def test_an_unreadable_request_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError):
        WIRE.read(body)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.sampled_from(["messages", "system", "tools", "stream", "model"]), _json)
def test_any_json_is_read_or_refused(field: str, value: Any) -> None:
    with suppress(RequestError):
        WIRE.read(json.dumps({"model": "sim", "messages": []} | {field: value}).encode())
