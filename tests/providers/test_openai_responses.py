"""The Responses API as its hosts speak it: one small body for each thing it can say."""

import itertools
import json
import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from conformance.expected import ROOT
from tellstream.core import events as ev
from tellstream.core import grammar
from tellstream.core import parts as pt
from tellstream.core.chat import ChatRequest
from tellstream.core.composer import Composer
from tellstream.core.events import Citation
from tellstream.core.ids import EventIds
from tellstream.core.sse import MAX_EVENT_BYTES
from tellstream.core.transcript import Transcript, fold
from tellstream.core.usage import FinishReason, Usage
from tellstream.providers.base import Endpoint
from tellstream.providers.hosts import GENERIC, HOSTS
from tellstream.providers.openai_responses import (
    OpenAIResponses,
    OpenAIResponsesDecoder,
)

STOP = pt.Finished(FinishReason.STOP)
USED = pt.Used(Usage(3, 4))
USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}


def event(kind: str, **more: Any) -> bytes:
    payload = json.dumps({"type": kind, "sequence_number": 0, **more})
    return f"event: {kind}\ndata: {payload}\n\n".encode()


def text(delta: str, index: int = 0, content: int = 0, item_id: str = "m") -> bytes:
    return event(
        "response.output_text.delta",
        item_id=item_id,
        output_index=index,
        content_index=content,
        delta=delta,
    )


def thinks(delta: str, part: int = 0, index: int = 0) -> bytes:
    kind = "response.reasoning_summary_text.delta"
    return event(kind, item_id="rs", output_index=index, summary_index=part, delta=delta)


def added(item: dict[str, Any], index: int = 0) -> bytes:
    return event("response.output_item.added", output_index=index, item=item)


def done(item: dict[str, Any], index: int = 0) -> bytes:
    return event("response.output_item.done", output_index=index, item=item)


def message(*content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "message", "id": "m", "role": "assistant", "content": list(content)}


def output_text(value: str, *annotations: dict[str, Any]) -> dict[str, Any]:
    return {"type": "output_text", "text": value, "annotations": list(annotations)}


def created(**more: Any) -> bytes:
    return event("response.created", response={"model": "gpt-5", "status": "in_progress", **more})


def completed(*output: dict[str, Any], **more: Any) -> bytes:
    response = {"status": "completed", "usage": USAGE, "output": list(output), **more}
    return event("response.completed", response=response)


END = completed()
ENDED = [USED, STOP, pt.Done()]


def parts(*pieces: bytes) -> list[pt.Part]:
    decoder = OpenAIResponsesDecoder()
    found: list[pt.Part] = []
    for piece in pieces:
        found += decoder.feed(piece)
    return found + decoder.eof()


def failure(*pieces: bytes) -> str:
    (code,) = [part.error.code for part in parts(*pieces) if isinstance(part, pt.Failed)]
    return code


def events(*pieces: bytes) -> list[ev.Event]:
    """What the whole stream says; grammatical, whatever it is."""
    composer = Composer(EventIds(0), "host", "model")
    made = composer.feed(parts(*pieces), 1.0)
    made += composer.close(composer.ending(), composer.usage or Usage(), 1.0)
    grammar.check(made)
    return made


def answer(*pieces: bytes) -> Transcript:
    return fold(events(*pieces))


# --- the plain answer -----------------------------------------------------------------------------


def test_a_plain_answer_is_model_text_usage_finish_and_marker() -> None:
    body = (
        created(),
        event("response.in_progress", response={"model": "other"}),
        added(message()),
        event("response.content_part.added", output_index=0, content_index=0, part=output_text("")),
        text("Hel"),
        text("lo"),
        event("response.output_text.done", output_index=0, content_index=0, text="Hello"),
        event(
            "response.content_part.done",
            output_index=0,
            content_index=0,
            part=output_text("Hello"),
        ),
        done(message(output_text("Hello"))),
        completed(message(output_text("Hello"))),
    )
    said = [pt.Model("gpt-5"), pt.Text("Hel"), pt.Text("lo"), pt.Break(), *ENDED]
    assert parts(*body) == said


@pytest.mark.parametrize("value", ["0", " ", "\n", "é😀", "\x00"])
def test_no_text_is_special(value: str) -> None:
    assert parts(text(value), END)[0] == pt.Text(value)


