"""A response body that should be server-sent events, and what to do when it is not.

Some servers answer 200 with a page or with a bare JSON error. No SSE line begins with ``<``, ``{``
or ``[``, so the first visible byte tells. Such a body is kept (capped) and judged at its end.
"""

from typing import Final

from tellstream.core import lenient_json
from tellstream.core.errors import ProviderError
from tellstream.core.sse import ServerSentEvent, SseDecoder, SseError
from tellstream.providers.failures import stream_failure

_FOREIGN: Final = b"<{["
_INVISIBLE: Final = b"\xef\xbb\xbf \t\r\n"
_BARE: Final = frozenset({b"error"})
_MAX_FOREIGN_BYTES: Final = 64 * 1024
"""Of a body that is not SSE; enough for any error document."""


class SseBody:
    """Decodes a body into events, or finds out that it is something else.

    A bare ``error: …`` line counts as an event named ``error`` (GPUStack writes such lines).

    Attributes:
        overflow: set once the bytes exceed a size cap.
    """

    __slots__ = ("_decoder", "_foreign", "_sniffed", "overflow")

    def __init__(self) -> None:
        self._decoder = SseDecoder(bare=_BARE)
        self._sniffed = False
        self._foreign: bytes | None = None
        self.overflow: ProviderError | None = None

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Decode the next bytes; nothing comes after ``overflow`` is set."""
        if self.overflow is not None:
            return []
        if not self._sniffed:
            visible = chunk.lstrip(_INVISIBLE)
            if visible:
                self._sniffed = True
                if visible[0] in _FOREIGN:
                    self._foreign = b""
        if self._foreign is not None:
            self._foreign = (self._foreign + chunk)[:_MAX_FOREIGN_BYTES]
            return []
        try:
            return self._decoder.feed(chunk)
        except SseError as error:
            self.overflow = ProviderError("provider_protocol", reason=str(error))
            return error.events

    def eof(self) -> list[ServerSentEvent]:
        """Give out an event whose blank line never came.

        The standard discards it. A wire whose events are complete JSON objects can tell a cut one
        itself, and loses nothing by looking at it.
        """
        if not self._sniffed or self._foreign is not None:
            return []
        return self.feed(b"\n\n")

    def failure(self) -> ProviderError | None:
        """Say what a body that was not SSE means, at its end; None if it was SSE."""
        if self._foreign is None:
            return None
        try:
            payload = lenient_json.loads(self._foreign.lstrip(_INVISIBLE))
        except ValueError:
            return ProviderError("provider_protocol", reason="the body is not an event stream")
        if isinstance(payload, list) and payload:
            payload = payload[0]  # Gemini wraps errors in an array
        if isinstance(payload, dict) and payload.get("error"):
            return stream_failure(payload)
        return ProviderError("provider_protocol", reason="the body is one JSON document")
