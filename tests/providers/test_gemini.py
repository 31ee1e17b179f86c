"""Responses as Gemini and Vertex AI stream them: one small body for each variation."""

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
from tellstream.core.transcript import Transcript, fold
from tellstream.core.usage import FinishReason, Usage
from tellstream.providers.base import Endpoint
from tellstream.providers.gemini import Gemini, GeminiDecoder
from tellstream.providers.hosts import HOSTS

STOP = pt.Finished(FinishReason.STOP)


def data(payload: Any) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\r\n\r\n"


def chunk(*said: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    """One response whose candidate 0 has these parts."""
    candidate: dict[str, Any] = {"content": {"parts": list(said), "role": "model"}, "index": 0}
    for name in ("groundingMetadata", "citationMetadata"):
        if name in more:
            candidate[name] = more.pop(name)
    return data({"candidates": [candidate | ({"finishReason": finish} if finish else {})], **more})


def text(said: str, **more: Any) -> bytes:
    return chunk({"text": said}, **more)


def parts(*pieces: bytes) -> list[pt.Part]:
    """Decode a whole body."""
    decoder = GeminiDecoder()
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


def test_a_plain_answer_is_model_text_usage_and_finish() -> None:
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7}
    assert parts(
        text("Hel", modelVersion="gemini-x", responseId="r"),
        text("lo", modelVersion="gemini-x", finish="STOP", usageMetadata=usage),
    ) == [pt.Model("gemini-x"), pt.Text("Hel"), pt.Text("lo"), STOP, pt.Used(Usage(3, 4))]


@pytest.mark.parametrize("said", ["0", " ", "\n", "é😀", "\x00", "\ud83d"])
def test_no_text_is_special(said: str) -> None:
    assert parts(text(said)) == [pt.Text(said)]


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"candidates": []},
        {"candidates": [{"content": {"role": "model"}}]},
        {"candidates": [{"content": {"parts": [{"text": ""}, {}, {"text": "", "thought": True}]}}]},
        {"candidates": [{"index": 1, "content": {"parts": [{"text": "no"}]}}]},
        {"candidates": [{"safetyRatings": [], "finishReason": "FINISH_REASON_UNSPECIFIED"}]},
        {"promptFeedback": {"safetyRatings": []}},
        {"promptFeedback": {"blockReason": "BLOCK_REASON_UNSPECIFIED"}},
        {"something": "new"},
        {"error": None},
    ],
)
def test_what_holds_nothing_says_nothing(payload: Any) -> None:
    assert parts(data(payload)) == []


def test_thoughts_are_thinking() -> None:
    assert parts(chunk({"text": "hm", "thought": True}, {"text": "a", "thought": False})) == [
        pt.Thinking("hm"),
        pt.Text("a"),
    ]


def test_a_signature_of_text_is_not_shown() -> None:
    assert parts(chunk({"text": "", "thoughtSignature": "s"})) == []


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("STOP", FinishReason.STOP),
        ("MAX_TOKENS", FinishReason.LENGTH),
        ("SAFETY", FinishReason.CONTENT_FILTER),
        ("RECITATION", FinishReason.CONTENT_FILTER),
        ("BLOCKLIST", FinishReason.CONTENT_FILTER),
        ("PROHIBITED_CONTENT", FinishReason.CONTENT_FILTER),
        ("SPII", FinishReason.CONTENT_FILTER),
        ("MODEL_ARMOR", FinishReason.CONTENT_FILTER),
        ("IMAGE_SAFETY", FinishReason.CONTENT_FILTER),
        ("IMAGE_PROHIBITED_CONTENT", FinishReason.CONTENT_FILTER),
        ("IMAGE_RECITATION", FinishReason.CONTENT_FILTER),
        ("MALFORMED_FUNCTION_CALL", FinishReason.ERROR),
        ("UNEXPECTED_TOOL_CALL", FinishReason.ERROR),
        ("TOO_MANY_TOOL_CALLS", FinishReason.ERROR),
        ("MISSING_THOUGHT_SIGNATURE", FinishReason.ERROR),
        ("MALFORMED_RESPONSE", FinishReason.ERROR),
        ("LANGUAGE", FinishReason.OTHER),
        ("NO_IMAGE", FinishReason.OTHER),
        ("SOMETHING_NEW", FinishReason.OTHER),
    ],
)
def test_each_finish_reason_is_mapped(said: str, meant: FinishReason) -> None:
    assert parts(chunk(finish=said)) == [pt.Finished(meant)]


