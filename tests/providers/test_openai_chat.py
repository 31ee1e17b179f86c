"""Chat Completions as some thirty hosts speak it: one small body for each variation."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tellstream.core import events as ev
from tellstream.core import parts as pt
from tellstream.core.chat import ChatRequest
from tellstream.core.composer import Composer
from tellstream.core.ids import EventIds
from tellstream.core.sse import MAX_EVENT_BYTES
from tellstream.core.transcript import Transcript, fold
from tellstream.core.usage import FinishReason, Usage
from tellstream.providers.base import Endpoint
from tellstream.providers.hosts import GENERIC, HOSTS
from tellstream.providers.openai_chat import OpenAIChat, OpenAIChatDecoder

DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
USED = pt.Used(Usage(3, 4))
STOP = pt.Finished(FinishReason.STOP)


def data(payload: Any) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> bytes:
    """One chat.completion.chunk with one choice."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return data({"object": "chat.completion.chunk", "choices": [choice], **more})


def parts(*pieces: bytes) -> list[pt.Part]:
    """Decode a whole body."""
    decoder = OpenAIChatDecoder()
    found: list[pt.Part] = []
    for piece in pieces:
        found += decoder.feed(piece)
    return found + decoder.eof()


def failure(*pieces: bytes) -> str:
    """The code of the one failure in a body."""
    (code,) = [part.error.code for part in parts(*pieces) if isinstance(part, pt.Failed)]
    return code


def answer(*pieces: bytes) -> Transcript:
    """What the whole stream says."""
    composer = Composer(EventIds(0), "host", "model")
    events = composer.feed(parts(*pieces), 1.0)
    return fold(events + composer.close(composer.ending(), composer.usage or Usage(), 1.0))


# --- the plain answer -----------------------------------------------------------------------------


def test_a_plain_answer_is_model_text_finish_usage_and_marker() -> None:
    assert parts(
        chunk({"role": "assistant", "content": ""}, model="grok-4", id="x", usage=None),
        chunk({"content": "Hel"}, model="grok-4", usage=None),
        chunk({"content": "lo"}, usage=None),
        chunk({}, "stop"),
        data({"choices": [], "usage": USAGE}),
        DONE,
    ) == [pt.Model("grok-4"), pt.Text("Hel"), pt.Text("lo"), STOP, USED, pt.Done()]


def test_the_first_name_of_the_model_counts() -> None:
    assert parts(chunk(model=""), chunk(model="a"), chunk(model="b")) == [pt.Model("a")]


@pytest.mark.parametrize("text", ["0", " ", "\n", "Thinking...", "é😀", "\x00"])
def test_no_text_is_special(text: str) -> None:
    assert answer(chunk({"content": text}), chunk({}, "stop")).text == text


@pytest.mark.parametrize("content", [None, "", 0, False, {}, []])
def test_empty_or_impossible_content_says_nothing(content: Any) -> None:
    assert parts(chunk({"content": content})) == []


def test_comments_blank_lines_and_empty_choices_say_nothing() -> None:
    body = b": OPENROUTER PROCESSING\n\n\n: keep-alive\n\n" + data({"choices": []})
    assert parts(body, data({"prompt_filter_results": []}), data({}), b"event: ping\n\n") == []


def test_a_body_with_crlf_is_read_too() -> None:
    body = (chunk({"content": "a"}) + DONE).replace(b"\n", b"\r\n")
    assert parts(body) == [pt.Text("a"), pt.Done()]


def test_the_role_may_be_repeated_on_every_chunk() -> None:
    delta = {"role": "assistant", "content": "a", "reasoning_content": None, "tool_calls": None}
    assert parts(chunk(delta), chunk(delta)) == [pt.Text("a"), pt.Text("a")]


