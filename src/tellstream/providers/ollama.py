"""The ``ollama`` dialect: Ollama's own wire, one JSON object per line.

Unlike its chat completions it says how long the prompt was even when it was cut, and takes its own
options. Both generation endpoints are read: ``/api/chat`` puts text into ``message``,
``/api/generate`` beside it. Calls arrive whole, often without ids.

Source: docs.ollama.com, API reference (chat, generate, streaming, errors).
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tellstream.core import lenient_json
from tellstream.core import parts as pt
from tellstream.core.chat import ChatRequest
from tellstream.core.errors import ProviderError
from tellstream.core.usage import FinishReason, Usage
from tellstream.providers.base import Endpoint, UpstreamRequest, count, field, items
from tellstream.providers.failures import http_failure, stream_failure
from tellstream.providers.inline_thinking import InlineThinking
from tellstream.providers.ndjson_body import NdjsonBody
from tellstream.providers.ollama_request import build_body, url_of

_FINISH: Final = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}


class Ollama:
    """The dialect itself; stateless."""

    def request(self, endpoint: Endpoint, model: str, chat: ChatRequest) -> UpstreamRequest:
        """Build ``POST /api/chat``."""
        return UpstreamRequest(
            url=url_of(endpoint.base_url),
            headers=endpoint.headers("application/x-ndjson"),
            body=msgspec.json.encode(build_body(endpoint.host, model, chat)),
        )

    def decoder(self, endpoint: Endpoint) -> "OllamaDecoder":  # noqa: ARG002
        """Make a decoder for one response."""
        return OllamaDecoder()

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Say what a failed response means."""
        return http_failure(status, headers, body)


class OllamaDecoder:
    """Decodes one body of lines.

    Attributes:
        malformed: lines skipped because they were not a JSON object.
    """

    def __init__(self) -> None:
        self.malformed = 0
        self._body = NdjsonBody()
        self._inline = InlineThinking()
        self._model_said = False
        self._calls = 0
        self._overflowed = False
        self._parts: list[pt.Part] = []

    def feed(self, chunk: bytes) -> list[pt.Part]:
        """Decode the next bytes of the body."""
        self._lines(self._body.feed(chunk))
        return self._take()

    def eof(self) -> list[pt.Part]:
        """Give out what was held back."""
        self._lines(self._body.eof())
        self._parts += self._inline.flush()
        failure = self._body.failure()
        if failure is not None:
            self._parts.append(pt.Failed(failure))
        return self._take()

    def _lines(self, lines: list[bytes]) -> None:
        for line in lines:
            try:
                payload = lenient_json.loads(line)
            except ValueError:
                payload = None
            if isinstance(payload, dict):
                self._line(payload)
            else:
                self.malformed += 1
        if self._body.overflow is not None and not self._overflowed:
            self._overflowed = True
            self._parts += [*self._inline.flush(), pt.Failed(self._body.overflow)]

    def _line(self, payload: dict[str, Any]) -> None:
        model = field(payload, "model", str)
        if model and not self._model_said:
            self._model_said = True
            self._parts.append(pt.Model(model))
        message = field(payload, "message", dict)
        thinking = field(message or payload, "thinking", str)
        if thinking:
            self._parts += [*self._inline.flush(), pt.Thinking(thinking)]
        text = field(message, "content", str) or field(payload, "response", str)
        if text:
            self._parts += self._inline.feed(text)
        for call in items(message, "tool_calls"):
            self._call(call)
        if payload.get("error"):
            self._parts += [*self._inline.flush(), pt.Failed(stream_failure(payload))]
        elif payload.get("done") is True:
            self._end(payload)

    def _call(self, call: Any) -> None:
        """Read a whole call; a text of arguments that is no object is told as it is."""
        function = field(call, "function", dict)
        name = field(function, "name", str) or ""
        arguments = (function or {}).get("arguments")
        key, tool_id = self._calls, field(call, "id", str) or ""
        self._calls += 1
        self._parts += self._inline.flush()
        if isinstance(arguments, str):
            self._parts.append(pt.ToolFragment(key, tool_id, name, arguments))
        else:
            whole = arguments if isinstance(arguments, dict) else {}
            self._parts.append(pt.ToolWhole(key, tool_id, name, whole))

    def _end(self, payload: dict[str, Any]) -> None:
        self._parts += self._inline.flush()
        prompt, completion = count(payload, "prompt_eval_count"), count(payload, "eval_count")
        if prompt is not None or completion is not None:  # a prompt from the cache is left out
            self._parts.append(pt.Used(Usage(prompt or 0, completion or 0)))
        reason = field(payload, "done_reason", str) or "stop"  # old servers do not say it
        finish = _FINISH.get(reason, FinishReason.OTHER)
        if self._calls and finish is FinishReason.STOP:
            finish = FinishReason.TOOL_CALLS
        self._parts += [pt.Finished(finish), pt.Done()]

    def _take(self) -> list[pt.Part]:
        parts, self._parts = self._parts, []
        return parts
