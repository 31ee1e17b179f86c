"""The openai-chat wire: what a chunk looks like, and that usage counts what was said."""

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
from tellstream.providers.simulator.wire import CREATED, HUGE_BYTES, Frame, RequestError
from tellstream.providers.simulator.wire_openai_chat import OpenAIChatWire

WIRE = OpenAIChatWire()
CLOCK = Tool("clock", {"properties": {"zone": {"type": "string"}}, "required": ["zone"]})


def turn(model: str, **fields: Any) -> Turn:
    return Turn(model=model, digest="abc", prompt_tokens=7, **fields)


def frames(model: str, **fields: Any) -> list[Frame]:
    script, asked = parse_model(model), turn(model, **fields)
    return list(WIRE.frames(script, asked, pieces(script, asked)))


def chunks(model: str, **fields: Any) -> list[Any]:
    decoded = []
    for data, _ in frames(model, **fields):
        assert data.startswith(b"data: ")
        assert data.endswith(b"\n\n")
        assert data.count(b"\n") == 2
        payload = data[6:-2]
        decoded.append(payload.decode() if payload == b"[DONE]" else json.loads(payload))
    return decoded


def whole(model: str, **fields: Any) -> Any:
    script, asked = parse_model(model), turn(model, stream=False, **fields)
    return json.loads(WIRE.whole(script, asked, pieces(script, asked)).data)


def request(**fields: Any) -> bytes:
    body = {"model": "sim", "messages": [{"role": "user", "content": "a b"}]} | fields
    return json.dumps(body).encode()


def test_a_plain_answer_is_role_words_finish_done() -> None:
    first, word, other, finish, done = chunks("sim:words=2,seed=5")
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert word["choices"][0]["delta"]["content"] + other["choices"][0]["delta"]["content"]
    assert finish["choices"] == [
        {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    ]
    assert done == "[DONE]"
    for chunk in (first, word, other, finish):
        assert chunk["id"] == "chatcmpl-abc"
        assert chunk["object"] == "chat.completion.chunk"
        assert chunk["created"] == CREATED + 5
        assert chunk["model"] == "sim:words=2,seed=5"
        assert "usage" not in chunk


def test_usage_comes_last_if_asked_and_is_null_before() -> None:
    *before, last, done = chunks("sim:think=2,words=3", wants_usage=True)
    assert all(chunk["usage"] is None for chunk in before)
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert done == "[DONE]"


@pytest.mark.parametrize(
    ("placement", "wants", "where"),
    [
        ("asked", False, []),
        ("end", False, [-2]),
        ("finish", True, [-2]),
        ("none", True, []),
    ],
)
def test_usage_goes_where_the_script_says(placement: str, wants: bool, where: list[int]) -> None:
    said = chunks(f"sim:words=1,usage={placement}", wants_usage=wants)
    found = [i - len(said) for i, chunk in enumerate(said[:-1]) if chunk.get("usage")]
    assert found == where
    if placement == "finish":
        assert said[-2]["choices"][0]["finish_reason"] == "stop"


def test_usage_counts_tool_fragments_and_frames_say_the_same() -> None:
    said = frames("sim:think=1,words=1,tools=2,usage=end", tools=(CLOCK,))
    usage = json.loads(said[-2].data[6:])["usage"]
    assert usage["completion_tokens"] == sum(frame.tokens for frame in said)
    assert usage["completion_tokens"] > 4


def test_finish_and_marker_can_be_left_out() -> None:
    assert chunks("sim:words=0,finish=none,done=0")[1:] == []
    assert chunks("sim:words=0,finish=content_filter")[1]["choices"][0]["finish_reason"] == (
        "content_filter"
    )


def test_thinking_refusal_and_text_have_their_own_fields() -> None:
    said = chunks("sim:think=1,words=1")
    assert set(said[1]["choices"][0]["delta"]) == {"reasoning_content"}
    assert set(said[2]["choices"][0]["delta"]) == {"content"}
    assert set(chunks("sim-refusal")[1]["choices"][0]["delta"]) == {"refusal"}


def test_a_call_opens_with_id_and_name_and_goes_on_with_its_index() -> None:
    said = chunks("sim:tools=1", tools=(CLOCK,))
    opening, *rest = [chunk["choices"][0]["delta"]["tool_calls"][0] for chunk in said[1:-2]]
    assert opening == {
        "index": 0,
        "id": "call_abc0",
        "type": "function",
        "function": {"name": "clock", "arguments": ""},
    }
    assert all(set(call) == {"index", "function"} for call in rest)
    arguments = "".join(call["function"]["arguments"] for call in rest)
    assert json.loads(arguments) == {"zone": "simulated"}
    assert said[-2]["choices"][0]["finish_reason"] == "tool_calls"


def test_the_faults_of_the_ending_are_seen() -> None:
    reasons = [c["choices"][0]["finish_reason"] for c in chunks("sim:words=0,fault=dupfinish")[:-1]]
    assert reasons == [None, "stop", "stop"]
    late = chunks("sim:words=0,fault=afterfinish")
    assert late[2]["choices"][0]["delta"] == {"content": " (too late)"}
    later = chunks("sim:words=0,fault=afterdone")
    assert later[2] == "[DONE]"
    assert later[3]["choices"][0]["delta"] == {"content": " (too late)"}
    error = chunks("sim:words=0,fault=errorafter")[-1]
    assert error["error"]["code"] == "server_error"


@pytest.mark.parametrize("fault", sorted(EXTRA_FRAMES))
def test_the_frames_that_faults_add_are_what_they_say(fault: Fault) -> None:
    data, tokens = WIRE.fault_frame(parse_model("sim"), turn("sim"), fault)
    assert tokens == 0
    assert data.startswith(b"data: ")
    assert data.endswith(b"\n\n")
    if fault is Fault.GARBLE:
        with pytest.raises(json.JSONDecodeError):
            json.loads(data[6:])
    elif fault is Fault.BADUTF8:
        with pytest.raises(UnicodeDecodeError):
            data.decode()
    elif fault is Fault.HUGEEVENT:
        assert len(json.loads(data[6:])["choices"][0]["delta"]["content"]) == HUGE_BYTES
    else:
        assert set(json.loads(data[6:])["error"]) == {"message", "type", "param", "code"}


def test_an_answer_in_one_piece() -> None:
    body = whole("sim:think=2,text=a%20b,tools=2", tools=(CLOCK,))
    (choice,) = body["choices"]
    assert body["object"] == "chat.completion"
    assert choice["message"]["content"] == "a b"
    assert choice["message"]["reasoning_content"] == "Let me"
    assert [call["function"]["name"] for call in choice["message"]["tool_calls"]] == ["clock"] * 2
    assert json.loads(choice["message"]["tool_calls"][1]["function"]["arguments"])
    assert choice["finish_reason"] == "tool_calls"
    assert body["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}


def test_a_refusal_in_one_piece_has_no_content() -> None:
    message = whole("sim-refusal")["choices"][0]["message"]
    assert message["content"] is None
    assert message["refusal"].startswith("I'm sorry")
    assert "usage" not in whole("sim:words=1,usage=none")
    assert whole("sim:finish=none")["choices"][0]["finish_reason"] is None


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_request", "invalid_request_error"),
        (401, "invalid_api_key", "invalid_request_error"),
        (429, "rate_limit_exceeded", "requests"),
        (503, "server_is_overloaded", "server_error"),
        (418, "server_error", "invalid_request_error"),
    ],
)
def test_error_bodies(status: int, code: str, kind: str) -> None:
    error = json.loads(WIRE.failure(failure(status)))["error"]
    assert (error["code"], error["type"], error["param"]) == (code, kind, None)
    assert error["message"]