def test_event_lines_are_not_needed() -> None:
    body = b"".join(
        line + b"\n\n"
        for line in (created() + text("a") + END + b"data: [DONE]\n").split(b"\n")
        if line.startswith(b"data:")
    )
    assert parts(body)[:-1] == [pt.Model("gpt-5"), pt.Text("a"), *ENDED]


def test_event_lines_do_when_the_data_names_no_type() -> None:
    lines = b'event: response.output_text.delta\ndata: {"delta":"a"}\n\n'
    assert parts(lines, b'event: response.completed\ndata: {"response":{}}\n\n') == [
        pt.Text("a"),
        STOP,
        pt.Done(),
    ]


def test_comments_and_unknown_events_mean_nothing() -> None:
    noise = b": keepalive\n\n" + event("response.brand_new.thing", delta="x") + event("ping")
    assert parts(noise, text("a"), noise, END) == [pt.Text("a"), *ENDED]


def test_an_end_without_a_marker_is_no_end() -> None:
    made = answer(text("a"))
    assert made.error is not None
    assert made.error.error_type == "upstream_truncated"


def test_the_marker_of_other_wires_proves_the_end_too() -> None:
    assert answer(text("a"), b"data: [DONE]\n\n").finish_reason == "Unknown"


def test_a_last_event_without_its_blank_line_counts() -> None:
    assert parts(text("a"), END.rstrip()) == [pt.Text("a"), *ENDED]


def test_data_that_is_no_object_is_skipped_and_counted() -> None:
    decoder = OpenAIResponsesDecoder()
    found = decoder.feed(b"data: {\n\ndata: []\n\ndata: 1\n\n" + text("a") + END)
    assert found == [pt.Text("a"), *ENDED]
    assert decoder.malformed == 3


# --- blocks ---------------------------------------------------------------------------------------


def test_each_part_of_a_summary_is_a_block_of_its_own() -> None:
    part_done = event("response.reasoning_summary_part.done", output_index=0, summary_index=0)
    assert parts(thinks("a"), part_done, thinks("b", 1), text("c", 1), END) == [
        pt.Thinking("a"),
        pt.Break(),
        pt.Thinking("b"),
        pt.Break(),
        pt.Text("c"),
        *ENDED,
    ]


def test_a_new_block_ends_the_one_before_even_if_nothing_says_so() -> None:
    made = [type(e).__name__ for e in events(text("a"), text("b", content=1), text("c", 1), END)]
    assert made.count("TextStart") == 3


def test_an_item_that_ends_late_does_not_cut_the_text_of_another() -> None:
    late = done({"type": "reasoning", "id": "rs", "summary": []}, 0)
    assert parts(thinks("a"), text("b", 1), late, text("c", 1), END) == [
        pt.Thinking("a"),
        pt.Break(),
        pt.Text("b"),
        pt.Text("c"),
        *ENDED,
    ]


def test_an_item_without_an_index_is_known_by_its_id() -> None:
    delta = event("response.output_text.delta", item_id="m", delta="a")
    end = event("response.output_item.done", item=message(output_text("a")))
    assert parts(delta, end, END) == [pt.Text("a"), pt.Break(), *ENDED]


# --- thinking and refusals ------------------------------------------------------------------------


def test_raw_thinking_and_summaries_are_thinking() -> None:
    raw = event("response.reasoning_text.delta", output_index=0, content_index=0, delta="a")
    assert answer(raw, thinks("b"), text("c", 1), END).thinking == "ab"


def test_thinking_inside_the_text_is_split_off() -> None:
    body = (text("<thi"), text("nk>a</th"), text("ink>b"), END)
    assert (answer(*body).thinking, answer(*body).text) == ("a", "b")


def test_what_comes_before_the_text_does_not_hide_a_tag() -> None:
    body = (thinks("0"), added({"type": "web_search_call", "id": "w"}, 1), text("<think>a", 2))
    assert answer(*body, text("</think>b", 2), END).thinking == "0a"


def test_what_may_become_a_tag_is_not_lost_at_the_end() -> None:
    assert answer(text("<thi"), END).text == "<thi"
    assert parts(text("<thi")) == [pt.Text("<thi")]


