"""The ``anthropic-messages`` dialect: Anthropic's Messages API and the hosts that speak it.

Source: Anthropic API reference, "Streaming messages", "Extended thinking", "Citations" and "Server
tools". A message is a row of content blocks, each with a start, deltas and a stop; the type inside
the JSON decides, not the name of the SSE event. Whatever type is not known is ignored, so that new
blocks do no harm. Only ``message_stop`` proves the end, or the stop reason of a ``message_delta``.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from tellstream.core import lenient_json
from tellstream.core import parts as pt
from tellstream.core.chat import ChatRequest
from tellstream.core.errors import ProviderError
from tellstream.core.sse import ServerSentEvent
from tellstream.core.usage import FinishReason
from tellstream.providers.anthropic_messages_citations import citation_of
from tellstream.providers.anthropic_messages_request import build_body
from tellstream.providers.anthropic_messages_usage import usage_of
from tellstream.providers.base import Endpoint, UpstreamRequest, count, field, items
from tellstream.providers.failures import http_failure, stream_failure
from tellstream.providers.sse_body import SseBody

_DONE: Final = b"[DONE]"
"""Not Anthropic's; gateways that serve several wires send it after ``message_stop``."""
_FINISH: Final = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}
_SERVER_TOOLS: Final = frozenset({"server_tool_use", "mcp_tool_use"})
_RESULT: Final = "_tool_result"
"""Every result of a tool that ran at the provider has a type of its own with this ending."""