def test_content_after_a_finish_reason_is_kept_and_the_last_reason_counts() -> None:
    said = answer(text("a", finish="STOP"), text("b", finish="STOP"), chunk(finish="RECITATION"))
    assert (said.text, said.finish_reason) == ("ab", FinishReason.CONTENT_FILTER)


def test_the_end_of_the_body_without_a_finish_reason_is_a_truncated_answer() -> None:
    said = answer(text("a"))
    assert said.error is not None
    assert (said.text, said.error.error_type) == ("a", "upstream_truncated")


def test_a_blocked_prompt_is_a_content_filter() -> None:
    said = answer(data({"promptFeedback": {"blockReason": "SAFETY"}, "modelVersion": "g"}))
    assert (said.text, said.finish_reason, said.error) == ("", FinishReason.CONTENT_FILTER, None)


def test_a_block_reason_beside_candidates_does_not_count() -> None:
    assert parts(text("a", promptFeedback={"blockReason": "SAFETY"})) == [pt.Text("a")]


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r", b""])
def test_the_last_event_may_lack_its_blank_line(end: bytes) -> None:
    assert parts(text("a", finish="STOP").rstrip() + end) == [pt.Text("a"), STOP]


def test_the_marker_of_a_gateway_counts_too() -> None:
    decoder = GeminiDecoder()
    assert decoder.feed(text("a", finish="STOP") + b"data: [DONE]\n\n")[-1] == pt.Done()
    assert decoder.malformed == 0


# --- tool calls ----------------------------------------------------------------------------------


def call(name: Any = "f", /, **more: Any) -> dict[str, Any]:
    return {"functionCall": ({"name": name} if name else {}) | more}


def calls(*pieces: bytes) -> list[tuple[str, Any]]:
    said = answer(*pieces)
    assert said.finish_reason is FinishReason.TOOL_CALLS
    return [(one["tool_name"], one["arguments"]) for one in said.tool_calls]


def test_a_call_comes_whole_and_stop_then_means_tool_calls() -> None:
    assert calls(chunk(call(args={"x": 1}), finish="STOP")) == [("f", {"x": 1})]
    assert calls(chunk(call(args={"x": 1})), chunk(finish="STOP")) == [("f", {"x": 1})]


def test_parallel_calls_keep_their_order_and_text_beside_them_is_kept() -> None:
    body = chunk({"text": "a"}, call(args={"x": 1}), call(args={"x": 2}), finish="STOP")
    assert calls(body) == [("f", {"x": 1}), ("f", {"x": 2})]
    assert answer(body).text == "a"


@pytest.mark.parametrize("args", [{}, {"args": {}}, {"args": None}, {"args": 7}])
def test_no_arguments_are_an_empty_object(args: Any) -> None:
    assert calls(chunk(call(**args), finish="STOP")) == [("f", {})]


def test_a_call_keeps_the_id_of_the_provider_or_is_given_one() -> None:
    said = answer(chunk(call(id="c1"), call(), call(), finish="STOP"))
    ids = [one["tool_id"] for one in said.tool_calls]
    assert ids[0] == "c1"
    assert ids[1].startswith("call_")
    assert len(set(ids)) == 3


def test_a_signed_call_goes_back_on_its_own_part() -> None:
    signed = {**call(args={"x": 1}), "thoughtSignature": "s"}
    assert parts(chunk(signed, call(args={}))) == [
        pt.ToolWhole(1, "", "f", {"x": 1}),
        pt.Replay({"functionCall": {"name": "f", "args": {"x": 1}}, "thoughtSignature": "s"}),
        pt.ToolWhole(2, "", "f", {}),
    ]


