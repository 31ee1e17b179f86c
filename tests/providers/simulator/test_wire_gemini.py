"""The gemini wire: CRLF, the model in the path, whole calls, usage that grows with the answer."""

import json
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellstream.providers.simulator.answer import Tool, Turn, pieces
from tellstream.providers.simulator.failure import failure
from tellstream.providers.simulator.keys import EXTRA_FRAMES, Fault
from tellstream.providers.simulator.script import parse_model
from tellstream.providers.simulator.wire import Frame, RequestError
from tellstream.providers.simulator.wire_gemini import GeminiWire

WIRE = GeminiWire()
CLOCK = Tool("clock", {"properties": {"zone": {"type": "STRING"}}, "required": ["zone"]})
HELLO = b'{"contents":[{"parts":[{"text":"hello"}]}]}'


def turn(model: str, **fields: Any) -> Turn:
    return Turn(model=model, digest="abc", prompt_tokens=7, **fields)


def frames(model: str, **fields: Any) -> list[Frame]:
    script, asked = parse_model(model), turn(model, **fields)
    return list(WIRE.frames(script, asked, pieces(script, asked)))


def events(model: str, **fields: Any) -> list[Any]:
    decoded = []
    for data, _ in frames(model, **fields):
        assert data.startswith(b"data: ")
        assert data.endswith(b"\r\n\r\n")
        assert data.count(b"\n") == 2
        decoded.append(json.loads(data[6:]))
    return decoded


def parts(event: Any) -> Any:
    return event["candidates"][0]["content"]["parts"]


def path(model: str, query: str = "?alt=sse") -> str:
    return f"/v1beta/models/{quote(model, safe='')}:streamGenerateContent{query}"


def test_a_small_answer_frame_by_frame() -> None:
    model = "sim:think=1,mark=w,words=2"
    signature = parts(events(model)[-1])[0]["thoughtSignature"]
    expected = [
        ('{"text":"Let","thought":true}', "", 0, 1),
        ('{"text":"w1"}', "", 1, 1),
        ('{"text":" w2"}', "", 2, 1),
        (f'{{"text":"","thoughtSignature":"{signature}"}}', '"finishReason":"STOP",', 2, 1),
    ]
    assert [frame.data.decode() for frame in frames(model)] == [
        f'data: {{"candidates":[{{"content":{{"parts":[{part}],"role":"model"}},{finish}'
        f'"index":0}}],"modelVersion":"{model}","responseId":"abc",'
        f'"usageMetadata":{{"promptTokenCount":7,"cachedContentTokenCount":0,"candidatesTokenCount":{candidates},'
        f'"thoughtsTokenCount":{thoughts},"totalTokenCount":{7 + candidates + thoughts}}}}}\r\n\r\n'
        for part, finish, candidates, thoughts in expected
    ]
    assert [frame.tokens for frame in frames(model)] == [1, 1, 1, 0]


def test_calls_are_whole_and_the_first_one_is_signed() -> None:
    said = events("sim:tools=2", tools=(CLOCK,))
    calls = [part for event in said for part in parts(event) if "functionCall" in part]
    assert [call["functionCall"] for call in calls] == [
        {"name": "clock", "args": {"zone": "simulated"}}
    ] * 2
    assert ["thoughtSignature" in call for call in calls] == [True, False]
    assert said[-1]["candidates"][0]["finishReason"] == "STOP"
    assert parts(said[-1]) == [{"text": ""}]
    tokens = [frame.tokens for frame in frames("sim:tools=2", tools=(CLOCK,))]
    assert tokens == [4, 4, 0]
    assert said[-1]["usageMetadata"]["candidatesTokenCount"] == 8


@pytest.mark.parametrize(
    ("usage", "where"), [("asked", [0, 1]), ("finish", [1]), ("end", [2]), ("none", [])]
)
def test_usage_goes_where_the_script_says(usage: str, where: list[int]) -> None:
    said = events(f"sim:words=1,usage={usage}")
    assert [i for i, event in enumerate(said) if "usageMetadata" in event] == where
    assert len(said) == (3 if usage == "end" else 2)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("finish=length", "MAX_TOKENS"),
        ("finish=content_filter", "SAFETY"),
        ("refusal=1", "SAFETY"),
        ("refusal=1,finish=stop", "STOP"),
    ],
)
def test_finish_reasons(options: str, reason: str) -> None:
    assert events(f"sim:words=1,{options}")[-1]["candidates"][0]["finishReason"] == reason


def test_without_a_finish_there_are_only_words() -> None:
    assert len(frames("sim:words=2,finish=none")) == 2
    assert frames("sim:words=0,finish=none") == []


@pytest.mark.parametrize("fault", sorted(EXTRA_FRAMES))
def test_the_frames_that_faults_add_are_what_they_say(fault: Fault) -> None:
    data, tokens = WIRE.fault_frame(parse_model("sim"), turn("sim"), fault)
    assert tokens == 0
    assert data.startswith(b"data: ")
    assert data.endswith(b"\r\n\r\n")
    if fault is Fault.GARBLE:
        with pytest.raises(json.JSONDecodeError):
            json.loads(data[6:])
    elif fault is Fault.BADUTF8:
        with pytest.raises(UnicodeDecodeError):
            data.decode()
    elif fault is Fault.HUGEEVENT:
        assert parts(json.loads(data[6:]))
    else:
        assert json.loads(data[6:])["error"]["status"] == "INTERNAL"