def test_only_the_first_choice_counts() -> None:
    second = {"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}
    assert parts(data({"choices": [second, {"delta": {"content": "yes"}}]})) == [pt.Text("yes")]


def test_a_finish_reason_may_come_together_with_content() -> None:
    assert parts(chunk({"content": "a"}, "stop")) == [pt.Text("a"), STOP]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", FinishReason.STOP),
        ("eos", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("model_length", FinishReason.LENGTH),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("tool_calls", FinishReason.TOOL_CALLS),
        ("function_call", FinishReason.TOOL_CALLS),
        ("error", FinishReason.ERROR),
        ("insufficient_system_resource", FinishReason.ERROR),
        ("something_new", FinishReason.OTHER),
    ],
)
def test_each_finish_reason_is_mapped(said: str, meant: FinishReason) -> None:
    assert parts(chunk({}, said)) == [pt.Finished(meant)]


@pytest.mark.parametrize("said", [None, "", 0])
def test_no_finish_reason_is_none(said: Any) -> None:
    assert parts(chunk({}, said)) == []


def test_of_two_finish_reasons_the_last_counts() -> None:
    said = answer(chunk({"content": "a"}, "stop"), chunk({"content": "b"}, "length"), DONE)
    assert (said.text, said.finish_reason) == ("ab", FinishReason.LENGTH)


def test_a_missing_marker_is_no_failure_after_a_finish_reason() -> None:
    assert answer(chunk({"content": "a"}, "stop")).finish_reason is FinishReason.STOP


def test_a_marker_without_a_finish_reason_is_an_unknown_end() -> None:
    assert answer(chunk({"content": "a"}), DONE).finish_reason is FinishReason.UNKNOWN


def test_neither_marker_nor_finish_reason_is_a_truncated_answer() -> None:
    said = answer(chunk({"content": "a"}))
    assert said.error is not None
    assert (said.text, said.error.error_type) == ("a", "upstream_truncated")


def test_content_after_a_finish_reason_is_kept() -> None:
    assert answer(chunk({"content": "a"}, "stop"), chunk({"content": "b"}), DONE).text == "ab"


def test_content_after_the_marker_is_dropped() -> None:
    assert answer(chunk({"content": "a"}, "stop"), DONE, chunk({"content": "b"})).text == "a"


@pytest.mark.parametrize("marker", [b"data:[DONE]\n\n", b"data: [DONE] \r\n\r\n", DONE])
def test_the_marker_may_have_spaces_around_it(marker: bytes) -> None:
    assert parts(marker) == [pt.Done()]


# --- thinking ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"reasoning": "hm", "reasoning_content": "hm"},
        {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s"}]},
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "hm"}]},
        {"reasoning_details": [{"text": "h"}, {"type": "reasoning.encrypted"}, {"text": "m"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]},
        {"content": [{"type": "thinking", "thinking": [{"text": "h"}, {"text": "m"}]}]},
        {"content": [{"type": "thinking", "thinking": "hm"}]},
        {"content": "<think>hm</think>"},
    ],
    ids=json.dumps,
)
def test_thinking_is_found_wherever_a_host_puts_it(delta: Any) -> None:
    assert parts(chunk(delta)) == [pt.Thinking("hm")]


def test_thinking_comes_before_the_content_of_its_own_chunk() -> None:
    delta = {"content": "a", "reasoning_content": "hm"}
    assert parts(chunk(delta)) == [pt.Thinking("hm"), pt.Text("a")]


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": None, "reasoning": "", "reasoning_details": None},
        {"reasoning": {"effort": "low"}},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}, None, "y"]},
        {"content": [{"type": "thinking", "thinking": []}, {"type": "thinking"}, None, 1]},
    ],
)
def test_empty_or_impossible_thinking_says_nothing(delta: Any) -> None:
    assert parts(chunk(delta)) == []


def test_typed_content_is_thinking_text_and_references_in_order() -> None:
    content = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "a"},
        {"type": "reference", "reference_ids": [3, "x", None, True, 1.5]},
        {"type": "text", "text": ""},
        {"type": "text", "text": "b"},
    ]
    assert parts(chunk({"content": content})) == [
        pt.Thinking("hm"),
        pt.Text("a"),
        pt.Cited(ev.Citation("document", 3)),
        pt.Cited(ev.Citation("document", "x")),
        pt.Text("b"),
    ]


