"""The ``gemini`` dialect: Google's ``streamGenerateContent``, at the Gemini API and at Vertex AI.

Source: Gemini API reference, "Generating content", and Vertex AI's. Every chunk is a whole response
with the next parts of the answer. There is no terminal marker: the end of the body after a finish
reason, or after a blocked prompt, proves the end. Errors may come as an event, as a bare document
behind the events, or instead of them. Only candidate 0 counts.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from tellstream.core import lenient_json
from tellstream.core import parts as pt
from tellstream.core.chat import ChatRequest
from tellstream.core.errors import ProviderError
from tellstream.core.events import ArtifactData
from tellstream.core.usage import FinishReason
from tellstream.providers.base import Endpoint, UpstreamRequest, field, items
from tellstream.providers.failures import http_failure, stream_failure
from tellstream.providers.gemini_body import GeminiBody
from tellstream.providers.gemini_calls import FunctionCall
from tellstream.providers.gemini_citations import Sources
from tellstream.providers.gemini_request import build_body
from tellstream.providers.gemini_usage import usage_of

_DONE: Final = b"[DONE]"
"""Not Google's; gateways that serve several wires send it at the end."""
_FINISH: Final = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "SAFETY": FinishReason.CONTENT_FILTER,
    "RECITATION": FinishReason.CONTENT_FILTER,
    "BLOCKLIST": FinishReason.CONTENT_FILTER,
    "PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "SPII": FinishReason.CONTENT_FILTER,
    "MODEL_ARMOR": FinishReason.CONTENT_FILTER,
    "IMAGE_SAFETY": FinishReason.CONTENT_FILTER,
    "IMAGE_PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "IMAGE_RECITATION": FinishReason.CONTENT_FILTER,
    "MALFORMED_FUNCTION_CALL": FinishReason.ERROR,
    "UNEXPECTED_TOOL_CALL": FinishReason.ERROR,
    "TOO_MANY_TOOL_CALLS": FinishReason.ERROR,
    "MISSING_THOUGHT_SIGNATURE": FinishReason.ERROR,
    "MALFORMED_RESPONSE": FinishReason.ERROR,
}
_UNSPECIFIED: Final = "_UNSPECIFIED"
"""Ending of an enumeration's value that says nothing."""
_CODE: Final = "code_execution"
_PATH_CHARACTERS: Final = "/@"
"""Left as they are in a model's name; anything else that means something in a URL is escaped."""


class Gemini:
    """The dialect itself; stateless."""

    def request(self, endpoint: Endpoint, model: str, chat: ChatRequest) -> UpstreamRequest:
        """Build ``POST {base_url}/models/{model}:streamGenerateContent``.

        A model's name with a slash (``tunedModels/…``) says itself where it stands.
        """
        path = quote(model if "/" in model else f"models/{model}", safe=_PATH_CHARACTERS)
        return UpstreamRequest(
            url=f"{endpoint.base_url}/{path}:streamGenerateContent?alt=sse",
            headers=endpoint.headers("text/event-stream"),
            body=msgspec.json.encode(build_body(endpoint.host, model, chat)),
        )

    def decoder(self, endpoint: Endpoint) -> "GeminiDecoder":  # noqa: ARG002
        """Make a decoder for one response; all hosts are read alike."""
        return GeminiDecoder()

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """Say what a failed response means."""
        return http_failure(status, headers, body)