def test_a_call_with_an_id_goes_back_with_it() -> None:
    assert parts(chunk(call(id="c1", args={})))[1] == pt.Replay(
        {"functionCall": {"name": "f", "args": {}, "id": "c1"}}
    )


def test_a_call_without_a_name_is_none() -> None:
    assert parts(chunk(call(None)), chunk(call(None, args={"x": 1})), chunk(call(7))) == []


def piece(path: str, *, more: bool = True, **value: Any) -> bytes:
    """A piece of a streamed call."""
    given = {"partialArgs": [{"jsonPath": path, **value}]}
    return chunk(call(None, **given, **({"willContinue": True} if more else {})))


def test_a_call_may_be_streamed() -> None:
    body = (
        chunk({**call(willContinue=True), "thoughtSignature": "s"}),
        piece("$.a", stringValue="x", willContinue=True),
        piece("$.a", stringValue="y", willContinue=True),
        piece("$.a", stringValue=""),
        piece("$.b[0].c", numberValue=0.5),
        piece("$.b[1].c", boolValue=False, more=False),
        chunk(call("g", args={})),
        chunk(finish="STOP"),
    )
    given = {"a": "xy", "b": [{"c": 0.5}, {"c": False}]}
    assert calls(*body) == [("f", given), ("g", {})]
    assert pt.Replay(
        {"functionCall": {"name": "f", "args": given}, "thoughtSignature": "s"}
    ) in parts(*body)


def test_a_streamed_call_ends_with_an_empty_piece_or_with_the_next_call() -> None:
    begun = chunk(call(willContinue=True)), piece("$.a", numberValue=1)
    ended = [("f", {"a": 1})]
    assert calls(*begun, chunk(call(None)), chunk(finish="STOP")) == ended
    assert calls(*begun, chunk(call("g"), finish="STOP")) == [*ended, ("g", {})]


def test_a_streamed_call_may_repeat_its_name_with_its_id() -> None:
    more = {"id": "c", "willContinue": True}
    last = {"id": "c", "partialArgs": [{"jsonPath": "$.a", "nullValue": "NULL_VALUE"}]}
    assert calls(chunk(call(**more)), chunk(call(**last)), chunk(finish="STOP")) == [
        ("f", {"a": None})
    ]


def test_a_streamed_call_that_is_cut_must_not_be_run() -> None:
    body = chunk(call(willContinue=True)), piece("$.a", numberValue=1), chunk(finish="MAX_TOKENS")
    (one,) = answer(*body).tool_calls
    assert (one["arguments"], one["invalid_arguments"]) == ({}, '{"a":1')
    assert not any(isinstance(part, pt.Replay) for part in parts(*body))


# --- tools of the provider, files, sources --------------------------------------------------------


def test_code_that_runs_at_the_provider_is_started_completed_and_its_result_received() -> None:
    code = {"language": "PYTHON", "code": "1"}
    result = {"outcome": "OUTCOME_OK", "output": "1"}
    body = chunk({"executableCode": code}), chunk({"codeExecutionResult": result})
    assert parts(*body) == [
        pt.ProviderTool("code_execution", "started", "code_execution_1", code),
        pt.ProviderTool("code_execution", "completed", "code_execution_1", code),
        pt.ProviderTool("code_execution", "result_received", "code_execution_1", result),
    ]
    assert len(answer(*body, *body, chunk(finish="STOP")).provider_tools) == 6


def test_code_may_have_an_id_of_its_own() -> None:
    code, result = {"id": "e1", "code": "1"}, {"id": "e1", "output": "1"}
    body = chunk({"executableCode": code}, {"codeExecutionResult": result})
    assert [p.item_id for p in parts(body) if isinstance(p, pt.ProviderTool)] == ["e1"] * 3