def test_inline_thinking_may_be_cut_anywhere() -> None:
    said = answer(*(chunk({"content": c}) for c in "\n<think>hm</think>\n\nSo"), chunk({}, "stop"))
    assert (said.thinking, said.text) == ("hm", "\n\nSo")


@pytest.mark.parametrize(
    "following",
    [
        {"reasoning_content": "hm"},
        {"refusal": "no"},
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]},
        {"content": [{"type": "text", "text": "b"}]},
        {"executed_tools": [{"index": 0, "type": "search"}]},
    ],
    ids=lambda delta: next(iter(delta)),
)
def test_text_that_was_held_back_comes_before_what_follows(following: Any) -> None:
    assert parts(chunk({"content": "<th"}), chunk(following))[0] == pt.Text("<th")


@pytest.mark.parametrize("end", [b"", DONE, chunk({}, "stop"), data({"error": "x"})])
def test_text_that_was_held_back_is_not_lost_at_the_end(end: bytes) -> None:
    assert parts(chunk({"content": "<th"}), end)[0] == pt.Text("<th")


# --- tool calls ----------------------------------------------------------------------------------


def call(arguments: Any = None, **more: Any) -> dict[str, Any]:
    """One entry of ``tool_calls``; ``name`` goes into its function."""
    function = {"name": more.pop("name")} if "name" in more else {}
    return {
        **more,
        "function": function if arguments is None else function | {"arguments": arguments},
    }


def calls(*deltas: list[Any]) -> list[tuple[str, Any]]:
    """The name and arguments of each call of the answer."""
    said = answer(*(chunk({"tool_calls": delta}) for delta in deltas), chunk({}, "tool_calls"))
    assert said.finish_reason is FinishReason.TOOL_CALLS
    return [
        (one["tool_name"], one.get("invalid_arguments", one["arguments"]))
        for one in said.tool_calls
    ]


def test_a_call_may_come_in_fragments() -> None:
    found = calls(
        [call("", index=0, id="a", type="function", name="f")],
        [call('{"x":', index=0)],
        [call("1}", index=0)],
    )
    assert found == [("f", {"x": 1})]


def test_fragments_of_parallel_calls_may_interleave() -> None:
    found = calls(
        [call("", index=0, id="a", name="f"), call('{"y"', index=1, id="b", name="g")],
        [call('{"x":1}', index=0)],
        [call(":2}", index=1)],
    )
    assert found == [("f", {"x": 1}), ("g", {"y": 2})]


def test_a_call_keeps_the_id_of_the_host() -> None:
    said = answer(chunk({"tool_calls": [call("{}", index=0, id="call_9", name="f")]}), DONE)
    assert said.tool_calls == [{"tool_id": "call_9", "tool_name": "f", "arguments": {}}]


def test_a_whole_call_may_have_no_index() -> None:
    assert calls([call('{"x":1}', id="a", name="f")]) == [("f", {"x": 1})]


def test_whole_calls_in_one_chunk_may_have_neither_index_nor_id() -> None:
    assert calls([call("{}", name="f"), call("{}", name="g")]) == [("f", {}), ("g", {})]


def test_whole_calls_in_chunks_of_their_own_may_have_no_index() -> None:
    found = calls([call("{}", id="a", name="f")], [call("{}", id="b", name="g")])
    assert found == [("f", {}), ("g", {})]


def test_fragments_without_an_index_belong_to_the_call_begun_at_their_position() -> None:
    found = calls(
        [call('{"x"', id="a", name="f")],
        [call(":1}")],
        [call('{"y"', id="b", name="g")],
        [call(":2}")],
    )
    assert found == [("f", {"x": 1}), ("g", {"y": 2})]


def test_fragments_without_an_index_may_repeat_their_id() -> None:
    found = calls(
        [call('{"x"', id="a", name="f"), call('{"y"', id="b", name="g")],
        [call(":2}", id="b")],
        [call(":1}", id="a")],
    )
    assert found == [("f", {"x": 1}), ("g", {"y": 2})]


def test_calls_that_all_have_the_index_zero_are_told_apart_by_their_ids() -> None:
    found = calls(
        [call('{"x":1}', index=0, id="a", name="f")],
        [call('{"y"', index=0, id="b", name="f")],
        [call(":2}", index=0)],
    )
    assert found == [("f", {"x": 1}), ("f", {"y": 2})]


