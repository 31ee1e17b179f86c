"""The corpus of recorded provider streams, and what each must come out as.

Written from the reference documents, independently of the decoders: the manifest holds the
providers' own values, this file normalises them.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(os.environ.get("TELLSTREAM_RECORDINGS") or Path(__file__).parents[3] / "shared/streams")
FINISH = {
    "stop": "Stop",
    "length": "Length",
    "tool_calls": "ToolCalls",
    "content_filter": "ContentFilter",
    None: "Unknown",
}
HTTP_CODES = {401: "provider_auth", 404: "provider_rejected", 429: "provider_rate_limited"}
HTTP_CODES |= {400: "provider_rejected", 500: "provider_unavailable"}
STATUS = {
    "provider_auth": 502,
    "provider_rejected": 422,
    "context_length_exceeded": 422,
    "provider_rate_limited": 503,
    "provider_unavailable": 503,
}


@dataclass(frozen=True)
class Recording:
    """One entry of the manifest."""

    name: str
    provider: str
    status: int
    content_type: str
    expected: dict[str, Any]

    @property
    def body(self) -> bytes:
        return (ROOT / self.name).read_bytes()

    @property
    def is_error(self) -> bool:
        return self.name.endswith(".json")


def recordings(wire: str) -> list[Any]:
    """All entries of a wire as test parameters; a skipped one when the corpus is absent."""
    manifest = ROOT / "MANIFEST.json"
    if not manifest.exists():
        reason = f"no recorded provider streams at {ROOT} (set TELLSTREAM_RECORDINGS)"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason))]
    entries = [entry for entry in json.loads(manifest.read_bytes()) if entry["wire"] == wire]
    return [
        pytest.param(
            Recording(
                entry["file"],
                entry["provider"],
                entry["http_status"] or 200,
                entry["content_type"] or "text/event-stream",
                entry["expected"],
            ),
            id=Path(entry["file"]).stem[:60],
        )
        for entry in entries
    ]


def speech(recording: Recording) -> tuple[str, str]:
    """The text and thinking to expect; a refusal is text, inline thinking is thinking."""
    text = (recording.expected.get("text") or "") + (recording.expected.get("refusal") or "")
    thinking = recording.expected.get("thinking") or ""
    inline = re.match(r"\s*<think>(.*?)</think>", text, re.DOTALL)
    if inline:
        return text[inline.end() :], inline[1]
    return text, thinking


def finish_reason(recording: Recording) -> str:
    expected = recording.expected
    if expected.get("error"):
        return "Error"
    if expected.get("refusal"):
        return "ContentFilter"
    reason = expected.get("finish_reason")
    if expected.get("tool_calls") and reason == "stop":
        return "ToolCalls"
    return FINISH[reason]


def tool_calls(recording: Recording) -> list[dict[str, Any]]:
    return [_call(call) for call in recording.expected.get("tool_calls") or []]


class MadeId:
    """Equals any id that we make where the provider gave none."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and re.fullmatch(r"call_[0-9A-Z]{26}", other) is not None

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "MadeId()"


def _call(call: dict[str, Any]) -> dict[str, Any]:
    row = {"tool_id": call["id"] or MadeId(), "tool_name": call["name"]}
    raw = call["arguments_json"] or "{}"
    try:
        value = json.loads(raw)
    except ValueError:
        value = None
    if isinstance(value, dict):
        return {**row, "arguments": value}
    # The input of a custom tool is text; the manifest wrote it as a JSON string.
    return {**row, "arguments": {}, "invalid_arguments": value if isinstance(value, str) else raw}


def openai_chat_usage(raw: dict[str, Any]) -> dict[str, Any]:
    """Normalise by the table of the reference: inclusive counts, null for what was not said."""
    prompt, completion = raw["prompt_tokens"], raw["completion_tokens"]
    cached = (raw.get("prompt_tokens_details") or {}).get("cached_tokens")
    for name in ("prompt_cache_hit_tokens", "num_cached_tokens"):
        cached = raw.get(name) if cached is None else cached
    written = (raw.get("prompt_tokens_details") or {}).get("cache_write_tokens")
    thought = (raw.get("completion_tokens_details") or {}).get("reasoning_tokens")
    if thought and raw["total_tokens"] == prompt + completion + thought:
        completion += thought
    if cached is not None and cached > prompt:
        prompt += cached
    if thought is not None:
        thought = min(thought, completion)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "cache_write_input_tokens": written,
        "cache_read_input_tokens": cached,
        "thought_tokens": thought,
    }