def test_a_generated_picture_is_an_artifact_unless_it_is_a_draft() -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": "QQ=="}}
    assert parts(chunk(picture, {**picture, "thought": True})) == [
        pt.Attached(ev.ArtifactData(None, "QQ==", "image/png", {}))
    ]


@pytest.mark.parametrize("file", [None, {}, {"data": "QQ=="}, {"mimeType": "a/b"}, {"data": 7}])
def test_a_file_without_content_or_kind_is_none(file: Any) -> None:
    assert parts(chunk({"inlineData": file})) == []


def grounding(*urls: str, supports: list[Any] | None = None) -> dict[str, Any]:
    chunks = [{"web": {"uri": url, "title": url[-1]}} for url in urls]
    return {"groundingChunks": chunks, "groundingSupports": supports or []}


def cited(*pieces: bytes) -> list[ev.Citation]:
    return [part.citation for part in parts(*pieces) if isinstance(part, pt.Cited)]


def test_sources_are_told_once_at_the_end_though_chunks_repeat_them() -> None:
    found = parts(
        text("a", groundingMetadata=grounding("https://a")),
        text("b", finish="STOP", groundingMetadata=grounding("https://a", "https://b")),
    )
    assert found == [
        pt.Text("a"),
        pt.Text("b"),
        STOP,
        pt.Cited(ev.Citation("url", "https://a", source_title="a")),
        pt.Cited(ev.Citation("url", "https://b", source_title="b")),
    ]


def test_the_place_of_a_source_is_counted_in_characters() -> None:
    said = "é😀 is x."
    raw = said.encode()
    segment = {"startIndex": raw.index(b"is"), "endIndex": len(raw), "text": "is x."}
    support = {"segment": segment, "groundingChunkIndices": [0]}
    found = cited(text(said, groundingMetadata=grounding("https://a", supports=[support])))
    assert found == [ev.Citation("url", "https://a", None, "a", "character", 3, 8)]


@pytest.mark.parametrize(
    "segment",
    [
        None,
        {},
        {"endIndex": 99},
        {"startIndex": 3, "endIndex": 2},
        {"endIndex": 2, "text": "other"},
        {"startIndex": "0", "endIndex": "2"},
    ],
)
def test_a_place_that_does_not_fit_the_text_is_left_out(segment: Any) -> None:
    support = {"segment": segment, "groundingChunkIndices": [0, 7, -1, "x", None]}
    found = cited(text("some", groundingMetadata=grounding("https://a", supports=[support])))
    assert found == [ev.Citation("url", "https://a", source_title="a")]


def test_a_source_of_several_places_names_them_all() -> None:
    supports = [
        {"segment": {"endIndex": 1}, "groundingChunkIndices": [0]},
        {"segment": {"startIndex": 1, "endIndex": 2}, "groundingChunkIndices": [0]},
    ]
    metadata = grounding("https://a", supports=supports)
    (found,) = cited(text("ab", groundingMetadata=metadata), chunk(groundingMetadata=metadata))
    assert (found.source_start_index, found.source_end_index) == (0, 1)
    assert found.additional_content == {
        "segments": [{"start_index": 0, "end_index": 1}, {"start_index": 1, "end_index": 2}]
    }


def test_supports_may_come_after_their_chunks() -> None:
    support = {"segment": {"endIndex": 1}, "groundingChunkIndices": [0]}
    (found,) = cited(
        text("ab", groundingMetadata=grounding("https://a")),
        chunk(groundingMetadata={"groundingSupports": [support]}),
    )
    assert found.source_end_index == 1


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        (
            {"retrievedContext": {"uri": "gs://b/f", "title": "F", "text": "said"}},
            ev.Citation("document", "gs://b/f", "said", "F"),
        ),
        (
            {"retrievedContext": {"title": "F", "text": "said"}},
            ev.Citation("document", "F", "said", "F"),
        ),
        (
            {"maps": {"uri": "https://maps", "title": "Café", "placeId": "p"}},
            ev.Citation("url", "https://maps", None, "Café"),
        ),
        ({"image": {"sourceUri": "https://i"}}, ev.Citation("url", "https://i")),
    ],
)
def test_every_kind_of_grounding_is_a_citation(raw: Any, meant: ev.Citation) -> None:
    assert cited(chunk(groundingMetadata={"groundingChunks": [raw]})) == [meant]