def test_an_answer_in_one_piece() -> None:
    def body(model: str, **fields: Any) -> Any:
        script, asked = parse_model(model), turn(model, stream=False, **fields)
        return json.loads(WIRE.whole(script, asked, pieces(script, asked)).data)

    full = body("sim:think=2,text=a%20b,tools=2", tools=(CLOCK,))
    thought, text, first, second = parts(full)
    assert thought == {"text": "Let me", "thought": True}
    assert text == {"text": "a b"}
    assert "thoughtSignature" in first
    assert "thoughtSignature" not in second
    assert full["candidates"][0]["finishReason"] == "STOP"
    assert full["usageMetadata"]["thoughtsTokenCount"] == 2
    assert "thoughtSignature" in parts(body("sim:think=1,words=1"))[1]
    assert "usageMetadata" not in body("sim:words=1,usage=none")
    assert "finishReason" not in body("sim:words=1,finish=none")["candidates"][0]
    assert parts(body("sim:words=0")) == []


@pytest.mark.parametrize(
    ("status", "code", "word", "kinds"),
    [
        (400, "", "INVALID_ARGUMENT", []),
        (400, "invalid_api_key", "INVALID_ARGUMENT", ["ErrorInfo"]),
        (404, "", "NOT_FOUND", []),
        (418, "", "UNKNOWN", []),
        (429, "", "RESOURCE_EXHAUSTED", ["QuotaFailure", "RetryInfo"]),
        (429, "insufficient_quota", "RESOURCE_EXHAUSTED", ["QuotaFailure", "RetryInfo"]),
        (503, "", "UNAVAILABLE", ["RetryInfo"]),
    ],
)
def test_error_bodies(status: int, code: str, word: str, kinds: list[str]) -> None:
    waits = 2 if "RetryInfo" in kinds else None
    body = json.loads(WIRE.failure(failure(status, code)._replace(retry_seconds=waits)))["error"]
    assert (body["code"], body["status"]) == (status, word)
    details = body.get("details", [])
    assert [each["@type"].rpartition(".")[2] for each in details] == kinds
    if waits:
        assert details[-1]["retryDelay"] == "2s"
    if code == "insufficient_quota":
        assert "PerDay" in details[0]["violations"][0]["quotaId"]


@pytest.mark.parametrize("model", ["sim", "sim:words=3", "sim:text=a%2Fb%20%3F,seed=1"])
@pytest.mark.parametrize("query", ["?alt=sse", "?key=secret&alt=sse", "?alt=sse&redirected=1"])
def test_the_path_names_the_model(model: str, query: str) -> None:
    read = WIRE.read(HELLO, path(model, query))
    assert (read.model, read.stream) == (model, True)
    assert WIRE.read(HELLO, f"/v1beta/models/{model}:generateContent").stream is False
    assert read.digest != WIRE.read(HELLO, path("other")).digest


@pytest.mark.parametrize("query", ["", "?alt=json", "?xalt=sse"])
def test_only_events_are_simulated(query: str) -> None:
    with pytest.raises(RequestError, match="alt=sse"):
        WIRE.read(HELLO, path("sim", query))


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(RequestError):
        WIRE.read(HELLO, "/v1beta/models/%ff:generateContent")


def test_a_request_is_read_for_what_the_answer_needs() -> None:
    schema = {"type": "OBJECT"}
    told = {"functionResponse": {"name": "clock", "response": {"result": "it is", "hour": 12}}}
    body = {
        "systemInstruction": {"parts": [{"text": "be kind"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "one two"}, {"inlineData": {}}]},
            {"role": "model", "parts": [{"text": "a b c", "thought": True}, {"functionCall": {}}]},
            {"role": "user", "parts": [told]},
        ],
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "clock", "parameters": schema},
                    {"name": "other", "parametersJsonSchema": {"a": 1}},
                ]
            },
            {"googleSearch": {}},
        ],
    }
    read = WIRE.read(json.dumps(body).encode(), path("sim"))
    assert (read.prompt_tokens, read.question, read.result) == (7, "one two", "it is 12")
    assert read.tools == (Tool("clock", schema), Tool("other", {"a": 1}))


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"contents":[1]}'])
def test_an_unreadable_request_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError):
        WIRE.read(body, path("sim"))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
_keys = st.sampled_from(["parts", "role", "functionResponse", "response", "text", "thought"])
_contents = st.lists(st.dictionaries(_keys, _json | st.lists(st.dictionaries(_keys, _json))))


@given(st.sampled_from(["contents", "systemInstruction", "tools"]), _json | _contents, st.text())
def test_any_request_is_read_or_refused(field: str, value: Any, name: str) -> None:
    with suppress(RequestError):
        WIRE.read(json.dumps({"contents": []} | {field: value}).encode(), path(name))
    with suppress(RequestError):
        WIRE.read(HELLO, name)
