"""The ``openai-responses`` dialect: the Responses API of OpenAI, Azure, xAI, Perplexity and others.

The decoder believes deltas, and falls back on what a later event repeats whole (part done, item
done, the response itself) only where there were none: some servers stream nothing but the end. An
item is known by its ``output_index``, else by its id, because ids differ between the events of some
hosts; neither order nor ``sequence_number`` matters. A call's id is its ``call_id``, the one its
result must come back with, not the item's. Unknown events are ignored.

Source: OpenAI API reference, Responses streaming events; docs.x.ai; docs.perplexity.ai;
openrouter.ai/docs.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, TypeAlias

import msgspec

from tellstream.core import lenient_json
from tellstream.core import parts as pt
from tellstream.core.chat import ChatRequest
from tellstream.core.errors import ProviderError
from tellstream.core.events import Citation
from tellstream.core.sse import ServerSentEvent
from tellstream.providers.base import Endpoint, UpstreamRequest, field, items
from tellstream.providers.failures import http_failure, stream_failure
from tellstream.providers.inline_thinking import InlineThinking
from tellstream.providers.openai_responses_calls import Calls
from tellstream.providers.openai_responses_hosted import HostedTools
from tellstream.providers.openai_responses_items import (
    Block,
    block_of,
    citation_of,
    custom_tools,
    error_of,
    finish_of,
    owner_of,
    sources_in,
    usage_from,
)
from tellstream.providers.openai_responses_request import build_body, url_of
from tellstream.providers.sse_body import SseBody

_DONE: Final = b"[DONE]"
_TEXT: Final = "response.output_text"
_REFUSAL: Final = "response.refusal"
_SUMMARY: Final = "response.reasoning_summary_text"
_RAW: Final = "response.reasoning_text"
_SAYS: Final[dict[str, Callable[[str], pt.Part]]] = {
    _TEXT: pt.Text,
    _REFUSAL: pt.Refusal,
    _SUMMARY: pt.Thinking,
    _RAW: pt.Thinking,
}
# The same four inside items and parts, by the type of the piece.
_PIECES: Final = {
    "output_text": _TEXT,
    "refusal": _REFUSAL,
    "summary_text": _SUMMARY,
    "reasoning_text": _RAW,
}
_RESEARCH: Final = "response.reasoning."
_RESULTS: Final = frozenset({"search_results", "fetch_url_results"})
"""Items that list what Perplexity found."""

_Event: TypeAlias = dict[str, Any]


class OpenAIResponses:
    """The dialect itself; stateless."""

    def request(self, endpoint: Endpoint, model: str, chat: ChatRequest) -> UpstreamRequest:
        """Build ``POST {base_url}/responses``."""
        return UpstreamRequest(
            url=url_of(endpoint),
            headers=endpoint.headers("text/event-stream"),
            body=msgspec.json.encode(build_body(endpoint.host, model, chat)),
        )

    def decoder(self, endpoint: Endpoint) -> "OpenAIResponsesDecoder":  # noqa: ARG002
        """Make a decoder for one response; no host needs another one."""
        return OpenAIResponsesDecoder()

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Say what a failed response means."""
        return http_failure(status, headers, body)