@pytest.mark.parametrize("raw", [None, 7, {}, {"web": None}, {"web": {}}, {"web": {"uri": ""}}])
def test_a_chunk_that_names_no_source_is_no_citation(raw: Any) -> None:
    assert cited(chunk(groundingMetadata={"groundingChunks": [raw]})) == []


@pytest.mark.parametrize("name", ["citations", "citationSources"])
def test_recited_sources_are_citations(name: str) -> None:
    sources = [
        {"startIndex": 0, "endIndex": 2, "uri": "https://a", "license": ""},
        {"endIndex": 999, "uri": "https://a"},
        {"title": "Book"},
        {"startIndex": 0, "endIndex": 2, "uri": "https://a"},
        {},
    ]
    assert cited(text("abc", citationMetadata={name: sources})) == [
        ev.Citation("url", "https://a", None, None, "character", 0, 2),
        ev.Citation("url", "https://a"),
        ev.Citation("document", "Book", None, "Book"),
    ]


def test_sources_are_told_before_a_failure() -> None:
    found = parts(
        text("a", groundingMetadata=grounding("https://a")), data({"error": {"code": 500}})
    )
    assert [type(part) for part in found] == [pt.Text, pt.Cited, pt.Failed]


# --- usage ---------------------------------------------------------------------------------------


def used(*counts: int | None) -> dict[str, Any]:
    names = (
        "promptTokenCount",
        "candidatesTokenCount",
        "thoughtsTokenCount",
        "toolUsePromptTokenCount",
        "cachedContentTokenCount",
        "totalTokenCount",
    )
    return {name: value for name, value in zip(names, counts, strict=False) if value is not None}


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        (used(3, 4), Usage(3, 4)),
        (used(3, 4, None, None, None, 7), Usage(3, 4)),
        (used(3, 4, 5), Usage(3, 9, thought_tokens=5)),
        (used(3, 4, 5, 6, 2, 18), Usage(9, 9, None, 2, 5)),
        (used(3, 4, 5, 6), Usage(9, 9, thought_tokens=5)),
        (used(3, None, 5, None, None, 8), Usage(3, 5, thought_tokens=5)),
        (used(3, 4, 0), Usage(3, 4, thought_tokens=0)),
        (used(10, 1, None, None, 8), Usage(10, 1, None, 8)),
        # the total of the provider says what stands inside
        (used(3, 9, 5, None, None, 12), Usage(3, 9, thought_tokens=5)),
        (used(9, 9, 5, 6, None, 18), Usage(9, 9, thought_tokens=5)),
        (used(9, 4, 5, 6, None, 18), Usage(9, 9, thought_tokens=5)),
        (used(3, 9, 5, 6, None, 18), Usage(9, 9, thought_tokens=5)),
    ],
)
def test_usage_is_inclusive(raw: Any, meant: Usage) -> None:
    assert parts(data({"usageMetadata": raw})) == [pt.Used(meant)]


@pytest.mark.parametrize("raw", [None, {}, 7, {"trafficType": "ON_DEMAND"}, {"totalTokenCount": 7}])
def test_usage_that_says_nothing_does_not_undo_what_was_said(raw: Any) -> None:
    assert answer(
        text("a", usageMetadata=used(3, 4)), chunk(finish="STOP", usageMetadata=raw)
    ).usage == Usage(3, 4)


def test_the_last_usage_counts() -> None:
    assert answer(
        text("a", usageMetadata=used(3, 1)), text("b", usageMetadata=used(3, 2))
    ).usage == Usage(3, 2)


# --- failures ------------------------------------------------------------------------------------