def test_an_id_that_changes_with_every_fragment_does_not_cut_the_call() -> None:
    found = calls(
        [call('{"x"', index=0, id="a", name="f")],
        [call(":", index=0, id="b")],
        [call("1}", index=0, id="c", name=None)],
    )
    assert found == [("f", {"x": 1})]


def test_an_id_and_name_repeated_with_every_fragment_do_not_cut_the_call() -> None:
    fragments = [[call(text, index=0, id="a", name="f")] for text in ("{", '"x":1', "}")]
    assert calls(*fragments) == [("f", {"x": 1})]


def test_arguments_may_be_an_object() -> None:
    assert calls([call({"x": 1}, id="a", name="f")]) == [("f", {"x": 1})]


@pytest.mark.parametrize("arguments", [None, "", "{}", {}])
def test_no_arguments_are_an_empty_object(arguments: Any) -> None:
    assert calls([call(arguments, index=0, id="a", name="f")]) == [("f", {})]


def test_arguments_that_were_cut_are_kept_as_text() -> None:
    said = answer(
        chunk({"tool_calls": [call('{"x', index=0, id="a", name="f")]}), chunk({}, "length")
    )
    assert said.finish_reason is FinishReason.LENGTH
    assert said.tool_calls[0]["invalid_arguments"] == '{"x'


def test_stop_after_a_call_means_tool_calls() -> None:
    said = answer(chunk({"tool_calls": [call("{}", id="a", name="f")]}), chunk({}, "stop"))
    assert said.finish_reason is FinishReason.TOOL_CALLS


def test_the_legacy_function_call_is_a_call() -> None:
    said = answer(
        chunk(
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}}
        ),
        chunk({"function_call": {"arguments": '{"x":'}}),
        chunk({"function_call": {"arguments": "1}"}}),
        chunk({}, "function_call"),
    )
    assert [(c["tool_name"], c["arguments"]) for c in said.tool_calls] == [("f", {"x": 1})]
    assert said.finish_reason is FinishReason.TOOL_CALLS


@pytest.mark.parametrize("calls", [None, {}, "x", [], 0])
def test_an_impossible_list_of_calls_says_nothing(calls: Any) -> None:
    assert parts(chunk({"tool_calls": calls})) == []


# --- refusals, sources, images, tools of the host -------------------------------------------------


def test_a_refusal_is_text_that_ends_as_content_filter() -> None:
    said = answer(chunk({"refusal": "I "}), chunk({"refusal": "cannot."}), chunk({}, "stop"), DONE)
    assert (said.text, said.finish_reason) == ("I cannot.", FinishReason.CONTENT_FILTER)


def test_an_annotation_is_a_citation_with_its_place() -> None:
    source = {"url": "https://a", "title": "A", "content": "text", "start_index": 2, "end_index": 5}
    expected = ev.Citation("url", "https://a", "text", "A", "character", 2, 5)
    nested, flat = {"type": "url_citation", "url_citation": source}, {"type": "x", **source}
    assert parts(chunk({"annotations": [nested, flat]})) == [pt.Cited(expected)] * 2


def test_an_annotation_at_nowhere_has_no_place() -> None:
    raw = {"url": "https://a", "title": "", "content": "", "start_index": 0, "end_index": 0}
    expected = ev.Citation("url", "https://a")
    assert parts(chunk({"annotations": [{"url_citation": raw}]})) == [pt.Cited(expected)]


@pytest.mark.parametrize(
    "raw",
    [None, 1, {}, {"url": ""}, {"url": 1}, {"url_citation": {"title": "x"}}, {"type": "file"}],
)
def test_an_annotation_without_an_address_is_no_citation(raw: Any) -> None:
    assert parts(chunk({"annotations": [raw]})) == []


def test_an_annotation_with_a_flag_for_an_index_can_still_be_written_and_read() -> None:
    raw = {"url": "https://a", "start_index": True, "end_index": True}
    (cited,) = parts(chunk({"annotations": [raw]}))
    assert cited == pt.Cited(ev.Citation("url", "https://a"))


