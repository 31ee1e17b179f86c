"""The ``openai-chat`` dialect: Chat Completions as OpenAI and some thirty other hosts speak it.

Source: OpenAI API reference, Chat Completions streaming, and the hosts' own pages for what they
add. The decoder is lenient about where things stand (usage on any chunk, ``choices: []``, repeated
roles, missing indices, a finish together with content) and strict about nothing but the proof of
the end, which is the composer's. Only choice 0 counts.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tellstream.core import lenient_json
from tellstream.core import parts as pt
from tellstream.core.chat import ChatRequest
from tellstream.core.errors import ProviderError
from tellstream.core.events import ArtifactData, Citation
from tellstream.core.sse import ServerSentEvent
from tellstream.core.usage import FinishReason
from tellstream.providers.base import Endpoint, UpstreamRequest, field, items
from tellstream.providers.failures import http_failure, stream_failure
from tellstream.providers.inline_thinking import InlineThinking
from tellstream.providers.openai_chat_plain import plain_delta
from tellstream.providers.openai_chat_request import build_body
from tellstream.providers.openai_chat_usage import usage_of
from tellstream.providers.sse_body import SseBody

_DONE: Final = b"[DONE]"
_FINISH: Final = {
    "stop": FinishReason.STOP,
    "eos": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "error": FinishReason.ERROR,
    "insufficient_system_resource": FinishReason.ERROR,
}
_DATA_URL: Final = "data:"
_RARE: Final = frozenset({"tool_calls", "function_call", "annotations", "images", "executed_tools"})
"""Members of a delta that most do not have."""


class OpenAIChat:
    """The dialect itself; stateless."""

    def request(self, endpoint: Endpoint, model: str, chat: ChatRequest) -> UpstreamRequest:
        """Build ``POST {base_url}/chat/completions``."""
        return UpstreamRequest(
            url=f"{endpoint.base_url}/chat/completions",
            headers=endpoint.headers("text/event-stream"),
            body=msgspec.json.encode(build_body(endpoint.host, model, chat)),
        )

    def decoder(self, endpoint: Endpoint) -> "OpenAIChatDecoder":
        """Make a decoder for one response of ``endpoint``."""
        return OpenAIChatDecoder(
            completion_excludes_reasoning=endpoint.host.completion_excludes_reasoning
        )

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Say what a failed response means."""
        return http_failure(status, headers, body)


