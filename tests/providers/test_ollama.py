"""Ollama's own wire, one small body for each thing it can say."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tellstream.core import grammar
from tellstream.core import parts as pt
from tellstream.core.chat import ChatRequest
from tellstream.core.composer import Composer
from tellstream.core.ids import EventIds
from tellstream.core.transcript import Transcript, fold
from tellstream.core.usage import FinishReason, Usage
from tellstream.providers.base import Endpoint
from tellstream.providers.hosts import GENERIC, HOSTS
from tellstream.providers.ndjson_body import MAX_LINE_BYTES
from tellstream.providers.ollama import Ollama, OllamaDecoder

STOP = pt.Finished(FinishReason.STOP)
END = {"done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 4}
ENDED = [pt.Used(Usage(3, 4)), STOP, pt.Done()]


def line(payload: Any) -> bytes:
    return json.dumps(payload).encode() + b"\n"


def says(content: str = "", **more: Any) -> bytes:
    """One line of /api/chat."""
    return line({"message": {"role": "assistant", "content": content, **more}, "done": False})


def parts(*pieces: bytes) -> list[pt.Part]:
    decoder = OllamaDecoder()
    found: list[pt.Part] = []
    for piece in pieces:
        found += decoder.feed(piece)
    return found + decoder.eof()


def failure(*pieces: bytes) -> str:
    (code,) = [part.error.code for part in parts(*pieces) if isinstance(part, pt.Failed)]
    return code


def answer(*pieces: bytes) -> Transcript:
    """What the whole stream says; grammatical, whatever it is."""
    composer = Composer(EventIds(0), "host", "model")
    events = composer.feed(parts(*pieces), 1.0)
    events += composer.close(composer.ending(), composer.usage or Usage(), 1.0)
    grammar.check(events)
    return fold(events)


def test_a_plain_answer_is_model_text_usage_finish_and_marker() -> None:
    assert parts(
        line({"model": "qwen3", "message": {"role": "assistant", "content": "Hel"}, "done": False}),
        line({"model": "other", "message": {"content": "lo"}, "done": False}),
        line({"message": {"content": ""}, **END}),
    ) == [pt.Model("qwen3"), pt.Text("Hel"), pt.Text("lo"), *ENDED]


def test_the_generate_endpoint_puts_text_and_thinking_beside_the_message() -> None:
    assert parts(line({"thinking": "Hm"}), line({"response": "Yes"}), line(END)) == [
        pt.Thinking("Hm"),
        pt.Text("Yes"),
        *ENDED,
    ]


def test_thinking_has_a_field_of_its_own() -> None:
    assert parts(says(thinking="a"), says("b"), line(END))[:2] == [pt.Thinking("a"), pt.Text("b")]


def test_thinking_inside_the_text_is_split_off() -> None:
    assert parts(says("<thi"), says("nk>a"), says("</think>b"), line(END))[:2] == [
        pt.Thinking("a"),
        pt.Text("b"),
    ]


def test_what_may_become_a_tag_is_not_lost_at_the_end() -> None:
    assert parts(says("<thi"), line(END)) == [pt.Text("<thi"), *ENDED]
    assert parts(says("<thi")) == [pt.Text("<thi")]


def test_calls_arrive_whole_and_mostly_without_ids() -> None:
    first = {"function": {"name": "f", "arguments": {"x": 1}}}
    second = {"id": "call_2", "function": {"index": 0, "name": "g", "arguments": {}}}
    assert parts(says(tool_calls=[first]), says(tool_calls=[second]), line(END)) == [
        pt.ToolWhole(0, "", "f", {"x": 1}),
        pt.ToolWhole(1, "call_2", "g", {}),
        ENDED[0],
        pt.Finished(FinishReason.TOOL_CALLS),
        pt.Done(),
    ]


def test_two_calls_without_ids_get_two() -> None:
    call = {"function": {"name": "f", "arguments": {}}}
    made = answer(says(tool_calls=[call, call]), line(END))
    assert len({call["tool_id"] for call in made.tool_calls}) == 2


def test_arguments_that_are_text_are_told_as_they_are() -> None:
    call = {"function": {"name": "f", "arguments": '{"x": 1}'}}
    assert answer(says(tool_calls=[call]), line(END)).tool_calls[0]["arguments"] == {"x": 1}


@pytest.mark.parametrize("call", [None, 1, {}, {"function": 1}, {"function": {"arguments": []}}])
def test_a_call_of_any_shape_is_a_call(call: Any) -> None:
    assert parts(says(tool_calls=[call]))[0] == pt.ToolWhole(0, "", "", {})


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", "Stop"),
        ("length", "Length"),
        ("load", "Other"),
        ("unload", "Other"),
        (None, "Stop"),
    ],
)
def test_the_reason_of_the_end(reason: str | None, finish: str) -> None:
    assert answer(says("a"), line({"done": True, "done_reason": reason})).finish_reason == finish


def test_a_call_cut_by_the_token_limit_ends_as_length() -> None:
    call = {"function": {"name": "f", "arguments": {}}}
    end = {**END, "done_reason": "length"}
    assert answer(says(tool_calls=[call]), line(end)).finish_reason == "Length"


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"eval_count": 4}, Usage(0, 4)),
        ({"prompt_eval_count": 3}, Usage(3, 0)),
        ({"prompt_eval_count": "3", "eval_count": 4.0}, Usage(0, 4)),
        ({}, None),
    ],
)
def test_a_count_that_is_missing_is_zero(counts: dict[str, Any], usage: Usage | None) -> None:
    used = [part.usage for part in parts(line({"done": True, **counts})) if type(part) is pt.Used]
    assert used == ([] if usage is None else [usage])


def test_an_error_inside_the_stream_ends_it() -> None:
    body = (says("a"), line({"error": "an error was encountered while running the model"}))
    assert failure(*body) == "provider_unavailable"
    assert answer(*body).text == "a"
    assert answer(*body).finish_reason == "Error"


def test_an_error_says_what_it_means() -> None:
    assert failure(line({"error": "the input length exceeds the context length"})) == (
        "context_length_exceeded"
    )


def test_an_end_without_a_marker_is_no_end() -> None:
    made = answer(says("a"))
    assert made.error is not None
    assert made.error.error_type == "upstream_truncated"


def test_a_last_line_without_its_end_counts() -> None:
    assert parts(says("a"), line(END).rstrip()) == [pt.Text("a"), *ENDED]


def test_what_is_no_object_is_skipped_and_counted() -> None:
    decoder = OllamaDecoder()
    found = decoder.feed(b'nonsense\n[]\n1\n{"mess\n' + says("a") + line(END))
    assert found == [pt.Text("a"), *ENDED]
    assert decoder.malformed == 4


def test_a_page_and_a_line_without_end_are_no_answer() -> None:
    assert failure(b"<html>\n") == "provider_protocol"
    assert failure(says("<"), b"x" * MAX_LINE_BYTES, b"x") == "provider_protocol"


@pytest.mark.parametrize(
    "payload",
    [
        {"message": 1},
        {"message": {"content": 1, "thinking": [], "tool_calls": {}}},
        {"model": 1, "done": "yes", "response": None},
        {"done": 1},
    ],
)
def test_members_of_other_types_count_as_absent(payload: Any) -> None:
    assert parts(line(payload)) == []


def test_the_request_goes_to_the_native_endpoint() -> None:
    endpoint = Endpoint("ollama", "http://127.0.0.1:11434/v1", "secret", HOSTS["ollama"])
    request = Ollama().request(endpoint, "qwen3", ChatRequest("Hi"))
    assert request.url == "http://127.0.0.1:11434/api/chat"
    assert request.headers["Accept"] == "application/x-ndjson"
    assert request.headers["Authorization"] == "Bearer secret"
    assert json.loads(request.body)["model"] == "qwen3"


def test_the_dialect_makes_decoders_and_reads_errors() -> None:
    endpoint = Endpoint("x", "http://x", None, GENERIC)
    assert Ollama().decoder(endpoint).feed(says("a")) == [pt.Text("a")]
    body = b'{"error":"model \'x\' not found"}'
    assert Ollama().error(404, {}, body).code == "provider_rejected"


SAMPLE = b"".join(
    (
        line({"model": "m", "message": {"content": "<think>é</think>x", "thinking": "y"}}),
        says("b", tool_calls=[{"id": "c", "function": {"name": "f", "arguments": {"a": [1]}}}]),
        b"junk\r\n",
        line(END),
        line({"error": {"code": 500}}),
    )
)


def test_every_split_gives_the_same_parts() -> None:
    whole = repr(parts(SAMPLE))
    for a, b in itertools.combinations(range(0, len(SAMPLE), 7), 2):
        assert repr(parts(SAMPLE[:a], SAMPLE[a:b], SAMPLE[b:])) == whole


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["message", "content", "thinking", "tool_calls", "function", "id", "error"]
            )
            | st.sampled_from(
                ["name", "arguments", "done", "done_reason", "eval_count", "response"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(VALUES | st.binary(max_size=20), max_size=6))
@example([b"\xff\xfe", {"done": True, "eval_count": 2**70}])
def test_nothing_breaks_the_decoder(values: list[Any]) -> None:
    body = b"".join(v + b"\n" if isinstance(v, bytes) else line(v) for v in values)
    assert repr(parts(*(body[i : i + 1] for i in range(len(body))))) == repr(parts(body))
    answer(body)