def test_a_list_of_citations_counts_once_at_the_end_in_its_last_form() -> None:
    assert parts(
        chunk({"content": "a"}, citations=["https://old"]),
        chunk({"content": "b"}, "stop", citations=["https://a", "", 7, None, "https://b"]),
        chunk(citations=[]),
        DONE,
    ) == [
        pt.Text("a"),
        pt.Text("b"),
        STOP,
        pt.Cited(ev.Citation("url", "https://a")),
        pt.Cited(ev.Citation("url", "https://b")),
        pt.Done(),
    ]


def test_citations_that_come_last_are_told_without_a_marker_too() -> None:
    assert parts(chunk({}, "stop"), data({"citations": ["https://a"]})) == [
        STOP,
        pt.Cited(ev.Citation("url", "https://a")),
    ]


def test_search_results_give_the_citations_their_titles() -> None:
    results = [{"url": "https://a", "title": "A"}, {"url": "https://b"}, None, {"title": "x"}]
    assert parts(chunk(citations=["https://a", "https://c"], search_results=results)) == [
        pt.Cited(ev.Citation("url", "https://a", source_title="A")),
        pt.Cited(ev.Citation("url", "https://c")),
    ]


def test_search_results_alone_are_citations() -> None:
    results = [{"url": "https://a", "title": "A"}, {"url": "https://b"}, {"title": "x"}]
    assert parts(chunk(search_results=results)) == [
        pt.Cited(ev.Citation("url", "https://a", source_title="A")),
        pt.Cited(ev.Citation("url", "https://b")),
    ]


def test_a_generated_image_is_an_artifact() -> None:
    images = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}]
    assert parts(chunk({"images": images})) == [
        pt.Attached(ev.ArtifactData(None, "QQ==", "image/png", {}))
    ]


@pytest.mark.parametrize("url", ["", "https://a/b.png", "data:image/png,QQ", "data:;base64", None])
def test_an_image_that_is_not_base64_data_is_no_artifact(url: Any) -> None:
    assert parts(chunk({"images": [{"image_url": {"url": url}}, None]})) == []


def test_a_tool_that_the_host_runs_is_started_and_completed() -> None:
    started = {"index": 1, "type": "search", "arguments": "{}"}
    completed = {**started, "output": "found"}
    assert parts(chunk({"executed_tools": [started]}), chunk({"executed_tools": [completed]})) == [
        pt.ProviderTool("search", "started", "1", started),
        pt.ProviderTool("search", "completed", "1", completed),
    ]


def test_a_tool_of_the_host_without_a_name_is_told_all_the_same() -> None:
    assert parts(chunk({"executed_tools": [None, {}]})) == [
        pt.ProviderTool("tool", "started", "1", {})
    ]


# --- usage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "piece",
    [
        chunk({}, usage=USAGE),
        data({"choices": [], "usage": USAGE}),
        data({"usage": USAGE}),
        data({"choices": [], "x_groq": {"id": "r", "usage": USAGE}}),
        data({"choices": [{"index": 0, "delta": {}, "usage": USAGE}]}),
        data({"choices": [], "usage": USAGE, "x_groq": {"usage": {"prompt_tokens": 99}}}),
        data({"choices": [], "usage": None, "x_groq": {"usage": USAGE}}),
    ],
)
def test_usage_is_found_wherever_a_host_puts_it(piece: bytes) -> None:
    assert parts(piece) == [USED]


def test_usage_may_come_with_the_finish_reason_and_after_it() -> None:
    assert parts(chunk({}, "stop", usage=USAGE)) == [STOP, USED]


@pytest.mark.parametrize("usage", [None, {}, [], 7, {"total_tokens": 7}, {"prompt_tokens": None}])
def test_usage_that_says_nothing_does_not_undo_what_was_said(usage: Any) -> None:
    assert parts(chunk(usage=USAGE), chunk(usage=usage)) == [USED]


def test_usage_on_every_chunk_is_cumulative() -> None:
    pieces = [
        chunk({"content": "a"}, usage={"prompt_tokens": 3, "completion_tokens": n}) for n in (1, 2)
    ]
    assert answer(*pieces, DONE).usage == Usage(3, 2)