ERROR = {"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize(
    "piece",
    [
        data(ERROR),
        json.dumps(ERROR).encode(),
        json.dumps(ERROR, indent=2).encode(),
        json.dumps(ERROR, indent=2).replace("\n", "\r\n").encode(),
        json.dumps([ERROR], indent=2).encode() + b"\n",
        b"\r\n" + json.dumps(ERROR).encode(),
    ],
)
@pytest.mark.parametrize("before", [text("a"), text("a", finish="STOP"), b"", b"\xef\xbb\xbf"])
def test_an_error_is_found_in_every_shape_and_place(before: bytes, piece: bytes) -> None:
    assert failure(before, piece) == "provider_unavailable"
    said = answer(before, piece)
    assert said.finish_reason is FinishReason.ERROR


def test_content_of_the_chunk_that_fails_is_kept_and_its_usage_counts() -> None:
    said = answer(text("a", usageMetadata=used(3, 4), **ERROR))
    assert (said.text, said.usage) == ("a", Usage(3, 4))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "provider_rejected"),
        (401, "provider_auth"),
        (403, "provider_auth"),
        (404, "provider_rejected"),
        (429, "provider_rate_limited"),
        (499, "provider_unavailable"),
        (500, "provider_unavailable"),
        (503, "provider_unavailable"),
        (504, "provider_unavailable"),
    ],
)
def test_each_status_has_its_code_before_the_stream_and_in_it(status: int, code: str) -> None:
    payload = {"error": {"code": status, "message": "m", "status": "X"}}
    assert Gemini().error(status, {}, json.dumps(payload).encode()).code == code
    assert failure(text("a"), data(payload)) == code


def quota(*ids: str, delay: Any = "12.5s") -> dict[str, Any]:
    """The body of a 429, with the message that every quota gets."""
    details = [
        {"@type": "type.googleapis.com/google.rpc.Help", "links": []},
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{"quotaMetric": "m", "quotaId": quota_id} for quota_id in ids],
        },
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
    ]
    message = "You exceeded your current quota, please check your plan and billing details."
    error = {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED", "details": details}
    return {"error": error}


@pytest.mark.parametrize(
    ("ids", "code"),
    [
        (("GenerateRequestsPerMinutePerProjectPerModel-FreeTier",), "provider_rate_limited"),
        (("GenerateContentInputTokensPerModelPerMinute-FreeTier",), "provider_rate_limited"),
        (("GenerateRequestsPerDayPerProjectPerModel-FreeTier",), "provider_quota"),
        (("TokensPerMinute", "RequestsPerDay"), "provider_quota"),
        ((), "provider_quota"),
    ],
)
def test_a_quota_is_told_by_its_id_and_how_long_to_wait_by_the_body(
    ids: tuple[str, ...], code: str
) -> None:
    for payload in (quota(*ids), [quota(*ids)]):
        found = Gemini().error(429, {}, json.dumps(payload).encode())
        assert (found.code, found.retry_after) == (code, 12.5)
    assert failure(data(quota(*ids))) == code


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [("12s", 12.0), ("0s", 0.0), ("999999999s", 86400.0), ("12", None), ("s", None), (12, None)],
)
def test_how_long_to_wait_is_a_number_of_seconds(delay: Any, seconds: float | None) -> None:
    body = json.dumps(quota("PerMinute", delay=delay)).encode()
    assert Gemini().error(429, {}, body).retry_after == seconds
    assert Gemini().error(429, {"retry-after": "3"}, body).retry_after == 3.0


def test_a_key_that_is_not_valid_is_our_fault_though_the_status_says_400() -> None:
    message = "API key not valid. Please pass a valid API key."
    for error in ({"message": message}, {"details": [{"reason": "API_KEY_INVALID"}]}):
        body = json.dumps({"error": {"code": 400, "status": "INVALID_ARGUMENT", **error}}).encode()
        assert Gemini().error(400, {}, body).code == "provider_auth"