def test_a_refusal_is_text_that_ends_as_content_filter() -> None:
    delta = event("response.refusal.delta", output_index=0, content_index=0, delta="No.")
    whole = event("response.refusal.done", output_index=0, content_index=0, refusal="No.")
    refusal = {"type": "refusal", "refusal": "No."}
    made = answer(delta, whole, done(message(refusal)), completed(message(refusal)))
    assert (made.text, made.finish_reason) == ("No.", "ContentFilter")


def test_encrypted_thinking_must_go_back() -> None:
    item = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "x"}
    plain = {**item, "encrypted_content": None}
    assert parts(added(item), done(item), done(plain), END) == [pt.Replay(item), *ENDED]


# --- what was not streamed ------------------------------------------------------------------------

CITATION = {"type": "url_citation", "url": "u"}
WHOLE_TEXT = event("response.output_text.done", output_index=0, content_index=0, text="ab")
WHOLE_PART = event(
    "response.content_part.done",
    output_index=0,
    content_index=0,
    part=output_text("ab", CITATION),
)
WHOLE_ITEM = done(message(output_text("ab", CITATION)))
WHOLE = completed(message(output_text("ab", CITATION)))


@pytest.mark.parametrize(
    "body",
    [
        (text("ab"), WHOLE_TEXT, WHOLE_PART, WHOLE_ITEM, WHOLE),
        (WHOLE_TEXT, WHOLE_PART, WHOLE_ITEM, WHOLE),
        (WHOLE_PART, WHOLE_ITEM, WHOLE),
        (added(message()), WHOLE_ITEM, WHOLE),
        (added(message()), WHOLE),
        (WHOLE,),
    ],
)
def test_the_text_is_told_once_however_late(body: tuple[bytes, ...]) -> None:
    made = answer(created(), *body)
    assert (made.text, [c.source for c in made.citations]) == ("ab", ["u"])


def test_deltas_that_name_no_item_are_not_repeated_by_it() -> None:
    delta = event("response.output_text.delta", delta="ab")
    assert answer(delta, done(message(output_text("ab")), 1), END).text == "ab"


def test_several_parts_that_come_whole_are_all_told() -> None:
    item = message(output_text("a"), output_text("b"), {"type": "new"}, {"type": "refusal"})
    assert answer(done(item), END).text == "ab"


def test_thinking_that_comes_whole_is_told_once() -> None:
    summary = [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]
    item = {"type": "reasoning", "id": "rs", "summary": summary}
    assert answer(done(item), completed(item)).thinking == "ab"
    assert answer(thinks("a"), thinks("b", 1), done(item), completed(item)).thinking == "ab"


# --- calls ----------------------------------------------------------------------------------------


def call(name: str = "f", arguments: str = "", **more: Any) -> dict[str, Any]:
    return {
        "type": "function_call",
        "id": f"fc_{name}",
        "call_id": f"call_{name}",
        "name": name,
        "arguments": arguments,
        **more,
    }


def test_a_call_is_known_by_the_id_its_result_must_have() -> None:
    fragment = {"item_id": "fc_f", "output_index": 0}
    body = (
        added(call()),
        event("response.function_call_arguments.delta", **fragment, delta='{"a"'),
        event("response.function_call_arguments.delta", **fragment, delta=":1}"),
        event("response.function_call_arguments.done", **fragment, arguments='{"a":1}'),
        done(call(arguments='{"a":1}')),
        completed(call(arguments='{"a":1}')),
    )
    made = answer(*body)
    assert made.tool_calls == [{"tool_id": "call_f", "tool_name": "f", "arguments": {"a": 1}}]
    assert made.finish_reason == "ToolCalls"
    assert [e.delta for e in events(*body) if isinstance(e, ev.ToolCallDelta)] == ['{"a"', ":1}"]


def test_calls_may_interleave() -> None:
    kind = "response.function_call_arguments.delta"
    made = answer(
        added(call("f"), 0),
        added(call("g"), 1),
        event(kind, output_index=1, delta='{"b":'),
        event(kind, output_index=0, delta='{"a":'),
        event(kind, output_index=1, delta="2}"),
        event(kind, output_index=0, delta="1}"),
        END,
    )
    assert [(c["tool_name"], c["arguments"]) for c in made.tool_calls] == [
        ("f", {"a": 1}),
        ("g", {"b": 2}),
    ]