def test_the_row_of_the_host_decides_whether_reasoning_is_counted_outside() -> None:
    usage = {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    found = {
        name: OpenAIChat()
        .decoder(Endpoint("p", "http://h", None, HOSTS[name]))
        .feed(chunk(usage=usage))
        for name in ("xai", "openai")
    }
    assert found["xai"] == [pt.Used(Usage(3, 6, thought_tokens=2))]
    assert found["openai"] == [pt.Used(Usage(3, 4, thought_tokens=2))]


# --- failures inside the stream -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("piece", "code"),
    [
        (data({"error": {"message": "x", "type": "overloaded_error"}}), "provider_unavailable"),
        (data({"error": {"code": 429, "message": "slow"}}), "provider_rate_limited"),
        (data({"error": {"code": "context_length_exceeded"}}), "context_length_exceeded"),
        (data({"error": "the maximum context length is 8"}), "context_length_exceeded"),
        (data({"code": "rate_limit", "error": "slow down"}), "provider_rate_limited"),
        (data({"code": 503, "error": "soon"}), "provider_unavailable"),
        (data({"choices": [], "x_groq": {"error": "over_capacity"}}), "provider_unavailable"),
        (data({"x_groq": {"id": "r", "error": {"code": 400}}}), "provider_rejected"),
        (data({"object": "error", "message": "Rate limit", "code": 1300}), "provider_rate_limited"),
        (b'event: error\ndata: {"message":"slow","code":"429"}\n\n', "provider_rate_limited"),
        (b'event: error\ndata: {"error":{"code":503}}\n\n', "provider_unavailable"),
        (b"event: error\ndata: content_filter\n\n", "content_filtered"),
        (b"event: error\ndata: null\n\n", "provider_unavailable"),
        (b'error: {"error":{"message":"m","code":429}}\n', "provider_rate_limited"),
        (b'error: {"message":"m","code":429}\n\n', "provider_rate_limited"),
        (b"error: model crashed\n\n", "provider_unavailable"),
        (b"error: \xff\n\n", "provider_unavailable"),
    ],
)
def test_an_error_is_found_in_every_shape(piece: bytes, code: str) -> None:
    assert failure(chunk({"content": "a"}), piece) == code


def test_an_error_with_the_finish_reason_error_is_told_with_its_own_code() -> None:
    choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
    error = {"code": 502, "message": "Provider disconnected", "metadata": {}}
    said = answer(chunk({"content": "a"}), data({"error": error, "choices": [choice]}), DONE)
    assert said.error is not None
    assert (said.text, said.error.error_type) == ("a", "provider_unavailable")


def test_an_error_followed_by_the_marker_is_still_an_error() -> None:
    said = answer(data({"error": {"message": "x", "code": 400}}), DONE)
    assert said.finish_reason is FinishReason.ERROR


def test_content_of_the_chunk_that_fails_is_kept() -> None:
    assert answer(chunk({"content": "a"}, error={"code": 500})).text == "a"


@pytest.mark.parametrize("error", [None, "", {}, [], False])
def test_an_empty_error_is_none(error: Any) -> None:
    assert answer(chunk({"content": "a"}, "stop", error=error), DONE).error is None


def test_the_words_of_a_provider_are_for_the_log_only() -> None:
    said = answer(data({"error": {"message": "key sk-1 of org acme", "code": 401}}))
    assert said.error is not None
    assert "acme" not in said.error.message


# --- bodies that are something else ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error":{"message":"m","code":429}}', "provider_rate_limited"),
        (b'\n {"error":"maximum context length"}\n', "context_length_exceeded"),
        (b'\xef\xbb\xbf{"error":{"code":503}}', "provider_unavailable"),
        (b'[{"error":{"code":429}}]', "provider_rate_limited"),
        (b'{"choices":[{"message":{"content":"a"}}]}', "provider_protocol"),
        (b'{"error":null}', "provider_protocol"),
        (b'{"error":', "provider_protocol"),
        (b"[]", "provider_protocol"),
        (b"<!DOCTYPE html><h1>502 Bad Gateway</h1>", "provider_protocol"),
        (b"\r\n<html>data: x\n\n</html>", "provider_protocol"),
    ],
)
def test_a_body_that_is_no_event_stream_is_judged_at_its_end(body: bytes, code: str) -> None:
    assert failure(body) == code
    assert failure(*(body[i : i + 1] for i in range(len(body)))) == code