def test_a_prompt_that_is_too_long_is_told() -> None:
    message = "The input token count (2) exceeds the maximum number of tokens allowed (1)."
    body = json.dumps({"error": {"code": 400, "message": message}}).encode()
    assert Gemini().error(400, {}, body).code == "context_length_exceeded"


# --- bodies of other kinds, malformed ones --------------------------------------------------------


@pytest.mark.parametrize("indent", [None, 2])
def test_a_body_that_is_one_array_is_read_as_it_arrives(indent: int | None) -> None:
    candidates = [
        [{"content": {"parts": [{"text": 'a"}]{'}]}}],
        [{"content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"}],
    ]
    body = json.dumps([{"candidates": one} for one in candidates], indent=indent).encode()
    assert parts(body) == [pt.Text('a"}]{'), pt.Text("b"), STOP]
    assert GeminiDecoder().feed(body[:-3]) != []


def test_a_body_that_is_one_response_is_read() -> None:
    one = {"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}]}
    assert parts(json.dumps(one, indent=1).encode()) == [pt.Text("a"), STOP]


@pytest.mark.parametrize("body", [b"<html>", b"\r\n<!DOCTYPE html>\n\ndata: {}\n\n"])
def test_a_page_is_no_answer(body: bytes) -> None:
    assert failure(body) == "provider_protocol"
    assert failure(*(body[i : i + 1] for i in range(len(body)))) == "provider_protocol"


@pytest.mark.parametrize(
    "garbage",
    [
        *(b"data: {\n\n", b"data: nope\n\n", b"data: [1]\n\n", b"data: null\n\n"),
        *(b"{\n", b'{"a": "\n', b'[{"a": 1},\n', b'{"a" 1}\n', b"{]}\n"),
    ],
)
def test_malformed_lines_are_skipped_and_counted(garbage: bytes) -> None:
    decoder = GeminiDecoder()
    found = decoder.feed(text("a") + garbage + text("b")) + decoder.eof()
    assert found == [pt.Text("a"), pt.Text("b")]
    assert decoder.malformed == 1


def test_a_document_that_is_never_completed_is_counted() -> None:
    decoder = GeminiDecoder()
    assert decoder.feed(b'{"error": {') + decoder.eof() == []
    assert decoder.malformed == 1


@pytest.mark.parametrize(
    "payload",
    [
        {"candidates": {}},
        {"candidates": [None, 7, "x", []]},
        {"candidates": [{"content": [], "finishReason": ["STOP"]}]},
        {"candidates": [{"content": {"parts": [None, 7, {"text": 7}, {"functionCall": "f"}]}}]},
        {"candidates": [{"content": {"parts": {}}, "groundingMetadata": []}]},
        {"candidates": [{"groundingMetadata": {"groundingChunks": {}, "groundingSupports": 7}}]},
        {"candidates": [{"citationMetadata": {"citations": [None, 7]}}]},
        {"modelVersion": 7, "usageMetadata": [], "promptFeedback": "x"},
    ],
)
def test_members_of_other_types_than_documented_count_as_absent(payload: Any) -> None:
    assert parts(data(payload)) == []


# --- the request ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-x", "models/gemini-x"),
        ("tunedModels/mine", "tunedModels/mine"),
        ("publishers/google/models/g@1", "publishers/google/models/g@1"),
        ("a b?c#d", "models/a%20b%3Fc%23d"),
    ],
)
def test_the_request_names_the_model_in_its_path(model: str, path: str) -> None:
    endpoint = Endpoint("p", "https://h/v1beta", "k", HOSTS["gemini"])
    request = Gemini().request(endpoint, model, ChatRequest("Hi"))
    assert request.url == f"https://h/v1beta/{path}:streamGenerateContent?alt=sse"
    assert request.headers["x-goog-api-key"] == "k"
    assert json.loads(request.body) == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    assert isinstance(Gemini().decoder(endpoint), GeminiDecoder)


# --- any bytes, any split -------------------------------------------------------------------------