@pytest.mark.parametrize(
    "body", [(done(call(arguments="{}")), END), (completed(call(arguments="{}")),)]
)
def test_a_call_that_only_comes_whole(body: tuple[bytes, ...]) -> None:
    made = answer(*body)
    assert made.tool_calls == [{"tool_id": "call_f", "tool_name": "f", "arguments": {}}]
    assert made.finish_reason == "ToolCalls"


def custom(call_id: str = "c") -> dict[str, Any]:
    tool = {"type": "custom_tool_call", "id": "ctc", "call_id": call_id, "name": "sql"}
    return {**tool, "input": "SELECT 1", "status": "completed"}


def custom_calls() -> bytes:
    place = {"item_id": "ctc", "output_index": 0}
    return b"".join(
        (
            added({**custom(), "input": ""}),
            event("response.custom_tool_call_input.delta", **place, delta="SELECT"),
            event("response.custom_tool_call_input.done", **place, input="SELECT 1"),
            done(custom()),
        )
    )


@pytest.mark.parametrize("head", [b"", created(tools=[{"type": "custom", "name": "sql"}])])
def test_a_custom_tool_is_a_call_whose_input_is_text(head: bytes) -> None:
    made = answer(head, custom_calls(), END)
    (made_call,) = made.tool_calls
    assert made_call["invalid_arguments"] == "SELECT 1"
    assert made.finish_reason == "ToolCalls"


def test_a_custom_tool_that_was_not_declared_ran_at_the_provider() -> None:
    made = answer(created(tools=[{"type": "x_search"}]), custom_calls(), text("a", 1), END)
    assert made.tool_calls == []
    assert made.finish_reason == "Stop"
    assert made.provider_tools == [
        "provider_tool_event.sql.in_progress",
        "provider_tool_event.sql.completed",
    ]


# --- hosted tools, files and sources --------------------------------------------------------------


def test_a_hosted_tool_is_told_status_by_status_and_its_files_last() -> None:
    kind = "response.image_generation_call"
    item = {"type": "image_generation_call", "id": "ig", "status": "generating"}
    made = answer(
        added({**item, "status": "in_progress"}),
        event(f"{kind}.in_progress", item_id="ig", output_index=0),
        event(f"{kind}.generating", item_id="ig", output_index=0),
        event(f"{kind}.partial_image", item_id="ig", output_index=0, partial_image_b64="AA"),
        event(f"{kind}.partial_image", item_id="ig", output_index=0, partial_image_b64="AAA"),
        event(f"{kind}.completed", item_id="ig", output_index=0),
        done({**item, "result": "AAAA", "output_format": "png"}),
        text("Here.", 1),
        END,
    )
    statuses = ["in_progress", "generating", "partial_image", "completed"]
    prefix = "provider_tool_event.image_generation_call"
    assert made.provider_tools == [f"{prefix}.{status}" for status in statuses]
    assert [(file.data, file.mime_type) for file in made.artifacts] == [("AAAA", "image/png")]
    assert made.text == "Here."


def test_an_end_whose_item_never_comes_is_told_before_the_stream_ends() -> None:
    ended = event("response.web_search_call.completed", item_id="w", output_index=0)
    found = parts(ended, text("a", 1), END)
    assert found[-4:] == [pt.ProviderTool("web_search_call", "completed", "w", {}), *ENDED]


def test_citations_belong_to_the_text_they_follow() -> None:
    kind = "response.output_text.annotation.added"
    placed = {"type": "url_citation", "url": "u", "title": "T", "start_index": 1, "end_index": 4}
    body = (text("abcd"), event(kind, output_index=0, annotation=placed), text("e"), END)
    (made,) = answer(*body).citations
    assert (made.source, made.source_title) == ("u", "T")
    assert (made.source_start_index, made.source_end_index) == (1, 4)
    assert [type(part) for part in parts(*body)[:3]] == [pt.Text, pt.Cited, pt.Text]


def test_annotations_told_on_their_way_are_not_repeated() -> None:
    kind = "response.output_text.annotation.added"
    body = (text("ab"), event(kind, annotation=CITATION), WHOLE_PART, WHOLE_ITEM, WHOLE)
    assert len(answer(*body).citations) == 1


def test_an_annotation_without_a_source_is_none() -> None:
    kind = "response.output_text.annotation.added"
    assert parts(event(kind, annotation={}), event(kind), END) == ENDED