class AnthropicMessages:
    """The dialect itself; stateless."""

    def request(self, endpoint: Endpoint, model: str, chat: ChatRequest) -> UpstreamRequest:
        """Build ``POST {base_url}/messages``."""
        return UpstreamRequest(
            url=f"{endpoint.base_url}/messages",
            headers=endpoint.headers("text/event-stream"),
            body=msgspec.json.encode(build_body(endpoint.host, model, chat)),
        )

    def decoder(self, endpoint: Endpoint) -> "AnthropicMessagesDecoder":  # noqa: ARG002
        """Make a decoder for one response; all hosts are read alike."""
        return AnthropicMessagesDecoder()

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Say what a failed response means."""
        return http_failure(status, headers, body)


class _TextDelta(msgspec.Struct, gc=False):
    type: Literal["text_delta"]
    text: str


class _TextEvent(msgspec.Struct, gc=False):
    """What nearly every event is; decoding into it costs a fraction of the general path."""

    type: Literal["content_block_delta"]
    delta: _TextDelta


_decode_text: Final = msgspec.json.Decoder(_TextEvent).decode


class _Block:
    """A content block that is still arriving.

    Attributes:
        kind: its type.
        key: tells it from the other blocks of the message, even if a host reuses an index.
        item: what its start said.
        fragments: of its thinking or of its JSON input.
        signature: of its thinking.
    """

    __slots__ = ("fragments", "item", "key", "kind", "signature")

    def __init__(self, kind: str, key: int, item: dict[str, Any]) -> None:
        self.kind = kind
        self.key = key
        self.item = item
        self.fragments: list[str] = []
        self.signature: list[str] = []

    @property
    def tool_id(self) -> str:
        return field(self.item, "id", str) or ""

    @property
    def item_id(self) -> str:
        """Of a tool that runs at the provider; never empty, so that two stay two."""
        return self.tool_id or f"{self.kind}_{self.key}"

    @property
    def name(self) -> str:
        return field(self.item, "name", str) or ""


class AnthropicMessagesDecoder:
    """Decodes one body of message events.

    Attributes:
        malformed: events skipped because they were not a JSON object.
    """

    def __init__(self) -> None:
        self.malformed = 0
        self._body = SseBody()
        self._blocks: dict[int, _Block] = {}
        self._keys = 0
        self._spoken = False  # whether the current block has text yet
        self._sources: list[pt.Part] = []  # citations told before the text they belong to
        self._usage: dict[str, Any] = {}
        self._parts: list[pt.Part] = []

    def feed(self, chunk: bytes) -> list[pt.Part]:
        """Decode the next bytes of the body."""
        for event in self._body.feed(chunk):
            self._event(event)
        if self._body.overflow is not None:
            self._parts.append(pt.Failed(self._body.overflow))
        return self._take()

    def eof(self) -> list[pt.Part]:
        """Give out what was held back."""
        for event in self._body.eof():
            self._event(event)
        self._tell_sources()
        failure = self._body.failure()
        if failure is not None:
            self._parts.append(pt.Failed(failure))
        return self._take()

    def _event(self, event: ServerSentEvent) -> None:
        data = event.data
        try:
            text = _decode_text(data).delta.text
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            pass
        else:
            self._text(text)
            return
        try:
            payload = lenient_json.loads(data)
        except ValueError:
            payload = None
        if event.event == "error":
            self._fail(data.decode("utf-8", "replace") if payload is None else payload)
        elif isinstance(payload, dict):
            self._typed(field(payload, "type", str) or event.event, payload)
        elif data.strip() == _DONE:
            self._parts.append(pt.Done())
        else:
            self.malformed += 1

    def _typed(self, kind: str, payload: dict[str, Any]) -> None:
        match kind:
            case "content_block_delta":
                self._delta(payload)
            case "content_block_start":
                self._start(payload)
            case "content_block_stop":
                self._stop(count(payload, "index") or 0)
            case "message_start":
                message = field(payload, "message", dict)
                model = field(message, "model", str)
                if model:
                    self._parts.append(pt.Model(model))
                self._used(message)
            case "message_delta":
                self._finish(payload)
            case "message_stop":
                self._stop_all()
                self._parts.append(pt.Done())
            case _ if kind == "error" or payload.get("error"):
                self._fail(payload)
            case _:
                pass  # ping, and whatever comes to exist

    # -- blocks -----------------------------------------------------------------------------------

    def _start(self, payload: dict[str, Any]) -> None:
        item = field(payload, "content_block", dict) or {}
        index = count(payload, "index") or 0
        self._stop(index)  # some hosts forget to
        self._keys += 1
        block = _Block(field(item, "type", str) or "", self._keys, item)
        self._blocks[index] = block
        self._spoken = False
        if block.kind == "text":
            self._text(field(item, "text", str) or "")
            for raw in items(item, "citations"):
                self._cite(raw)
        elif block.kind == "thinking":
            self._think(block, field(item, "thinking", str))
            self._sign(block, field(item, "signature", str))
        elif block.kind == "tool_use":
            self._parts.append(pt.ToolFragment(block.key, block.tool_id, block.name, ""))
        elif block.kind in _SERVER_TOOLS:
            self._server_tool(block, "started", item)
        elif block.kind.endswith(_RESULT):
            item_id = field(item, "tool_use_id", str) or block.item_id
            self._parts.append(pt.ProviderTool(block.kind, "result_received", item_id, item))

    def _delta(self, payload: dict[str, Any]) -> None:
        delta = field(payload, "delta", dict)
        block = self._blocks.get(count(payload, "index") or 0)
        match field(delta, "type", str):
            case "text_delta":
                self._text(field(delta, "text", str) or "")
            case "thinking_delta":
                self._think(block, field(delta, "thinking", str))
            case "signature_delta":
                self._sign(block, field(delta, "signature", str))
            case "input_json_delta":
                self._input(block, field(delta, "partial_json", str))
            case "citations_delta":
                self._cite(field(delta, "citation", dict))
            case _:
                pass

    def _stop(self, index: int) -> None:
        block = self._blocks.pop(index, None)
        if block is None:
            return
        if block.kind == "text":
            self._tell_sources()
            self._parts.append(pt.Break())
        elif block.kind == "thinking":
            self._parts.append(pt.Break())
            if block.signature:  # without it the block is worth nothing to its maker
                told = {"thinking": "".join(block.fragments), "signature": "".join(block.signature)}
                self._parts.append(pt.Replay({**block.item, **told}))
        elif block.kind == "redacted_thinking":
            self._parts.append(pt.Replay(block.item))
        elif block.kind == "tool_use":
            given = field(block.item, "input", dict)
            if given and not "".join(block.fragments).strip():
                self._parts.append(pt.ToolWhole(block.key, block.tool_id, block.name, given))
        elif block.kind in _SERVER_TOOLS:
            self._server_tool(block, "completed", {**block.item, "input": _input_of(block)})

    def _stop_all(self) -> None:
        for index in list(self._blocks):
            self._stop(index)

    # -- what blocks hold -------------------------------------------------------------------------

    def _text(self, text: str) -> None:
        if text:
            self._parts.append(pt.Text(text))
            self._spoken = True
            if self._sources:
                self._tell_sources()

    def _think(self, block: _Block | None, thinking: str | None) -> None:
        if thinking:
            self._parts.append(pt.Thinking(thinking))
            if block is not None:
                block.fragments.append(thinking)

    def _sign(self, block: _Block | None, signature: str | None) -> None:
        if signature and block is not None:
            block.signature.append(signature)

    def _input(self, block: _Block | None, fragment: str | None) -> None:
        if fragment and block is not None:
            block.fragments.append(fragment)
            if block.kind == "tool_use":
                self._parts.append(pt.ToolFragment(block.key, "", "", fragment))

    def _cite(self, raw: Any) -> None:
        """Tell a source; within its block, even if it comes before the block's text."""
        citation = citation_of(raw)
        if citation is not None:
            self._sources.append(pt.Cited(citation))
            if self._spoken:
                self._tell_sources()

    def _tell_sources(self) -> None:
        self._parts += self._sources
        self._sources = []

    def _server_tool(self, block: _Block, status: str, data: dict[str, Any]) -> None:
        self._parts.append(pt.ProviderTool(block.name or "tool", status, block.item_id, data))

    # -- the message ------------------------------------------------------------------------------

    def _finish(self, payload: dict[str, Any]) -> None:
        reason = field(field(payload, "delta", dict), "stop_reason", str)
        if reason:
            self._stop_all()
            self._parts.append(pt.Finished(_FINISH.get(reason, FinishReason.OTHER)))
        self._used(payload)

    def _used(self, holder: dict[str, Any] | None) -> None:
        """Read cumulative counts: what is null or absent stays as it was told before."""
        raw = field(holder, "usage", dict)
        if raw:
            self._usage.update({name: value for name, value in raw.items() if value is not None})
            usage = usage_of(self._usage)
            if usage is not None:
                self._parts.append(pt.Used(usage))

    def _fail(self, payload: Any) -> None:
        self._tell_sources()
        self._parts.append(pt.Failed(stream_failure(payload)))

    def _take(self) -> list[pt.Part]:
        parts, self._parts = self._parts, []
        return parts


def _input_of(block: _Block) -> Any:
    """Decode the input of a tool that runs at the provider; it is shown, never run."""
    raw = "".join(block.fragments)
    try:
        return lenient_json.loads(raw)
    except ValueError:
        return raw or field(block.item, "input", dict) or {}