def test_models_are_listed() -> None:
    listed = json.loads(WIRE.models(["sim", "sim-fast"]))
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["sim", "sim-fast"]


def test_a_request_is_read_for_what_the_answer_needs() -> None:
    messages = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "one two"}, {"type": "image_url"}]},
        {"role": "assistant", "content": None},
        {"role": "tool", "content": "it is noon"},
    ]
    tools = [{"type": "function", "function": {"name": "clock", "parameters": {"a": 1}}}, 5, {}]
    read = WIRE.read(
        request(messages=messages, tools=tools, stream=True, stream_options={"include_usage": True})
    )
    assert (read.prompt_tokens, read.question, read.result) == (7, "one two", "it is noon")
    assert read.tools == (Tool("clock", {"a": 1}),)
    assert (read.stream, read.wants_usage) == (True, True)
    assert not WIRE.read(request()).stream
    assert WIRE.read(request(messages=[])).prompt_tokens == 1
    assert WIRE.read(request()).digest != WIRE.read(request(n=1)).digest


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"model":1}',
        b'{"model":"sim"}',
        b'{"model":"sim","messages":[1]}',
        b'{"model":"\\ud800","messages":[]}',
        b'{"model":"sim","messages":' + b"[" * 100_000,
    ],
)
def test_an_unreadable_request_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError):
        WIRE.read(body)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.sampled_from(["messages", "tools", "stream", "stream_options", "model"]), _json)
def test_any_json_is_read_or_refused(field: str, value: Any) -> None:
    with suppress(RequestError):
        WIRE.read(request(**{field: value}))