def meant(pieces: list[bytes]) -> tuple[list[Any], int]:
    """What counts of a body: everything up to the end of the stream."""
    decoder = GeminiDecoder()
    found: list[Any] = []
    for one in pieces:
        found += decoder.feed(one)
    found += decoder.eof()
    said: list[Any] = []
    for part in found:
        said.append((part.error.code, part.error.reason) if isinstance(part, pt.Failed) else part)
        if isinstance(part, (pt.Failed, pt.Done)):
            break
    return said, decoder.malformed


LINES = [
    text("a", modelVersion="m", groundingMetadata=grounding("https://a")),
    text("é😀", usageMetadata=used(3, 4)),
    chunk({"text": "hm", "thought": True}),
    chunk({**call(willContinue=True), "thoughtSignature": "s"}),
    piece("$.a[0]", stringValue="x", willContinue=True),
    chunk(call("g", args={"x": 1})),
    chunk({"executableCode": {"code": "1"}}, {"codeExecutionResult": {"output": "1"}}),
    text("b", finish="STOP"),
    data(ERROR),
    json.dumps(ERROR, indent=2).encode(),
    json.dumps([{"candidates": []}, ERROR]).encode(),
    *(b"{", b"[", b'"', b"\\", b"}", b"]", b"\r", b"\n", b" ", b"<", b"d", b"\xef\xbb\xbf"),
    *(b"data: {\n\n", b"data: \xff\n\n", b": ping\r\n\r\n", b"data: [DONE]\n\n"),
]
BODIES = st.lists(st.sampled_from(LINES) | st.binary(max_size=6), max_size=10).map(b"".join)


@settings(max_examples=500, deadline=None)
@given(BODIES, st.lists(st.integers(min_value=0, max_value=900), max_size=10))
@example(b'\n\xef\xbb\xbf{"error":"x"}', [1])
@example(b'\n{"a\\"\ndata: [DONE]\n\n', [4, 5])
@example(b"\xef \xbb\n<", [1, 3])
def test_any_split_of_any_bytes_gives_the_same_parts(body: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(body)]
    pieces = [body[start:stop] for start, stop in itertools.pairwise(edges)]
    assert meant(pieces) == meant([body])


def test_every_split_of_a_whole_answer_gives_the_same_parts() -> None:
    body = b"".join([*LINES[:8], LINES[10], LINES[9]])
    whole = meant([body])
    assert [i for i in range(len(body)) if meant([body[:i], body[i:]]) != whole] == []
    assert meant([body[i : i + 1] for i in range(len(body))]) == whole


def test_an_answer_cut_anywhere_composes_and_ends() -> None:
    body = b"".join(LINES[:8])
    for end in range(len(body)):
        assert answer(body[:end]).finish_reason is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("content", "parts", "text", "thought", "functionCall", "name", "args", "id"),
                    *("partialArgs", "jsonPath", "stringValue", "numberValue", "willContinue"),
                    *("executableCode", "codeExecutionResult", "inlineData", "data", "mimeType"),
                    *("groundingMetadata", "groundingChunks", "groundingSupports", "segment"),
                    *("web", "uri", "title", "startIndex", "endIndex", "groundingChunkIndices"),
                    *("citationMetadata", "citations", "finishReason", "thoughtSignature"),
                    *("usageMetadata", "promptTokenCount", "error", "message", "details"),
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=25,
)


@settings(max_examples=400, deadline=None)
@given(JSON, st.lists(JSON, max_size=3), JSON)
def test_whatever_json_a_host_sends_becomes_a_stream_that_can_be_read(
    payload: Any, said: list[Any], candidate: Any
) -> None:
    more = candidate if isinstance(candidate, dict) else {}
    body = data(payload) + data({"candidates": [{"content": {"parts": said}, **more}]})
    for event in composed(body, chunk(finish="STOP")):
        assert ev.encode(ev.decode(event.type, ev.encode(event))) == ev.encode(event)
