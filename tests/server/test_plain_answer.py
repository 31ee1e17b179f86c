"""A plain answer is exactly the seven event types of the native protocol, field for field."""

import json
import re
import time

import aiohttp
import pytest

from support.chat import ask
from support.server import Running
from tellstream.core.sse import SseDecoder

ULID = re.compile(r"evt_[0-7][0-9A-HJKMNP-TV-Z]{25}")


async def test_a_plain_answer_is_the_seven_event_types_in_order(server: Running) -> None:
    reply = await ask(server, {"prompt": "hello"})
    assert reply.types == [
        "stream_start", "step_start", "text_start", *["text_delta"] * 5,
        "text_complete", "step_finish", "stream_end",
    ]  # fmt: skip


async def test_every_field_of_a_plain_answer_is_there_in_its_order(server: Running) -> None:
    before = int(time.time())
    reply = await ask(server, {"prompt": "hello", "metadata": {"user": "é"}})
    payloads = [json.loads(frame.data) for frame in SseDecoder().feed(reply.body)]
    by_type = dict(zip(reply.types, payloads, strict=True))
    common = ["id", "timestamp"]
    assert list(by_type["stream_start"]) == [*common, "model", "provider", "metadata"]
    assert by_type["stream_start"]["metadata"] == {"user": "é"}
    assert by_type["stream_start"]["provider"] == "sim"
    assert list(by_type["step_start"]) == common
    assert list(by_type["text_start"]) == [*common, "message_id"]
    assert list(by_type["text_delta"]) == [*common, "delta", "message_id"]
    assert list(by_type["text_complete"]) == [*common, "message_id"]
    assert list(by_type["step_finish"]) == common
    assert list(by_type["stream_end"]) == [*common, "finish_reason", "usage", "citations"]
    assert by_type["stream_end"]["finish_reason"] == "Stop"
    assert by_type["stream_end"]["citations"] is None
    assert list(by_type["stream_end"]["usage"]) == [
        "prompt_tokens", "completion_tokens", "cache_write_input_tokens",
        "cache_read_input_tokens", "thought_tokens",
    ]  # fmt: skip
    assert by_type["stream_end"]["usage"]["completion_tokens"] == 5
    for payload in payloads:
        assert ULID.fullmatch(payload["id"])
        assert before <= payload["timestamp"] <= time.time()
    messages = {p["message_id"] for p in payloads if "message_id" in p}
    assert len(messages) == 1
    assert ULID.fullmatch(messages.pop())


async def test_frames_are_id_event_data_with_lf_only(server: Running) -> None:
    body = (await ask(server, {"prompt": "hello"})).body
    blocks = body.split(b"\n\n")
    assert blocks.pop() == b""
    for number, block in enumerate(blocks, 1):
        assert re.fullmatch(rb"id: %d\nevent: [a-z_]+\ndata: \{.*\}" % number, block)
    assert b"\r" not in body


async def test_the_response_carries_the_headers_of_a_stream(server: Running) -> None:
    headers = (await ask(server, {"prompt": "hello"}, headers={"X-Request-Id": "abc"})).headers
    lower = {name.lower(): value for name, value in headers.items()}
    assert lower["content-type"] == "text/event-stream; charset=utf-8"
    assert lower["cache-control"] == "no-store, no-transform"
    assert lower["x-accel-buffering"] == "no"
    assert lower["x-content-type-options"] == "nosniff"
    assert lower["x-request-id"] == "abc"
    assert re.fullmatch("str_[0-9A-Z]{26}", lower["x-stream-id"])
    assert "content-length" not in lower
    assert "content-encoding" not in lower


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/stream",
        "/v1/flexy-chat/stream",
        "/api/v1/chat/stream",
        "/api/v1/flexy-chat/stream",
    ],
)
async def test_all_four_paths_start_a_stream(server: Running, path: str) -> None:
    assert (await ask(server, {"prompt": "hello"}, path=path)).transcript.finish_reason == "Stop"


async def test_the_waiting_reply_is_the_fold_of_the_stream(server: Running) -> None:
    streamed = (await ask(server, {"prompt": "hello"})).transcript
    reply = await ask(server, {"prompt": "hello"}, path="/v1/chat")
    data = reply.json["data"]
    assert list(data) == [
        "stream_id", "model", "provider", "text", "thinking", "tool_calls", "finish_reason",
        "usage", "citations",
    ]  # fmt: skip
    assert data["text"] == streamed.text
    assert data["finish_reason"] == "Stop"
    assert data["usage"]["completion_tokens"] == 5


async def test_the_provider_gets_system_history_and_prompt(
    server: Running, simulator: object
) -> None:
    history = [{"content": "one"}, {"content": "two"}, {"role": "user", "content": "three"}]
    await ask(server, {"prompt": "four", "history": history, "max_output_tokens": 9})
    body = simulator.requests()[0].body  # type: ignore[attr-defined]
    sent = json.loads(body) if isinstance(body, (str, bytes)) else body
    assert [(m["role"], m["content"]) for m in sent["messages"]] == [
        ("system", "Be brief."), ("user", "one"), ("assistant", "two"), ("user", "three"),
        ("user", "four"),
    ]  # fmt: skip
    assert sent["max_tokens"] == 9
    assert sent["stream_options"] == {"include_usage": True}


async def test_models_lists_what_the_tenant_may_use(server: Running) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(server.url + "/v1/models", headers=server.headers(2)) as response,
    ):
        data = (await response.json())["data"]
    assert [row["id"] for row in data] == ["plain", "mark-a", "mark-b"]