class GeminiDecoder:
    """Decodes one body of ``GenerateContentResponse`` documents.

    Attributes:
        malformed: documents skipped because they were not a JSON object.
    """

    def __init__(self) -> None:
        self.malformed = 0
        self._body = GeminiBody()
        self._model_said = False
        self._answer: list[str] = []  # to find the places of sources in it
        self._sources = Sources()
        self._call: FunctionCall | None = None  # the one whose arguments still arrive
        self._calls = 0
        self._runs = 0
        self._run_id = ""
        self._parts: list[pt.Part] = []

    def feed(self, chunk: bytes) -> list[pt.Part]:
        """Decode the next bytes of the body."""
        for document in self._body.feed(chunk):
            self._document(document)
        if self._body.overflow is not None:
            self._settle()
            self._parts.append(pt.Failed(self._body.overflow))
        return self._take()

    def eof(self) -> list[pt.Part]:
        """Give out what was held back."""
        for document in self._body.eof():
            self._document(document)
        self._settle()
        failure = self._body.failure()
        if failure is not None:
            self._parts.append(pt.Failed(failure))
        return self._take()

    def _document(self, document: bytes) -> None:
        try:
            payload = lenient_json.loads(document)
        except ValueError:
            payload = None
        if isinstance(payload, dict):
            self._chunk(payload)
        elif document.strip() == _DONE:
            self._settle()
            self._parts.append(pt.Done())
        else:
            self.malformed += 1

    def _chunk(self, payload: dict[str, Any]) -> None:
        model = field(payload, "modelVersion", str)
        if model and not self._model_said:
            self._model_said = True
            self._parts.append(pt.Model(model))
        candidates = items(payload, "candidates")
        for candidate in candidates:
            if isinstance(candidate, dict) and (field(candidate, "index", int) or 0) == 0:
                self._candidate(candidate)
        blocked = field(field(payload, "promptFeedback", dict), "blockReason", str)
        if blocked and not candidates and not blocked.endswith(_UNSPECIFIED):
            self._parts.append(pt.Finished(FinishReason.CONTENT_FILTER))
        raw = field(payload, "usageMetadata", dict)
        usage = usage_of(raw) if raw else None
        if usage is not None:
            self._parts.append(pt.Used(usage))
        if payload.get("error"):
            self._settle()
            self._parts.append(pt.Failed(stream_failure(payload)))

    def _candidate(self, candidate: dict[str, Any]) -> None:
        for part in items(field(candidate, "content", dict), "parts"):
            if isinstance(part, dict):
                self._part(part)
        self._sources.add(candidate)
        reason = field(candidate, "finishReason", str)
        if reason and not reason.endswith(_UNSPECIFIED):
            self._parts.append(pt.Finished(_FINISH.get(reason, FinishReason.OTHER)))

    def _part(self, part: dict[str, Any]) -> None:
        thought = part.get("thought") is True
        text = field(part, "text", str)
        if text and thought:
            self._parts.append(pt.Thinking(text))
        elif text:
            self._answer.append(text)
            self._parts.append(pt.Text(text))
        call = field(part, "functionCall", dict)
        if call is not None:
            self._function_call(call, field(part, "thoughtSignature", str))
        self._code(part)
        file = field(part, "inlineData", dict)
        data, kind = field(file, "data", str), field(file, "mimeType", str)
        if data and kind and not thought:  # pictures in thoughts are drafts
            self._parts.append(pt.Attached(ArtifactData(None, data, kind, {})))

    def _function_call(self, call: dict[str, Any], signature: str | None) -> None:
        name, tool_id = field(call, "name", str), field(call, "id", str)
        if self._call is not None and name and not (tool_id and tool_id == self._call.tool_id):
            self._end_call(ended=True)  # another one begins
        if self._call is None:
            if not name:
                return
            self._calls += 1
            self._call = FunctionCall(self._calls, call)
        self._call.take(call, signature)
        if call.get("willContinue") is not True:
            self._end_call(ended=True)

    def _end_call(self, *, ended: bool) -> None:
        if self._call is not None:
            self._parts += self._call.parts(ended=ended)
            self._call = None

    def _code(self, part: dict[str, Any]) -> None:
        """Code that runs at the provider: the call is complete as it comes, its result follows."""
        code = field(part, "executableCode", dict)
        if code is not None:
            self._runs += 1
            self._run_id = field(code, "id", str) or f"{_CODE}_{self._runs}"
            self._parts += [
                pt.ProviderTool(_CODE, status, self._run_id, code)
                for status in ("started", "completed")
            ]
        result = field(part, "codeExecutionResult", dict)
        if result is not None:
            item_id = field(result, "id", str) or self._run_id
            self._parts.append(pt.ProviderTool(_CODE, "result_received", item_id, result))

    def _settle(self) -> None:
        """Give out a call that was cut, and the sources."""
        self._end_call(ended=False)
        citations = self._sources.take("".join(self._answer))
        self._parts += [pt.Cited(citation) for citation in citations]

    def _take(self) -> list[pt.Part]:
        parts, self._parts = self._parts, []
        return parts
