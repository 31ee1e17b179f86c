"""The grammars of the other protocols, written apart from their encoders.

Each checker reads bytes, as a client would, and raises ``AssertionError`` at the first thing that a
strict client of the protocol refuses.
"""

import json
from typing import Any

from tellstream.core.sse import SseDecoder

UI_FINISH = {"stop", "length", "content-filter", "tool-calls", "error", "other"}


def payloads(body: bytes, *, done: bool) -> list[dict[str, Any]]:
    """Decode a body; ``done``: it ends with ``[DONE]``, and holds that nowhere else."""
    assert b"\r" not in body
    frames = SseDecoder(max_event_bytes=1 << 24).feed(body)
    assert all(frame.event == "message" for frame in frames)
    data = [frame.data for frame in frames]
    blocks = [block for block in body.split(b"\n\n") if block]
    assert len(blocks) == len(frames), "what splits at blank lines only sees the same"
    if done:
        assert data.pop() == b"[DONE]"
    assert b"[DONE]" not in data
    return [json.loads(one) for one in data]


def check_openai(body: bytes) -> list[dict[str, Any]]:
    """Check Chat Completions chunks; returns them."""
    chunks = payloads(body, done=True)
    calls: dict[int, str] = {}
    finished = failed = False
    heads = set()
    for position, chunk in enumerate(chunks):
        if "error" in chunk:
            assert set(chunk["error"]) == {"message", "type", "param", "code"}
            assert not finished
            failed = True
            continue
        heads.add((chunk["id"], chunk["object"], chunk["created"], chunk["model"]))
        if not chunk["choices"]:
            assert finished or failed
            assert position == len(chunks) - 1
            assert chunk["usage"]["total_tokens"] >= 0
            continue
        assert not failed
        assert not finished, "nothing comes after the finish reason but the usage"
        [choice] = chunk["choices"]
        delta = choice["delta"]
        assert choice["index"] == 0
        assert (position == 0) == ("role" in delta)
        for call in delta.get("tool_calls", ()):
            if call["index"] in calls:
                assert set(call) == {"index", "function"}
            else:
                assert call["index"] == len(calls)
                assert call["type"] == "function"
                calls[call["index"]] = call["id"]
        if choice["finish_reason"] is not None:
            assert choice["finish_reason"] in {"stop", "length", "tool_calls", "content_filter"}
            assert delta == {}
            finished = True
    assert finished != failed
    assert len(heads) == 1
    return chunks


def check_ui(body: bytes) -> list[dict[str, Any]]:
    """Check UI message chunks; returns them."""
    chunks = payloads(body, done=True)
    assert chunks[0]["type"] == "start"
    open_parts: set[tuple[str, str]] = set()
    inputs: dict[str, str] = {}
    in_step = False
    for chunk in chunks:
        kind = chunk["type"]
        assert None not in [v for k, v in chunk.items() if k not in {"output", "messageMetadata"}]
        family, _, phase = kind.rpartition("-")
        if family in {"text", "reasoning"}:
            part = family, chunk["id"]
            if phase == "start":
                assert part not in open_parts
                open_parts.add(part)
            else:
                assert part in open_parts
                open_parts -= {part} if phase == "end" else set()
        elif kind == "tool-input-start":
            inputs[chunk["toolCallId"]] = "open"
        elif kind == "tool-input-delta":
            assert inputs[chunk["toolCallId"]] == "open"
        elif kind in {"tool-input-available", "tool-input-error"}:
            assert inputs[chunk["toolCallId"]] == "open"
            inputs[chunk["toolCallId"]] = "known"
        elif kind in {"tool-output-available", "tool-output-error"}:
            assert inputs[chunk["toolCallId"]] == "known"
        elif kind in {"start-step", "finish-step"}:
            assert in_step == (kind == "finish-step")
            in_step = not in_step
        elif kind == "source-url":
            assert chunk["url"].lower().startswith(("http://", "https://"))
        elif kind == "finish":
            assert chunk["finishReason"] in UI_FINISH
        else:
            assert kind in {
                "start", "error", "abort", "message-metadata", "file", "source-document",
                "data-provider-tool", "data-warning",
            }, kind  # fmt: skip
    assert chunks[-1]["type"] in {"finish", "abort"}
    assert not open_parts
    assert not in_step
    assert "open" not in inputs.values()
    return chunks


def check_ag_ui(body: bytes) -> list[dict[str, Any]]:
    """Check AG-UI events; returns them."""
    events = payloads(body, done=False)
    assert events[0]["type"] == "RUN_STARTED"
    assert events[0]["protocolVersion"] == "1.0"
    assert events[-1]["type"] in {"RUN_FINISHED", "RUN_ERROR"}
    opened: set[tuple[str, str]] = set()
    ids = {"STEP": "stepName", "TOOL_CALL": "toolCallId"}
    for position, event in enumerate(events):
        assert None not in event.values()
        assert isinstance(event["timestamp"], int)
        kind = event["type"]
        if kind in {"RUN_FINISHED", "RUN_ERROR"}:
            assert position == len(events) - 1
            continue
        if kind in {"RUN_STARTED", "CUSTOM", "TOOL_CALL_RESULT"}:
            continue
        family, _, phase = kind.rpartition("_")
        thing = family, event[ids.get(family, "messageId")]
        if phase in {"START", "STARTED"}:
            assert thing not in opened
            opened.add(thing)
        else:
            assert thing in opened
            if phase in {"END", "FINISHED"}:
                opened.remove(thing)
            else:
                assert phase in {"CONTENT", "ARGS"}
                assert event["delta"] != ""
    assert not opened
    return events


CHECKERS = {"openai": check_openai, "ui": check_ui, "ag-ui": check_ag_ui}