class OpenAIChatDecoder:
    """Decodes one body of ``chat.completion.chunk`` events.

    Args:
        completion_excludes_reasoning: the host counts reasoning outside ``completion_tokens``.

    Attributes:
        malformed: lines skipped because they were not a JSON object.
    """

    def __init__(self, *, completion_excludes_reasoning: bool = False) -> None:
        self.malformed = 0
        self._excludes = completion_excludes_reasoning
        self._body = SseBody()
        self._inline = InlineThinking()
        self._model_said = False
        self._sources: list[Any] = []  # the last top-level list of cited URLs
        self._search_results: list[Any] = []
        self._call_keys: dict[str | int, str | int] = {}  # index or position -> the call open there
        self._call_ids: dict[str | int, str] = {}
        self._parts: list[pt.Part] = []

    def feed(self, chunk: bytes) -> list[pt.Part]:
        """Decode the next bytes of the body."""
        for event in self._body.feed(chunk):
            self._event(event)
        if self._body.overflow is not None:
            self._settle()
            self._parts.append(pt.Failed(self._body.overflow))
        return self._take()

    def eof(self) -> list[pt.Part]:
        """Give out what was held back."""
        self._settle()
        failure = self._body.failure()
        if failure is not None:
            self._parts.append(pt.Failed(failure))
        return self._take()

    def _event(self, event: ServerSentEvent) -> None:
        data = event.data
        if self._model_said and event.event == "message":
            plain = plain_delta(data)
            if plain is not None:
                self._speech(*plain)
                return
        if data.strip() == _DONE:
            self._settle()
            self._parts.append(pt.Done())
            return
        try:
            payload = lenient_json.loads(data)
        except ValueError:
            payload = None
        if event.event == "error" and not field(payload, "error", object):
            self._fail(data)  # the payload is the error itself
        elif isinstance(payload, dict):
            self._chunk(payload)
        else:
            self.malformed += 1

    def _chunk(self, payload: dict[str, Any]) -> None:
        model = field(payload, "model", str)
        if model and not self._model_said:
            self._model_said = True
            self._parts.append(pt.Model(model))
        for choice in items(payload, "choices"):
            if (field(choice, "index", int) or 0) == 0:
                self._choice(choice)
        if "citations" in payload:
            self._sources = items(payload, "citations") or self._sources
        if "search_results" in payload:
            self._search_results = items(payload, "search_results") or self._search_results
        self._usage(payload)
        groq = field(payload, "x_groq", dict) or {}
        for holder in (payload, groq):
            if holder.get("error") or holder.get("object") == "error":  # the latter is Mistral's
                self._settle()
                self._parts.append(pt.Failed(stream_failure(holder)))
                return

    def _usage(self, payload: dict[str, Any]) -> None:
        """Read usage wherever hosts put it: on the chunk, for Groq, on the choice (Moonshot)."""
        for holder in (payload, payload.get("x_groq"), *items(payload, "choices")[:1]):
            raw = field(holder, "usage", dict)
            usage = usage_of(raw, completion_excludes_reasoning=self._excludes) if raw else None
            if usage is not None:
                self._parts.append(pt.Used(usage))
                return

    def _choice(self, choice: Any) -> None:
        delta = field(choice, "delta", dict) or {}
        content = delta.get("content")
        self._speech(_thinking(delta), content if isinstance(content, str) else "")
        if isinstance(content, list):
            self._typed_content(content)
        refusal = field(delta, "refusal", str)
        if refusal:
            self._parts += self._inline.flush()
            self._parts.append(pt.Refusal(refusal))
        if not _RARE.isdisjoint(delta):
            self._rare(delta)
        reason = field(choice, "finish_reason", str)
        if reason:
            self._parts += self._inline.flush()
            self._parts.append(pt.Finished(_FINISH.get(reason, FinishReason.OTHER)))

    def _speech(self, thinking: str, text: str) -> None:
        if thinking:
            self._parts += self._inline.flush()
            self._parts.append(pt.Thinking(thinking))
        if text:
            self._parts += self._inline.feed(text)

    def _rare(self, delta: dict[str, Any]) -> None:
        """Decode the members ``_RARE``."""
        for position, call in enumerate(items(delta, "tool_calls")):
            self._tool_call(call, position)
        legacy = field(delta, "function_call", dict)
        if legacy:
            self._tool_call({"index": "function_call", "function": legacy}, 0)
        self._parts += [
            pt.Cited(source) for raw in items(delta, "annotations") if (source := _annotation(raw))
        ]
        self._parts += [
            pt.Attached(file) for raw in items(delta, "images") if (file := _image(raw))
        ]
        for position, tool in enumerate(items(delta, "executed_tools")):
            self._executed_tool(tool, position)

    def _typed_content(self, content: list[Any]) -> None:
        """Decode Mistral's typed content: thinking, text and references."""
        for item in content:
            kind = field(item, "type", str)
            text = field(item, "text", str)
            if kind == "thinking":
                whole = field(item, "thinking", str) or "".join(
                    field(piece, "text", str) or "" for piece in items(item, "thinking")
                )
                if whole:
                    self._parts += [*self._inline.flush(), pt.Thinking(whole)]
            elif kind == "reference":
                self._parts += [
                    pt.Cited(Citation("document", reference))
                    for reference in items(item, "reference_ids")
                    if isinstance(reference, (int, str)) and not isinstance(reference, bool)
                ]
            elif text:
                self._parts += [*self._inline.flush(), pt.Text(text)]

    def _tool_call(self, call: Any, position: int) -> None:
        function = field(call, "function", dict) or {}
        tool_id = field(call, "id", str) or ""
        name = field(function, "name", str) or ""
        key = self._call_key(call, tool_id, name, position)
        self._parts += self._inline.flush()
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            self._parts.append(pt.ToolWhole(key, tool_id, name, arguments))
        else:
            text = arguments if isinstance(arguments, str) else ""
            self._parts.append(pt.ToolFragment(key, tool_id, name, text))

    def _call_key(self, call: Any, tool_id: str, name: str, position: int) -> str | int:
        """Say which call a piece belongs to: by its index, else its id, else its position.

        Without an index only the first piece may carry the id; and some hosts give all calls the
        index 0, so that another id with a name begins another call.
        """
        index = field(call, "index", object)
        if not isinstance(index, (int, str)):
            if tool_id:
                self._call_keys[position] = tool_id
            return self._call_keys.get(position, position)
        key = self._call_keys.get(index, index)
        if name and tool_id and self._call_ids.setdefault(key, tool_id) != tool_id:
            key = self._call_keys[index] = f"{index}/{tool_id}"
            self._call_ids[key] = tool_id
        return key

    def _executed_tool(self, tool: Any, position: int) -> None:
        """Groq's compound models: a tool that ran there; with output once it is complete."""
        if not isinstance(tool, dict):
            return
        self._parts += self._inline.flush()
        kind = field(tool, "name", str) or field(tool, "type", str) or "tool"
        index = field(tool, "index", int)
        status = "completed" if tool.get("output") is not None else "started"
        item_id = str(position if index is None else index)
        self._parts.append(pt.ProviderTool(kind, status, item_id, tool))

    def _fail(self, data: bytes) -> None:
        try:
            payload = lenient_json.loads(data)
        except ValueError:
            payload = data.decode("utf-8", "replace")
        self._settle()
        self._parts.append(pt.Failed(stream_failure(payload)))

    def _settle(self) -> None:
        """Give out held-back text and the sources that stand in top-level lists.

        Perplexity repeats its list on every chunk, xAI sends it last: only the last one counts.
        """
        self._parts += self._inline.flush()
        titles = {
            field(result, "url", str): field(result, "title", str)
            for result in self._search_results
        }
        urls = self._sources or [url for url in titles if url]
        self._parts += [
            pt.Cited(Citation("url", url, source_title=titles.get(url)))
            for url in urls
            if isinstance(url, str) and url
        ]
        self._sources = []
        self._search_results = []

    def _take(self) -> list[pt.Part]:
        parts, self._parts = self._parts, []
        return parts