def test_a_list_of_urls_counts_if_nothing_was_annotated() -> None:
    assert answer(text("a"), completed(citations=["u", "u", "v"])).citations == [
        Citation("url", "u"),
        Citation("url", "v"),
    ]
    body = (text("a"), event("response.output_text.annotation.added", annotation=CITATION))
    assert len(answer(*body, completed(citations=["u", "v"])).citations) == 1


# --- Perplexity -----------------------------------------------------------------------------------


def test_research_is_thinking_steps_and_sources() -> None:
    found = [{"url": "u", "title": "T", "snippet": "s"}]
    body = (
        created(),
        event("response.reasoning.started", thought="Hm."),
        event("response.reasoning.search_queries", queries=["q"], thought="Look."),
        event("response.reasoning.search_results", results=found, usage=USAGE),
        event("response.reasoning.stopped"),
        done({"type": "search_results", "results": found, "queries": ["q"]}),
        event("response.output_text.delta", delta="Yes [1]"),
        END,
    )
    made = answer(*body)
    assert (made.thinking, made.text) == ("Hm.Look.", "Yes [1]")
    assert made.provider_tools == [
        "provider_tool_event.reasoning.search_queries",
        "provider_tool_event.reasoning.search_results",
        "provider_tool_event.search_results.completed",
    ]
    assert made.citations == [Citation("url", "u", source_text="s", source_title="T")]


# --- endings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("max_output_tokens", "Length"), ("content_filter", "ContentFilter"), ("other", "Other")],
)
def test_an_incomplete_response_says_why(reason: str, finish: str) -> None:
    response = {"status": "incomplete", "incomplete_details": {"reason": reason}, "usage": USAGE}
    made = answer(text("a"), event("response.incomplete", response=response))
    assert (made.finish_reason, made.usage) == (finish, Usage(3, 4))


def test_nothing_counts_after_the_end() -> None:
    assert answer(text("a"), END, text("b")).text == "a"


@pytest.mark.parametrize(
    "error",
    [
        event("error", code="rate_limit_exceeded", message="Slow down", param=None),
        event("error", error={"type": "tokens", "code": "rate_limit_exceeded", "message": "x"}),
        event("response.failed", response={"error": {"code": "rate_limit_exceeded"}}),
        event("response.failed", response={"status": "failed"}, error={"code": 429}),
        b'data: {"error":{"code":429,"message":"x"}}\n\n',
        b'event: error\ndata: {"code":"rate_limit_exceeded"}\n\n',
        b"event: error\ndata: rate limit\n\n",
        b"error: rate limit\n",
        b'{"error":{"code":429}}',
    ],
)
def test_an_error_of_any_shape_ends_the_stream(error: bytes) -> None:
    assert failure(error) == "provider_rate_limited"


def test_an_error_without_words_is_an_error() -> None:
    assert failure(event("response.failed", response={})) == "provider_unavailable"
    assert failure(event("response.cancelled")) == "provider_unavailable"


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        ("server_error", "provider_unavailable"),
        ("invalid_prompt", "provider_rejected"),
        ("context_length_exceeded", "context_length_exceeded"),
    ],
)
def test_an_error_says_what_it_means(code: str, meaning: str) -> None:
    assert failure(event("response.failed", response={"error": {"code": code}})) == meaning


def test_a_failure_keeps_what_was_said_and_counted() -> None:
    error = {"code": "server_error", "message": "x"}
    made = answer(text("a"), event("response.failed", response={"error": error, "usage": USAGE}))
    assert (made.text, made.finish_reason, made.usage) == ("a", "Error", Usage(3, 4))


def test_a_page_and_an_event_without_end_are_no_answer() -> None:
    assert failure(b"<html>") == "provider_protocol"
    assert failure(b"data: " + b"x" * MAX_EVENT_BYTES, b"x", b"y") == "provider_protocol"


# --- the dialect ----------------------------------------------------------------------------------


def test_the_request_asks_for_a_stream_of_events() -> None:
    endpoint = Endpoint("openai", "https://api.openai.com/v1", "secret", HOSTS["openai"])
    request = OpenAIResponses().request(endpoint, "gpt-5", ChatRequest("Hi"))
    assert request.url == "https://api.openai.com/v1/responses"
    assert request.headers["Accept"] == "text/event-stream"
    assert request.headers["Authorization"] == "Bearer secret"
    assert json.loads(request.body)["stream"] is True