def openai_responses_usage(raw: dict[str, Any]) -> dict[str, Any]:
    """Counts are inclusive already; only the names differ."""
    prompt, completion = raw["input_tokens"], raw["output_tokens"]
    taken = raw.get("input_tokens_details") or {}
    given = raw.get("output_tokens_details") or {}
    thought = given.get("reasoning_tokens")
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "cache_write_input_tokens": taken.get("cache_write_tokens"),
        "cache_read_input_tokens": taken.get("cached_tokens"),
        "thought_tokens": None if thought is None else min(thought, completion),
    }


RESPONSES_FINISH = {
    "completed": "Stop",
    "incomplete:max_output_tokens": "Length",
    "incomplete:content_filter": "ContentFilter",
    "failed": "Error",
    None: "Unknown",
}


def openai_responses_finish(recording: Recording) -> str:
    expected = recording.expected
    if expected.get("error"):
        return "Error"
    if expected.get("refusal"):
        return "ContentFilter"
    reason = RESPONSES_FINISH.get(expected.get("finish_reason"), "Other")
    return "ToolCalls" if expected.get("tool_calls") and reason == "Stop" else reason


def ollama_usage(raw: dict[str, Any]) -> dict[str, Any]:
    """A count that is missing is zero: the prompt was in the cache."""
    return {
        "prompt_tokens": raw.get("prompt_eval_count", 0),
        "completion_tokens": raw.get("eval_count", 0),
        "cache_write_input_tokens": None,
        "cache_read_input_tokens": None,
        "thought_tokens": None,
    }


ANTHROPIC_FINISH = {
    "end_turn": "Stop",
    "stop_sequence": "Stop",
    "max_tokens": "Length",
    "model_context_window_exceeded": "Length",
    "tool_use": "ToolCalls",
    "refusal": "ContentFilter",
    None: "Unknown",
}


def anthropic_messages_finish(recording: Recording) -> str:
    expected = recording.expected
    if expected.get("error"):
        return "Error"
    return ANTHROPIC_FINISH.get(expected.get("finish_reason"), "Other")


def anthropic_messages_usage(raw: dict[str, Any]) -> dict[str, Any]:
    """Caches are counted outside of the input, thinking inside of the output."""
    read, written = raw.get("cache_read_input_tokens"), raw.get("cache_creation_input_tokens")
    return {
        "prompt_tokens": raw["input_tokens"] + (read or 0) + (written or 0),
        "completion_tokens": raw["output_tokens"],
        "cache_write_input_tokens": written,
        "cache_read_input_tokens": read,
        "thought_tokens": (raw.get("output_tokens_details") or {}).get("thinking_tokens"),
    }


GEMINI_FINISH = {
    "STOP": "Stop",
    "MAX_TOKENS": "Length",
    **dict.fromkeys(
        ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"),
        "ContentFilter",
    ),
    **dict.fromkeys(
        ("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"), "ContentFilter"
    ),
    **dict.fromkeys(
        ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"), "Error"
    ),
    **dict.fromkeys(("MISSING_THOUGHT_SIGNATURE", "MALFORMED_RESPONSE"), "Error"),
}


def gemini_finish(recording: Recording) -> str:
    expected = recording.expected
    reason = expected.get("finish_reason") or ""
    if expected.get("error"):
        return "Error"
    if reason.startswith("promptFeedback:"):
        return "ContentFilter"
    if reason == "STOP" and expected.get("tool_calls"):
        return "ToolCalls"
    return GEMINI_FINISH.get(reason, "Other")


def gemini_usage(raw: dict[str, Any]) -> dict[str, Any]:
    """Thoughts and the results of tools that ran there are counted outside."""
    thought, tool = raw.get("thoughtsTokenCount"), raw.get("toolUsePromptTokenCount", 0)
    prompt, completion = raw.get("promptTokenCount", 0), raw.get("candidatesTokenCount", 0)
    return {
        "prompt_tokens": prompt + tool,
        "completion_tokens": completion + (thought or 0),
        "cache_write_input_tokens": None,
        "cache_read_input_tokens": raw.get("cachedContentTokenCount"),
        "thought_tokens": thought,
    }
