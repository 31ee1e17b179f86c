"""Messages as Anthropic and its gateways stream them: one small body for each variation."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellstream.core import events as ev
from tellstream.core import parts as pt
from tellstream.core.chat import ChatRequest
from tellstream.core.composer import Composer
from tellstream.core.ids import EventIds
from tellstream.core.sse import MAX_EVENT_BYTES
from tellstream.core.transcript import Transcript, fold
from tellstream.core.usage import FinishReason, Usage
from tellstream.providers.anthropic_messages import AnthropicMessages, AnthropicMessagesDecoder
from tellstream.providers.base import Endpoint
from tellstream.providers.hosts import HOSTS

STOP = pt.Finished(FinishReason.STOP)


def event(kind: str, **more: Any) -> bytes:
    payload = json.dumps({"type": kind, **more})
    return f"event: {kind}\ndata: {payload}\n\n".encode()


def start(block: dict[str, Any], index: int = 0) -> bytes:
    return event("content_block_start", index=index, content_block=block)


def delta(kind: str, index: int = 0, **more: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, **more})


def stop(index: int = 0) -> bytes:
    return event("content_block_stop", index=index)


def finish(reason: str | None = "end_turn", **more: Any) -> bytes:
    return event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, **more)


def text(*deltas: str) -> bytes:
    """A whole text block."""
    said = b"".join(delta("text_delta", text=one) for one in deltas)
    return start({"type": "text", "text": ""}) + said + stop()


def begin(model: str = "claude", /, **usage: Any) -> bytes:
    return event("message_start", message={"model": model, "content": [], "usage": usage})


END = event("message_stop")


def parts(*pieces: bytes) -> list[pt.Part]:
    """Decode a whole body."""
    decoder = AnthropicMessagesDecoder()
    found: list[pt.Part] = []
    for piece in pieces:
        found += decoder.feed(piece)
    return found + decoder.eof()


def composed(*pieces: bytes) -> list[ev.Event]:
    composer = Composer(EventIds(0), "host", "model")
    events = composer.feed(parts(*pieces), 1.0)
    return events + composer.close(composer.ending(), composer.usage or Usage(), 1.0)


def answer(*pieces: bytes) -> Transcript:
    """What the whole stream says."""
    return fold(composed(*pieces))


def failure(*pieces: bytes) -> str:
    """The code of the one failure in a body."""
    (code,) = [part.error.code for part in parts(*pieces) if isinstance(part, pt.Failed)]
    return code


# --- the plain answer -----------------------------------------------------------------------------


def test_a_plain_answer_is_model_usage_text_finish_and_marker() -> None:
    assert parts(
        begin("claude-x", input_tokens=3, output_tokens=1),
        start({"type": "text", "text": ""}),
        event("ping"),
        delta("text_delta", text="Hel"),
        delta("text_delta", text="lo"),
        stop(),
        finish(usage={"output_tokens": 5}),
        END,
    ) == [
        pt.Model("claude-x"),
        pt.Used(Usage(3, 1)),
        pt.Text("Hel"),
        pt.Text("lo"),
        pt.Break(),
        STOP,
        pt.Used(Usage(3, 5)),
        pt.Done(),
    ]


@pytest.mark.parametrize("said", ["0", " ", "\n", "é😀", "\x00", "\ud83d"])
def test_no_text_is_special(said: str) -> None:
    assert parts(delta("text_delta", text=said)) == [pt.Text(said)]


def test_each_text_block_is_a_part_of_its_own() -> None:
    events = composed(text("a"), text("b"), finish(), END)
    assert [e.type for e in events].count("text_start") == 2


def test_text_in_the_start_of_a_block_counts() -> None:
    assert parts(start({"type": "text", "text": "a"}), delta("text_delta", text="b"))[:2] == [
        pt.Text("a"),
        pt.Text("b"),
    ]


def test_the_type_inside_decides_and_the_name_of_the_event_only_where_it_is_missing() -> None:
    bare = b"data: " + json.dumps({"type": "message_stop"}).encode() + b"\n\n"
    named = b"event: message_stop\ndata: {}\n\n"
    other = b'event: ping\ndata: {"type":"message_stop"}\n\n'
    assert parts(bare) == parts(named) == parts(other) == [pt.Done()]


@pytest.mark.parametrize(
    "piece",
    [
        event("ping"),
        b"event: ping\ndata: {}\n\n",
        event("something_new", delta={"text": "x"}),
        start({"type": "compaction", "content": None}),
        delta("compaction_delta", content="summary"),
        delta("something_new", text="x"),
        start({"type": "container_upload", "file_id": "f"}),
        stop(7),
        b": comment\n\n",
    ],
)
def test_what_is_not_known_says_nothing(piece: bytes) -> None:
    assert parts(piece) == []


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("end_turn", FinishReason.STOP),
        ("stop_sequence", FinishReason.STOP),
        ("max_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("tool_use", FinishReason.TOOL_CALLS),
        ("refusal", FinishReason.CONTENT_FILTER),
        ("pause_turn", FinishReason.OTHER),
        ("something_new", FinishReason.OTHER),
    ],
)
def test_each_stop_reason_is_mapped(said: str, meant: FinishReason) -> None:
    assert parts(finish(said)) == [pt.Finished(meant)]


def test_no_stop_reason_is_none() -> None:
    assert parts(finish(None)) == []


def test_a_refusal_keeps_the_text_before_it() -> None:
    said = answer(text("Hi"), finish("refusal"), END)
    assert (said.text, said.finish_reason) == ("Hi", FinishReason.CONTENT_FILTER)


def test_the_end_is_proven_by_the_stop_reason_or_the_marker_and_nothing_else() -> None:
    assert answer(text("a"), finish()).finish_reason is FinishReason.STOP
    assert answer(text("a"), END).finish_reason is FinishReason.UNKNOWN
    broken = answer(text("a"))
    assert broken.error is not None
    assert (broken.text, broken.error.error_type) == ("a", "upstream_truncated")


def test_the_last_event_may_lack_its_blank_line() -> None:
    assert parts(text("a"), finish().rstrip(b"\n"))[-1] == STOP
    assert parts(text("a"), finish().rstrip(b"\n") + b"\n")[-1] == STOP
    assert parts(text("a"), finish()[:-20])[-1] == pt.Break()


def test_content_after_the_marker_is_dropped() -> None:
    assert answer(text("a"), finish(), END, text("b")).text == "a"


def test_the_marker_of_a_gateway_counts_too() -> None:
    assert parts(b"event: data\ndata: [DONE]\n\n") == [pt.Done()]


def test_a_body_with_crlf_is_read_too() -> None:
    assert parts((text("a") + END).replace(b"\n", b"\r\n")) == [
        pt.Text("a"),
        pt.Break(),
        pt.Done(),
    ]


# --- thinking ------------------------------------------------------------------------------------


def test_thinking_is_shown_and_goes_back_whole_with_its_signature() -> None:
    assert parts(
        start({"type": "thinking", "thinking": "", "signature": ""}),
        delta("thinking_delta", thinking="h"),
        delta("thinking_delta", thinking="m"),
        delta("thinking_delta", thinking=""),
        delta("signature_delta", signature="s1"),
        delta("signature_delta", signature="s2"),
        stop(),
    ) == [
        pt.Thinking("h"),
        pt.Thinking("m"),
        pt.Break(),
        pt.Replay({"type": "thinking", "thinking": "hm", "signature": "s1s2"}),
    ]


def test_thinking_may_stand_in_the_start_of_its_block() -> None:
    block = {"type": "thinking", "thinking": "hm", "signature": "s"}
    assert parts(start(block), stop()) == [pt.Thinking("hm"), pt.Break(), pt.Replay(block)]


def test_thinking_that_is_not_shown_still_goes_back() -> None:
    block = {"type": "thinking", "thinking": "", "signature": "s"}
    assert parts(start(block), stop()) == [pt.Break(), pt.Replay(block)]


def test_thinking_without_a_signature_does_not_go_back() -> None:
    body = (start({"type": "thinking", "thinking": "hm"}), stop())
    assert parts(*body) == [pt.Thinking("hm"), pt.Break()]


def test_redacted_thinking_goes_back_in_its_place_and_shows_nothing() -> None:
    redacted = {"type": "redacted_thinking", "data": "x"}
    signed = {"type": "thinking", "thinking": "", "signature": "s"}
    found = parts(start(redacted), stop(), start(signed, 1), stop(1), start(redacted, 2), stop(2))
    assert [p.item for p in found if isinstance(p, pt.Replay)] == [redacted, signed, redacted]
    assert answer(start(redacted), stop(), text("a"), finish()).thinking == ""


def test_a_block_that_is_never_stopped_is_over_with_the_message() -> None:
    block = {"type": "thinking", "thinking": "", "signature": "s"}
    assert parts(start(block), finish("tool_use")) == [
        pt.Break(),
        pt.Replay(block),
        pt.Finished(FinishReason.TOOL_CALLS),
    ]


def test_a_block_that_is_cut_does_not_go_back() -> None:
    assert parts(start({"type": "thinking", "thinking": "", "signature": "s"})) == []


# --- tool calls ----------------------------------------------------------------------------------


def tool(tool_id: str = "a", name: str = "f", **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": tool_id, "name": name, "input": given}


def json_delta(fragment: str, index: int = 0) -> bytes:
    return delta("input_json_delta", index, partial_json=fragment)


def calls(*pieces: bytes, reason: str = "tool_use") -> list[tuple[str, str, Any]]:
    said = answer(*pieces, finish(reason), END)
    return [
        (one["tool_id"], one["tool_name"], one.get("invalid_arguments", one["arguments"]))
        for one in said.tool_calls
    ]


def test_a_call_comes_in_fragments() -> None:
    body = (start(tool()), json_delta(""), json_delta('{"x":'), json_delta("1}"), stop())
    assert calls(*body) == [("a", "f", {"x": 1})]
    assert parts(*body) == [
        pt.ToolFragment(1, "a", "f", ""),
        pt.ToolFragment(1, "", "", '{"x":'),
        pt.ToolFragment(1, "", "", "1}"),
    ]


@pytest.mark.parametrize("fragments", [[], [""], ["{}"], ["", "{", "}"]])
def test_no_input_is_an_empty_object(fragments: list[str]) -> None:
    assert calls(start(tool()), *map(json_delta, fragments), stop()) == [("a", "f", {})]


def test_input_may_stand_whole_in_the_start() -> None:
    assert calls(start(tool(x=1)), stop()) == [("a", "f", {"x": 1})]
    assert calls(start(tool(x=1)), json_delta(""), stop()) == [("a", "f", {"x": 1})]
    assert calls(start(tool(x=1))) == [("a", "f", {"x": 1})]


def test_input_that_comes_in_fragments_counts_more_than_that_of_the_start() -> None:
    assert calls(start(tool(x=1)), json_delta('{"x":2}'), stop()) == [("a", "f", {"x": 2})]


def test_parallel_calls_keep_their_order() -> None:
    body = (
        start(tool("a", "f"), 1),
        stop(1),
        start(tool("b", "f"), 2),
        json_delta('{"x":1}', 2),
        stop(2),
    )
    assert calls(*body) == [("a", "f", {}), ("b", "f", {"x": 1})]


def test_calls_of_a_host_that_always_says_index_zero_stay_apart() -> None:
    body = (start(tool("a")), json_delta('{"x":1}'), start(tool("b")), json_delta('{"y":2}'))
    assert calls(*body) == [("a", "f", {"x": 1}), ("b", "f", {"y": 2})]


def test_fragments_of_open_calls_may_interleave() -> None:
    body = (
        start(tool("a"), 0),
        start(tool("b"), 1),
        json_delta('{"x"', 0),
        json_delta('{"y"', 1),
        json_delta(":1}", 0),
        json_delta(":2}", 1),
    )
    assert calls(*body) == [("a", "f", {"x": 1}), ("b", "f", {"y": 2})]


def test_a_call_that_was_cut_keeps_its_raw_input() -> None:
    body = (start(tool()), json_delta('{"x'), stop())
    assert calls(*body, reason="max_tokens") == [("a", "f", '{"x')]


def test_a_call_without_an_id_is_given_one() -> None:
    ((tool_id, _, _),) = calls(start({"type": "tool_use", "name": "f"}), stop())
    assert tool_id.startswith("call_")


def test_input_without_a_block_belongs_to_nothing() -> None:
    assert parts(json_delta("{}", 5)) == []


# --- tools that run at the provider ---------------------------------------------------------------


def test_a_server_tool_is_started_completed_and_its_result_received() -> None:
    use = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    result = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
    body = (start(use), json_delta('{"q":'), json_delta('"x"}'), stop(), start(result, 1), stop(1))
    assert parts(*body) == [
        pt.ProviderTool("web_search", "started", "s1", use),
        pt.ProviderTool("web_search", "completed", "s1", {**use, "input": {"q": "x"}}),
        pt.ProviderTool("web_search_tool_result", "result_received", "s1", result),
    ]
    said = answer(*body, *body, finish(), END)
    assert [key.split(".")[2] for key in said.provider_tools] == [
        "started",
        "completed",
        "result_received",
    ]
    assert said.tool_calls == []


@pytest.mark.parametrize(
    ("use", "result"),
    [
        ("server_tool_use", "bash_code_execution_tool_result"),
        ("server_tool_use", "text_editor_code_execution_tool_result"),
        ("server_tool_use", "web_fetch_tool_result"),
        ("server_tool_use", "tool_search_tool_result"),
        ("mcp_tool_use", "mcp_tool_result"),
        ("server_tool_use", "brand_new_tool_result"),
    ],
)
def test_every_kind_of_server_tool_is_told(use: str, result: str) -> None:
    block = {"type": use, "id": "s1", "name": "n"}
    found = parts(start(block), stop(), start({"type": result, "tool_use_id": "s1"}, 1))
    assert [p.status for p in found if isinstance(p, pt.ProviderTool)] == [
        "started",
        "completed",
        "result_received",
    ]


@pytest.mark.parametrize(
    ("given", "fragments", "shown"),
    [
        ({"a": 1}, [], {"a": 1}),
        ({}, ['{"a":2}'], {"a": 2}),
        ({}, ['{"a'], '{"a'),
        (None, [], {}),
    ],
)
def test_the_input_of_a_server_tool_is_shown_as_it_came(
    given: Any, fragments: list[str], shown: Any
) -> None:
    block = {"type": "server_tool_use", "id": "s", "name": "n", "input": given}
    found = parts(start(block), *map(json_delta, fragments), stop())
    assert isinstance(found[-1], pt.ProviderTool)
    assert found[-1].data["input"] == shown


def test_server_tools_without_ids_stay_two() -> None:
    block = {"type": "server_tool_use", "name": "n"}
    said = answer(start(block), stop(), start(block), stop(), text("a"), finish())
    assert len(said.provider_tools) == 4


# --- citations -----------------------------------------------------------------------------------

CITATIONS: list[tuple[dict[str, Any], ev.Citation]] = [
    (
        {
            "type": "char_location",
            "cited_text": "t",
            "document_index": 2,
            "document_title": "D",
            "start_char_index": 0,
            "end_char_index": 5,
            "file_id": None,
        },
        ev.Citation("document", 2, "t", "D", "character", 0, 5),
    ),
    (
        {
            "type": "page_location",
            "cited_text": "t",
            "document_index": 0,
            "document_title": None,
            "start_page_number": 1,
            "end_page_number": 3,
            "file_id": "file_1",
        },
        ev.Citation("document", 0, "t", None, "page", 1, 3, {"file_id": "file_1"}),
    ),
    (
        {
            "type": "content_block_location",
            "cited_text": "t",
            "document_index": 1,
            "document_title": "D",
            "start_block_index": 4,
            "end_block_index": 6,
        },
        ev.Citation("document", 1, "t", "D", "chunk", 4, 6),
    ),
    (
        {
            "type": "web_search_result_location",
            "cited_text": "t",
            "url": "https://a",
            "title": "A",
            "encrypted_index": "x",
        },
        ev.Citation("url", "https://a", "t", "A", additional_content={"encrypted_index": "x"}),
    ),
    (
        {
            "type": "search_result_location",
            "cited_text": "t",
            "source": "https://b",
            "title": None,
            "search_result_index": 0,
            "start_block_index": 0,
            "end_block_index": 1,
        },
        ev.Citation("url", "https://b", "t", None, "chunk", 0, 1, {"search_result_index": 0}),
    ),
]


@pytest.mark.parametrize(("raw", "meant"), CITATIONS, ids=[raw["type"] for raw, _ in CITATIONS])
def test_each_location_is_a_citation(raw: dict[str, Any], meant: ev.Citation) -> None:
    cited = delta("citations_delta", citation=raw)
    assert parts(delta("text_delta", text="a"), cited) == [pt.Text("a"), pt.Cited(meant)]


@pytest.mark.parametrize(
    "raw",
    [
        None,
        {},
        {"type": "something_new", "url": "https://a"},
        {"type": "web_search_result_location"},
        {"type": "search_result_location", "source": ""},
    ],
)
def test_a_location_that_names_no_source_is_no_citation(raw: Any) -> None:
    assert parts(delta("citations_delta", citation=raw)) == []


def test_a_citation_that_comes_before_its_text_belongs_to_that_text() -> None:
    raw, meant = CITATIONS[3]
    cited = delta("citations_delta", citation=raw)
    block = start({"type": "text", "text": ""}), cited, delta("text_delta", text="b"), stop()
    events = composed(text("a"), *block, finish(), END)
    (end,) = [e for e in events if isinstance(e, ev.StreamEnd)]
    assert end.citations == [ev.CitationPart("b", [meant])]


def test_citations_of_a_block_without_text_are_not_lost() -> None:
    cited = delta("citations_delta", citation=CITATIONS[3][0])
    block = start({"type": "text", "text": "", "citations": []})
    assert parts(block, cited, stop()) == [pt.Cited(CITATIONS[3][1]), pt.Break()]
    assert parts(block, cited) == [pt.Cited(CITATIONS[3][1])]


def test_citations_may_stand_in_the_start_of_a_block() -> None:
    block = {"type": "text", "text": "a", "citations": [CITATIONS[0][0]]}
    assert parts(start(block)) == [pt.Text("a"), pt.Cited(CITATIONS[0][1])]


# --- usage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        ({"input_tokens": 3, "output_tokens": 4}, Usage(3, 4)),
        (
            {
                "input_tokens": 3,
                "output_tokens": 4,
                "cache_read_input_tokens": 10,
                "cache_creation_input_tokens": 20,
            },
            Usage(33, 4, 20, 10),
        ),
        (
            {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 5}},
            Usage(0, 9, thought_tokens=5),
        ),
        (
            {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 50}},
            Usage(0, 9, thought_tokens=9),
        ),
        ({"input_tokens": 3, "output_tokens": "x"}, Usage(3, 0)),
    ],
)
def test_usage_is_inclusive(raw: Any, meant: Usage) -> None:
    assert parts(finish(None, usage=raw)) == [pt.Used(meant)]


@pytest.mark.parametrize("raw", [None, {}, 7, {"service_tier": "x"}, {"input_tokens": None}])
def test_usage_that_says_nothing_does_not_undo_what_was_said(raw: Any) -> None:
    found = answer(begin(input_tokens=3, output_tokens=1), text("a"), finish(usage=raw))
    assert found.usage == Usage(3, 1)


def test_later_counts_override_earlier_ones_key_by_key_and_nulls_do_not() -> None:
    first = {"input_tokens": 3, "output_tokens": 1, "cache_read_input_tokens": 10}
    later = {"input_tokens": 5, "output_tokens": 7, "cache_read_input_tokens": None}
    found = answer(begin(**first), text("a"), finish(usage=later), END)
    assert found.usage == Usage(15, 7, None, 10)


# --- failures inside the stream -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("overloaded_error", "provider_unavailable"),
        ("api_error", "provider_unavailable"),
        ("timeout_error", "provider_unavailable"),
        ("rate_limit_error", "provider_rate_limited"),
        ("authentication_error", "provider_auth"),
        ("permission_error", "provider_auth"),
        ("billing_error", "provider_quota"),
        ("invalid_request_error", "provider_rejected"),
    ],
)
def test_an_error_event_ends_the_stream(kind: str, code: str) -> None:
    piece = event("error", error={"type": kind, "message": "m"})
    assert failure(begin(input_tokens=3), text("a"), piece) == code
    said = answer(begin(input_tokens=3, output_tokens=1), text("a"), piece, text("b"), END)
    assert said.error is not None
    assert (said.text, said.error.error_type, said.usage) == ("a", code, Usage(3, 1))


@pytest.mark.parametrize(
    "piece",
    [
        b'data: {"error":{"type":"overloaded_error"}}\n\n',
        b'event: error\ndata: {"error":{"type":"overloaded_error"}}\n\n',
        b'event: error\ndata: {"type":"overloaded_error"}\n\n',
        b"event: error\ndata: overloaded\n\n",
        b"error: overloaded\n",
        b"event: error\ndata: [1]\n\n",
    ],
)
def test_an_error_is_found_in_every_shape(piece: bytes) -> None:
    kind = failure(text("a"), piece)
    assert kind == "provider_unavailable"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"type":"error","error":{"type":"overloaded_error"}}', "provider_unavailable"),
        (b'{"type":"message","content":[]}', "provider_protocol"),
        (b"<html>", "provider_protocol"),
    ],
)
def test_a_body_that_is_no_event_stream_is_judged_at_its_end(body: bytes, code: str) -> None:
    assert failure(body) == code
    assert failure(*(body[i : i + 1] for i in range(len(body)))) == code


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, {"type": "invalid_request_error", "message": "m"}, "provider_rejected"),
        (400, {"message": "prompt is too long: 2 tokens > 1 maximum"}, "context_length_exceeded"),
        (400, {"message": "Your credit balance is too low"}, "provider_quota"),
        (401, {"type": "authentication_error"}, "provider_auth"),
        (402, {"type": "billing_error"}, "provider_quota"),
        (403, {"type": "permission_error"}, "provider_auth"),
        (404, {"type": "not_found_error"}, "provider_rejected"),
        (413, {"type": "request_too_large"}, "provider_rejected"),
        (429, {"type": "rate_limit_error"}, "provider_rate_limited"),
        (
            429,
            {
                "type": "rate_limit_error",
                "details": {"error_code": "enforced_spend_limit_reached"},
            },
            "provider_quota",
        ),
        (500, {"type": "api_error"}, "provider_unavailable"),
        (504, {"type": "timeout_error"}, "provider_unavailable"),
        (529, {"type": "overloaded_error"}, "provider_unavailable"),
    ],
)
def test_each_http_error_has_its_code(status: int, error: Any, code: str) -> None:
    body = json.dumps({"type": "error", "error": error}).encode()
    found = AnthropicMessages().error(status, {"retry-after": "7"}, body)
    assert (found.code, found.retry_after) == (code, 7.0)


# --- malformed and odd ----------------------------------------------------------------------------


@pytest.mark.parametrize("garbage", [b"{", b"nope", b"[1]", b'"x"', b"null", b'{"type":"mess'])
def test_a_malformed_event_is_skipped_and_counted(garbage: bytes) -> None:
    decoder = AnthropicMessagesDecoder()
    found = decoder.feed(text("a") + b"data: " + garbage + b"\n\n" + text("b"))
    assert [part.delta for part in found if isinstance(part, pt.Text)] == ["a", "b"]
    assert decoder.malformed == 1


def test_a_broken_character_does_not_lose_the_event() -> None:
    piece = b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"a\xc3"}}\n\n'
    assert parts(piece) == [pt.Text("a\ufffd")]


@pytest.mark.parametrize(
    "piece",
    [
        event("message_start"),
        event("message_start", message=7),
        event("message_start", message={"model": 7, "usage": []}),
        event("message_delta"),
        event("message_delta", delta={"stop_reason": 7}, usage="x"),
        event("content_block_delta"),
        event("content_block_delta", index="x", delta={"type": 7}),
        delta("text_delta", text=None),
        delta("thinking_delta", thinking=7),
        delta("signature_delta", signature=None),
        delta("input_json_delta"),
        event("content_block_start"),
        event("content_block_start", index=-1, content_block={"type": 7}),
        event("content_block_stop", index=None),
        event("error_free", error=None),
    ],
)
def test_members_of_other_types_than_documented_count_as_absent(piece: bytes) -> None:
    assert parts(piece) == []


def test_an_event_beyond_the_size_cap_is_a_failure_after_what_came_before() -> None:
    found = parts(text("a"), b"data: " + b"x" * MAX_EVENT_BYTES)
    assert found[0] == pt.Text("a")
    assert isinstance(found[2], pt.Failed)
    assert found[2].error.code == "provider_protocol"


# --- the request ---------------------------------------------------------------------------------


def test_the_request_goes_to_messages_with_key_and_version() -> None:
    endpoint = Endpoint("p", "https://h/v1", "k", HOSTS["anthropic"])
    request = AnthropicMessages().request(endpoint, "claude", ChatRequest("Hi"))
    assert request.url == "https://h/v1/messages"
    assert request.headers["x-api-key"] == "k"
    assert request.headers["anthropic-version"] == "2023-06-01"
    assert request.headers["Accept"] == "text/event-stream"
    assert json.loads(request.body)["model"] == "claude"
    assert isinstance(AnthropicMessages().decoder(endpoint), AnthropicMessagesDecoder)


# --- any bytes, any split -------------------------------------------------------------------------


def meant(pieces: list[bytes]) -> tuple[list[Any], int]:
    """What counts of a body: everything up to the end of the stream."""
    decoder = AnthropicMessagesDecoder()
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
    begin(input_tokens=3, output_tokens=1, cache_read_input_tokens=2),
    text("a", "é😀"),
    start({"type": "text", "text": ""}),
    delta("citations_delta", citation=CITATIONS[4][0]),
    delta("text_delta", text="b"),
    start({"type": "thinking", "thinking": ""}),
    delta("thinking_delta", thinking="hm"),
    delta("signature_delta", signature="s"),
    start(tool(x=1), 1),
    json_delta('{"x', 1),
    start({"type": "server_tool_use", "id": "s", "name": "n"}, 2),
    start({"type": "n_tool_result", "tool_use_id": "s"}, 3),
    stop(),
    stop(2),
    event("ping"),
    finish("tool_use", usage={"output_tokens": 5}),
    event("error", error={"type": "overloaded_error"}),
    b'{"error":"x"}',
    b"\xef\xbb\xbf",
    b"data: {\n\n",
    b"data: [DONE]\r\n\r\n",
    END,
]
BODIES = st.lists(st.sampled_from(LINES) | st.binary(max_size=6), max_size=10).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(BODIES, st.lists(st.integers(min_value=0, max_value=900), max_size=10))
def test_any_split_of_any_bytes_gives_the_same_parts(body: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(body)]
    pieces = [body[begin:end] for begin, end in itertools.pairwise(edges)]
    assert meant(pieces) == meant([body])


def test_every_split_of_a_whole_answer_gives_the_same_parts() -> None:
    body = b"".join(LINES[:16]) + END
    whole = meant([body])
    assert [i for i in range(len(body)) if meant([body[:i], body[i:]]) != whole] == []
    assert meant([body[i : i + 1] for i in range(len(body))]) == whole


def test_an_answer_cut_anywhere_composes_and_ends() -> None:
    body = b"".join(LINES[:16]) + END
    for end in range(len(body)):
        assert answer(body[:end]).finish_reason is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("type", "index", "id", "name", "input", "text", "citations", "citation"),
                    *("thinking", "signature", "data", "partial_json", "tool_use_id", "usage"),
                    *("stop_reason", "input_tokens", "output_tokens", "error", "message"),
                    *("url", "source", "cited_text", "document_index", "encrypted_index"),
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)
KINDS = st.sampled_from(
    [
        *("text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "x_tool_result"),
        *("text_delta", "thinking_delta", "signature_delta", "input_json_delta"),
        "citations_delta",
    ]
)
TYPES = st.sampled_from(
    [
        *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "error", "ping"),
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(TYPES, KINDS, JSON, JSON), max_size=6))
def test_whatever_json_a_host_sends_becomes_a_stream_that_can_be_read(
    said: list[tuple[str, str, Any, Any]],
) -> None:
    body = b""
    for kind, block, member, more in said:
        inner = {**(member if isinstance(member, dict) else {"text": member}), "type": block}
        outer = more if isinstance(more, dict) else {"index": more}
        payload = {**outer, "type": kind}
        for name in ("delta", "content_block", "message"):
            payload.setdefault(name, inner)
        body += b"data: " + json.dumps(payload).encode() + b"\n\n"
    for event_ in composed(body, finish(), END):
        assert ev.encode(ev.decode(event_.type, ev.encode(event_))) == ev.encode(event_)