@pytest.mark.parametrize("body", [b"", b"\n\n", b"oops", b"upstream connect error\n\n"])
def test_a_body_without_events_says_nothing_and_so_is_truncated(body: bytes) -> None:
    assert parts(body) == []
    said = answer(body)
    assert said.error is not None
    assert said.error.error_type == "upstream_truncated"


@pytest.mark.parametrize(
    "garbage", [b"{", b"nope", b"[1]", b'"x"', b"7", b"null", b'{"choices":[{"delta":{"con']
)
def test_a_malformed_line_is_skipped_and_counted(garbage: bytes) -> None:
    decoder = OpenAIChatDecoder()
    body = chunk({"content": "a"}) + b"data: " + garbage + b"\n\n" + chunk({"content": "b"})
    assert decoder.feed(body) == [pt.Text("a"), pt.Text("b")]
    assert decoder.malformed == 1


def test_a_line_with_a_broken_character_is_not_lost() -> None:
    assert answer(b'data: {"choices":[{"delta":{"content":"a\xc3"}}]}\n\n').text == "a\ufffd"
    half = rb'data: {"choices":[{"delta":{"content":"a\ud83d"}}]}' + b"\n\n"
    assert parts(half) == [pt.Text("a\ud83d")]


@pytest.mark.parametrize(
    "payload",
    [
        {"choices": None},
        {"choices": {}},
        {"choices": [None, 1, "x", []]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": "x", "finish_reason": ["stop"]}]},
        {"model": 7, "usage": "x", "x_groq": 1, "citations": "x", "search_results": {}},
        {"choices": [{"delta": {"annotations": "x", "images": 1, "executed_tools": {}}}]},
    ],
)
def test_members_of_other_types_than_documented_count_as_absent(payload: Any) -> None:
    assert parts(data(payload)) == []


def test_an_event_beyond_the_size_cap_is_a_failure_after_what_came_before() -> None:
    found = parts(chunk({"content": "a"}), b"data: " + b"x" * MAX_EVENT_BYTES)
    assert found[0] == pt.Text("a")
    assert isinstance(found[1], pt.Failed)
    assert found[1].error.code == "provider_protocol"


# --- any bytes, any split -------------------------------------------------------------------------


def meant(pieces: list[bytes]) -> tuple[list[Any], int]:
    """What counts of a body: everything up to the end of the stream."""
    decoder = OpenAIChatDecoder()
    found: list[Any] = []
    for piece in pieces:
        found += decoder.feed(piece)
    found += decoder.eof()
    said: list[Any] = []
    for part in found:
        said.append((part.error.code, part.error.reason) if isinstance(part, pt.Failed) else part)
        if isinstance(part, (pt.Failed, pt.Done)):
            break
    return said, decoder.malformed


LINES = [
    chunk({"content": "a"}, model="m"),
    chunk({"content": "<think>"}),
    chunk({"content": "é😀</think>"}),
    chunk({"reasoning_content": "hm"}),
    chunk({"content": "b"}, "stop", usage=USAGE, citations=["https://a"]),
    chunk({"tool_calls": [call('{"x"', index=0, id="a", name="f")]}),
    data({"error": {"code": "²", "status": 429, "message": "x"}}),
    b"event: error\ndata: x\n\n",
    b"error: x\n",
    b'{"error":"x"}',
    b"<html>",
    b": ping\r\n\r\n",
    b"\xef\xbb\xbf",
    b"data: {\n\n",
    b"data: \xff\n\n",
    DONE,
]
BODIES = st.lists(st.sampled_from(LINES) | st.binary(max_size=6), max_size=8).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(BODIES, st.lists(st.integers(min_value=0, max_value=600), max_size=10))
@example(b'\xef\xbb\xbf{"error":"x"}', [1])
def test_any_split_of_any_bytes_gives_the_same_parts(body: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(body)]
    pieces = [body[start:stop] for start, stop in itertools.pairwise(edges)]
    assert meant(pieces) == meant([body])


def test_every_split_of_a_whole_answer_gives_the_same_parts() -> None:
    body = b"".join(LINES[:6]) + DONE
    whole = meant([body])
    assert [i for i in range(len(body)) if meant([body[:i], body[i:]]) != whole] == []
    assert meant([body[i : i + 1] for i in range(len(body))]) == whole


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("choices", "delta", "content", "finish_reason", "tool_calls", "function"),
                    *("index", "id", "name", "arguments", "usage", "x_groq", "error", "code"),
                    *("message", "prompt_tokens", "completion_tokens", "annotations", "url"),
                    *("images", "image_url", "citations", "search_results", "refusal", "type"),
                    *("reasoning", "reasoning_details", "executed_tools", "model", "text"),
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(JSON, max_size=4), JSON)
def test_whatever_json_a_host_sends_becomes_a_stream_that_can_be_read(
    payloads: list[Any], delta: Any
) -> None:
    composer = Composer(EventIds(0), "host", "model")
    body = b"".join(data(p) for p in [*payloads, {"choices": [{"delta": delta}]}])
    events = composer.feed(parts(body), 1.0)
    events += composer.close(composer.ending(), composer.usage or Usage(), 1.0)
    for event in events:
        assert ev.encode(ev.decode(event.type, ev.encode(event))) == ev.encode(event)