def test_the_dialect_makes_decoders_and_reads_errors() -> None:
    endpoint = Endpoint("x", "http://x/v1", None, GENERIC)
    assert OpenAIResponses().decoder(endpoint).feed(text("a")) == [pt.Text("a")]
    assert OpenAIResponses().error(400, {}, b'{"error":"no"}').code == "provider_rejected"


# --- any bytes, any split -------------------------------------------------------------------------

SAMPLE = b"".join(
    (
        created(tools=[]),
        thinks("é"),
        text("<think>a</think>b", 1),
        event("response.output_text.annotation.added", output_index=1, annotation=CITATION),
        added(call(), 2),
        event("response.function_call_arguments.delta", output_index=2, delta="{}"),
        b"data: junk\r\n\r\n: comment\r\n",
        done({"type": "web_search_call", "id": "w"}, 3),
        END,
        b"error: x\n",
    )
)


def test_every_split_gives_the_same_parts() -> None:
    whole = repr(parts(SAMPLE))
    for a, b in itertools.combinations(range(0, len(SAMPLE), 31), 2):
        assert repr(parts(SAMPLE[:a], SAMPLE[a:b], SAMPLE[b:])) == whole
    assert repr(parts(*(SAMPLE[i : i + 1] for i in range(len(SAMPLE))))) == whole


KINDS = [
    "response.created",
    "response.output_item.added",
    "response.output_item.done",
    "response.content_part.done",
    "response.output_text.delta",
    "response.output_text.done",
    "response.output_text.annotation.added",
    "response.refusal.delta",
    "response.reasoning_summary_text.delta",
    "response.reasoning_text.done",
    "response.reasoning.search_results",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.custom_tool_call_input.delta",
    "response.web_search_call.completed",
    "response.mcp_call.in_progress",
    "response.incomplete",
    "response.failed",
    "response.completed",
    "error",
]
TYPES = ["message", "reasoning", "function_call", "custom_tool_call", "image_generation_call"]
TYPES += ["output_text", "refusal", "summary_text", "url_citation", "search_results", "custom"]
NAMES = ["delta", "text", "output_index", "content_index", "item_id", "item", "id", "call_id"]
NAMES += ["name", "arguments", "input", "content", "summary", "annotations", "annotation", "url"]
NAMES += ["part", "response", "output", "usage", "input_tokens", "status", "error", "tools"]
NAMES += ["outputs", "result", "results", "encrypted_content", "incomplete_details", "code"]
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, 0, 1, -1, 2**70, 1.5, "", "a", "{}", *TYPES])
    | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from([*NAMES, "type"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(NAMES), VALUES))
        | st.binary(max_size=20),
        max_size=8,
    ),
    st.data(),
)
@example([b"\xff", ("response.completed", {"response": {"output": [{"type": []}]}})], None)
def test_nothing_breaks_the_decoder(made: list[Any], data: st.DataObject | None) -> None:
    body = b"".join(m if isinstance(m, bytes) else event(m[0], **m[1]) for m in made)
    ends = st.lists(st.integers(0, len(body)), max_size=5)
    at = [] if data is None else sorted(data.draw(ends))
    chunks = [body[a:b] for a, b in zip([0, *at], [*at, len(body)], strict=True)]
    assert repr(parts(*chunks)) == repr(parts(body))
    events(body)


@pytest.mark.parametrize("path", sorted(ROOT.glob("openai-responses/*.sse")), ids=lambda p: p.stem)
def test_a_recording_cut_or_garbled_anywhere_still_ends_well(path: Any) -> None:
    source = random.Random(path.name)
    body = path.read_bytes()[:60_000]
    for _ in range(8):
        garbled = bytearray(body[: source.randrange(len(body))])
        for _ in range(source.randrange(4)):
            position = source.randrange(len(garbled) + 1)
            garbled[position : position + source.randrange(9)] = source.randbytes(3)
        at = source.randrange(len(garbled) + 1)
        assert repr(parts(bytes(garbled[:at]), bytes(garbled[at:]))) == repr(parts(bytes(garbled)))
        events(bytes(garbled))