def _thinking(delta: dict[str, Any]) -> str:
    """Read thinking from the field this host uses; some send the same text in two of them."""
    for name in ("reasoning_content", "reasoning"):
        text = delta.get(name)
        if isinstance(text, str) and text:
            return text
    return "".join(
        field(detail, "text", str) or field(detail, "summary", str) or ""
        for detail in items(delta, "reasoning_details")
    )


def _annotation(raw: Any) -> Citation | None:
    """Read a ``url_citation`` as OpenAI (nested) and others (flat) write it."""
    source = field(raw, "url_citation", dict) or raw
    url = field(source, "url", str)
    if not url:
        return None
    start, end = field(source, "start_index", int), field(source, "end_index", int)
    placed = bool(end)  # 0..0 says nothing
    return Citation(
        "url",
        url,
        source_text=field(source, "content", str) or None,
        source_title=field(source, "title", str) or None,
        source_position_type="character" if placed else None,
        source_start_index=start if placed else None,
        source_end_index=end if placed else None,
    )


def _image(raw: Any) -> ArtifactData | None:
    """Read a generated image (OpenRouter): a base64 data URL."""
    url = field(field(raw, "image_url", dict), "url", str) or ""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith(_DATA_URL) or not head.endswith(";base64"):
        return None
    mime_type = head.removeprefix(_DATA_URL).removesuffix(";base64")
    return ArtifactData(id=None, data=data, mime_type=mime_type, metadata={})