ODD = [None, "", "a", "<think>", 0, 1, True, 1.5, [], {}, ["x"], {"x": 1}, {"error": "x"}]
MEMBERS = {
    "chunk": ["choices", "usage", "error", "citations", "search_results", "x_groq", "model", "new"],
    "choice": ["delta", "index", "finish_reason", "usage", "logprobs"],
    "delta": [
        *("content", "role", "reasoning_content", "reasoning", "reasoning_details", "refusal"),
        *("tool_calls", "function_call", "annotations", "images", "executed_tools", "obfuscation"),
    ],
}


@pytest.mark.parametrize(("level", "name"), [(k, name) for k, v in MEMBERS.items() for name in v])
def test_the_short_way_for_plain_chunks_gives_the_same_parts(level: str, name: str) -> None:
    for odd in ODD:
        delta = {"content": "a", **({name: odd} if level == "delta" else {})}
        choice = {"index": 0, "delta": delta, **({name: odd} if level == "choice" else {})}
        body = data({"choices": [choice], **({name: odd} if level == "chunk" else {})})
        # The short way is taken once the model was named.
        short, long = meant([chunk(model="m"), body]), meant([chunk(), body])
        assert short[0] == [pt.Model("m"), *(p for p in long[0] if not isinstance(p, pt.Model))]
        assert short[1] == long[1]


# --- the dialect ---------------------------------------------------------------------------------


def test_a_request_is_a_post_to_chat_completions_with_the_credentials_of_the_host() -> None:
    endpoint = Endpoint("xai", "https://api.x.ai/v1", "sk-1", HOSTS["xai"])
    request = OpenAIChat().request(endpoint, "grok-4", ChatRequest("Hi \u2028 é"))
    assert request.url == "https://api.x.ai/v1/chat/completions"
    assert request.headers["Authorization"] == "Bearer sk-1"
    assert request.headers["Accept"] == "text/event-stream"
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.body)["messages"] == [{"role": "user", "content": "Hi \u2028 é"}]


def test_a_host_without_a_key_is_asked_without_credentials() -> None:
    endpoint = Endpoint("local", "http://127.0.0.1:1/v1", None, GENERIC)
    assert "Authorization" not in OpenAIChat().request(endpoint, "m", ChatRequest("Hi")).headers


def test_a_failed_response_is_judged_by_status_and_words() -> None:
    body = b'{"error":{"message":"m","code":"context_length_exceeded"}}'
    assert OpenAIChat().error(400, {}, body).code == "context_length_exceeded"