class OpenAIResponsesDecoder:
    """Decodes one body of ``response.*`` events.

    Attributes:
        malformed: events skipped because their data was not a JSON object.
    """

    def __init__(self) -> None:
        self.malformed = 0
        self._body = SseBody()
        self._inline = InlineThinking()
        self._text_began = False
        self._model_said = False
        self._began = False  # something of the output arrived before the end
        self._custom_tools: frozenset[str] | None = None  # as declared; None: not said
        self._calls = Calls()
        self._block: Block | None = None  # the text or thinking that is arriving
        self._told_by: dict[str, str] = {}  # kind of speech -> the kind of event that tells it
        self._hosted = HostedTools()
        self._overflowed = False
        self._sources: dict[str | int, Citation] = {}  # in lists; cited if nothing else is
        self._parts: list[pt.Part] = []

    def feed(self, chunk: bytes) -> list[pt.Part]:
        """Decode the next bytes of the body."""
        for event in self._body.feed(chunk):
            self._event(event)
        if self._body.overflow is not None and not self._overflowed:
            self._overflowed = True
            self._settle()
            self._parts.append(pt.Failed(self._body.overflow))
        return self._take()

    def eof(self) -> list[pt.Part]:
        """Give out what was held back."""
        for event in self._body.eof():
            self._event(event)
        self._settle()
        failure = self._body.failure()
        if failure is not None:
            self._parts.append(pt.Failed(failure))
        return self._take()

    def _event(self, event: ServerSentEvent) -> None:
        data = event.data
        if data.strip() == _DONE:
            self._settle()
            self._parts.append(pt.Done())
            return
        try:
            payload = lenient_json.loads(data)
        except ValueError:
            payload = data.decode("utf-8", "replace")
        if not isinstance(payload, dict):
            if event.event == "error":
                self._fail(payload)
            else:
                self.malformed += 1
            return
        kind = payload["type"] = field(payload, "type", str) or event.event
        stem, _, action = kind.rpartition(".")
        if stem in _SAYS and action == "delta":
            self._delta(stem, payload)
        elif stem in _SAYS and action == "done":
            whole = payload.get("refusal" if stem == _REFUSAL else "text")
            self._whole(stem, kind, block_of(stem, payload), whole)
        elif kind in self._HANDLERS:
            self._HANDLERS[kind](self, payload)
        elif event.event == "error" or (payload.get("error") and not stem):
            self._fail(payload)
        else:
            self._other(kind, payload)

    # -- what the model says ----------------------------------------------------------------------

    def _delta(self, stem: str, event: _Event) -> None:
        delta = field(event, "delta", str)
        if delta:
            self._told_by[_topic(stem)] = "delta"
            self._say(stem, block_of(stem, event), delta)

    def _whole(self, stem: str, teller: str, block: Block, text: Any) -> None:
        """Say a text that arrived whole, unless events of another kind tell the same."""
        topic = _topic(stem)
        if isinstance(text, str) and text and self._told_by.setdefault(topic, teller) == teller:
            self._say(stem, block, text)

    def _say(self, stem: str, block: Block, text: str) -> None:
        if block != self._block:
            self._break()
            self._block = block
        if stem == _TEXT:
            self._began = self._text_began = True
            self._parts += self._inline.feed(text)
        else:
            self._add(_SAYS[stem](text))

    def _break(self) -> None:
        """The block that is arriving is over."""
        if self._block is not None:
            self._block = None
            self._add(pt.Break())

    def _over(self, event: _Event) -> None:
        """The provider closed something: what is arriving is over if it belongs to that."""
        if self._block is not None and self._block[0] == owner_of(event):
            self._break()

    def _part_done(self, event: _Event) -> None:
        self._piece(event, field(event, "part", dict), "part")
        self._over(event)

    def _piece(self, event: _Event, piece: Any, teller: str) -> None:
        """Read one piece of a message or of a reasoning item, as it is when it is complete."""
        stem = _PIECES.get(field(piece, "type", str) or "")
        if stem is None:
            return
        text = piece.get("refusal" if stem == _REFUSAL else "text")
        self._whole(stem, teller, block_of(stem, event), text)
        for annotation in items(piece, "annotations"):
            self._cite(annotation, teller)

    def _cite(self, annotation: Any, teller: str) -> None:
        citation = citation_of(annotation)
        if citation and self._told_by.setdefault("citations", teller) == teller:
            self._add(pt.Cited(citation))

    # -- items ------------------------------------------------------------------------------------

    def _item_added(self, event: _Event) -> None:
        item = field(event, "item", dict) or {}
        if self._is_ours(item):
            self._add(*self._calls.item(event, item, whole=False))
        else:
            self._add(*self._hosted.added(event, item))

    def _item_done(self, event: _Event) -> None:
        item = field(event, "item", dict) or {}
        kind = field(item, "type", str) or ""
        if self._is_ours(item):
            self._add(*self._calls.item(event, item, whole=True))
        elif kind in {"message", "reasoning"}:
            for name in ("summary", "content"):
                for index, piece in enumerate(items(item, name)):
                    place = {**event, "content_index": index, "summary_index": index}
                    self._piece(place, piece, "item")
            if kind == "reasoning" and item.get("encrypted_content"):
                self._add(pt.Replay(item))
        elif kind:
            self._add(*self._hosted.done(event, item))
            if kind in _RESULTS:
                self._collect(item)
        self._over(event)

    def _is_ours(self, item: _Event) -> bool:
        """Whether an item is a call that the caller must run.

        xAI tells its own searches as custom tools; the response repeats what was declared.
        """
        kind = field(item, "type", str)
        if kind == "custom_tool_call" and self._custom_tools is not None:
            return field(item, "name", str) in self._custom_tools
        return kind in {"function_call", "custom_tool_call"}

    def _arguments(self, event: _Event) -> None:
        self._add(*self._calls.arguments(event))

    def _other(self, kind: str, event: _Event) -> None:
        """Read what only hosted tools and Perplexity's research say."""
        if kind.startswith(_RESEARCH):
            thought = field(event, "thought", str)
            if thought:
                self._say(_RAW, (None, kind, None), thought)
            self._collect(event)
        self._add(*self._hosted.event(kind, event))

    def _collect(self, holder: _Event) -> None:
        for source in sources_in(holder):
            self._sources.setdefault(source.source, source)

    # -- the response as a whole ------------------------------------------------------------------

    def _head(self, event: _Event) -> None:
        response = field(event, "response", dict)
        model = field(response, "model", str)
        if model and not self._model_said:
            self._model_said = True
            self._parts.append(pt.Model(model))
        declared = custom_tools(response)
        if declared is not None:
            self._custom_tools = declared

    def _end(self, event: _Event) -> None:
        self._head(event)
        response = field(event, "response", dict) or {}
        if not self._began:  # nothing was streamed: the response has it all
            for index, item in enumerate(items(response, "output")):
                self._item_done({"output_index": index, "item": item})
        self._collect(response)
        self._settle()
        usage = usage_from(field(response, "usage", dict) or {})
        if usage is not None:
            self._parts.append(pt.Used(usage))
        error = error_of(event)
        if error is not None:
            self._fail(error)
            return
        self._parts += [pt.Finished(finish_of(event, called=bool(self._calls))), pt.Done()]

    def _fail(self, payload: Any) -> None:
        self._settle()
        self._parts.append(pt.Failed(stream_failure(payload)))

    def _settle(self) -> None:
        """Give out what waits: text, ends of hosted tools, sources that nothing cited."""
        self._flush()
        self._add(*self._hosted.settle())
        if "citations" not in self._told_by:
            self._add(*map(pt.Cited, self._sources.values()))
        self._sources = {}

    def _add(self, *parts: pt.Part) -> None:
        """Say something that is not text; held-back text comes first."""
        if parts:
            self._flush()
            self._began = True
            self._parts += parts

    def _flush(self) -> None:
        if self._text_began:  # before, a tag may still come
            self._parts += self._inline.flush()

    def _take(self) -> list[pt.Part]:
        parts, self._parts = self._parts, []
        return parts

    _HANDLERS: ClassVar[dict[str, Callable[["OpenAIResponsesDecoder", _Event], None]]] = {
        "response.content_part.done": _part_done,
        "response.reasoning_summary_part.done": _part_done,
        "response.output_text.annotation.added": lambda self, event: self._cite(
            event.get("annotation"), "annotation"
        ),
        "response.output_item.added": _item_added,
        "response.output_item.done": _item_done,
        "response.function_call_arguments.delta": _arguments,
        "response.function_call_arguments.done": _arguments,
        "response.custom_tool_call_input.delta": _arguments,
        "response.custom_tool_call_input.done": _arguments,
        "response.queued": _head,
        "response.created": _head,
        "response.in_progress": _head,
        "response.completed": _end,
        "response.incomplete": _end,
        "response.failed": _end,
        "response.cancelled": _end,
        "response.done": _end,
        "error": _fail,
    }


def _topic(stem: str) -> str:
    """Summaries and raw thinking tell the same."""
    return _RAW if stem == _SUMMARY else stem
