"""The ollama wire: a JSON object per line, and one line that is finish, counts and marker."""

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
from tellstream.providers.simulator.wire_ollama import OllamaWire

WIRE = OllamaWire()
CLOCK = Tool("clock", {"properties": {"zone": {"type": "string"}}, "required": ["zone"]})


def turn(model: str, **fields: Any) -> Turn:
    return Turn(model=model, digest="abc", prompt_tokens=7, **fields)


def frames(model: str, **fields: Any) -> list[Frame]:
    script, asked = parse_model(model), turn(model, **fields)
    return list(WIRE.frames(script, asked, pieces(script, asked)))


def lines(model: str, **fields: Any) -> list[Any]:
    said = frames(model, **fields)
    assert all(frame.data.count(b"\n") == 1 and frame.data.endswith(b"\n") for frame in said)
    return [json.loads(frame.data) for frame in said]


def test_a_small_answer_frame_by_frame() -> None:
    model = "sim:think=1,mark=w,words=2,seed=61"
    head = (
        f'{{"model":"{model}","created_at":"2026-01-01T00:01:01Z","message":{{"role":"assistant",'
    )
    assert [frame.data.decode() for frame in frames(model)] == [
        head + '"content":"","thinking":"the"},"done":false}\n',
        head + '"content":"w1"},"done":false}\n',
        head + '"content":" w2"},"done":false}\n',
        head + '"content":""},"done":true,"done_reason":"stop","total_duration":10000000,'
        '"load_duration":0,"prompt_eval_count":7,"prompt_eval_duration":7000000,"eval_count":3,'
        '"eval_duration":3000000}\n',
    ]
    assert [frame.tokens for frame in frames(model)] == [1, 1, 1, 0]


def test_calls_are_whole() -> None:
    first, second, last = lines("sim:tools=2", tools=(CLOCK,))
    for index, line in enumerate((first, second)):
        arguments = {"zone": "simulated"}
        function = {"index": index, "name": "clock", "arguments": arguments}
        assert line["message"]["tool_calls"] == [{"id": f"call_abc{index}", "function": function}]
    assert (last["done"], last["done_reason"], last["eval_count"]) == (True, "stop", 8)
    assert [frame.tokens for frame in frames("sim:tools=2", tools=(CLOCK,))] == [4, 4, 0]


@pytest.mark.parametrize(
    ("options", "ending"),
    [
        ("usage=none", {"done": True, "done_reason": "stop"}),
        ("usage=none,finish=length", {"done": True, "done_reason": "length"}),
        ("usage=none,finish=none", {"done": True}),
    ],
)
def test_endings(options: str, ending: dict[str, Any]) -> None:
    last = lines(f"sim:words=1,{options}")[-1]
    assert {key: last[key] for key in last.keys() - {"model", "created_at", "message"}} == ending


def test_the_end_may_be_missing_doubled_or_followed() -> None:
    assert [line["done"] for line in lines("sim:words=1,done=0")] == [False]
    assert [line["done"] for line in lines("sim:words=1,fault=dupfinish")] == [False, True, True]
    assert lines("sim:words=1,fault=afterdone")[-1]["message"]["content"] == " (too late)"


@pytest.mark.parametrize("fault", sorted(EXTRA_FRAMES))
def test_the_frames_that_faults_add_are_what_they_say(fault: Fault) -> None:
    data, tokens = WIRE.fault_frame(parse_model("sim"), turn("sim"), fault)
    assert tokens == 0
    assert data.endswith(b"\n")
    assert data.count(b"\n") == 1
    if fault is Fault.GARBLE:
        with pytest.raises(json.JSONDecodeError):
            json.loads(data)
    elif fault is Fault.BADUTF8:
        with pytest.raises(UnicodeDecodeError):
            data.decode()
    elif fault is Fault.HUGEEVENT:
        assert json.loads(data)["message"]["content"]
    else:
        assert json.loads(data) == {"error": "an error was encountered while running the model"}


def test_an_answer_in_one_piece() -> None:
    model = "sim:think=2,text=a%20b,tools=1"
    script, asked = parse_model(model), turn(model, stream=False, tools=(CLOCK,))
    frame = WIRE.whole(script, asked, pieces(script, asked))
    body = json.loads(frame.data)
    message = body["message"]
    assert (message["content"], message["thinking"]) == ("a b", "Let me")
    assert message["tool_calls"][0]["function"]["arguments"] == {"zone": "simulated"}
    assert (body["done"], body["eval_count"]) == (True, frame.tokens)
    plain = parse_model("sim:words=1")
    message = json.loads(WIRE.whole(plain, asked, pieces(plain, asked)).data)["message"]
    assert message == {"role": "assistant", "content": "A"}


def test_error_bodies_are_one_text() -> None:
    assert json.loads(WIRE.failure(failure(404))) == {"error": "model not found"}
    assert json.loads(WIRE.failure(Failure(404, "model_not_found", "no x"))) == {"error": "no x"}


def test_a_request_is_read_for_what_the_answer_needs() -> None:
    body = {
        "model": "sim",
        "messages": [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": "one two", "images": []},
            {"role": "assistant", "content": "", "thinking": "a b c", "tool_calls": []},
            {"role": "tool", "content": "it is noon", "tool_name": "clock"},
        ],
        "tools": [{"type": "function", "function": {"name": "clock", "parameters": {"a": 1}}}, 5],
    }
    read = WIRE.read(json.dumps(body).encode())
    assert (read.prompt_tokens, read.question, read.result) == (7, "one two", "it is noon")
    assert read.tools == (Tool("clock", {"a": 1}),)
    assert read.stream  # it streams unless told not to
    assert not WIRE.read(b'{"model":"sim","messages":[],"stream":false}').stream


@pytest.mark.parametrize("body", [b"", b"[]", b'{"messages":[]}', b'{"model":"sim"}'])
def test_an_unreadable_request_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError):
        WIRE.read(body)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.sampled_from(["messages", "tools", "stream", "model"]), _json)
def test_any_json_is_read_or_refused(field: str, value: Any) -> None:
    with suppress(RequestError):
        WIRE.read(json.dumps({"model": "sim", "messages": []} | {field: value}).encode())
