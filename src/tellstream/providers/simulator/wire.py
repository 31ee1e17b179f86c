"""The contract of a wire: requests in, byte frames out. Sans-IO; one file per provider's wire.

Invariant: a wire is a pure function of script, turn and pieces. It does not know about pace, cuts
or HTTP; a frame is what a provider would write at once (an SSE event, an NDJSON line).
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from tellstream.providers.simulator.answer import Delta, Piece, Thinking, Turn
from tellstream.providers.simulator.failure import Failure
from tellstream.providers.simulator.keys import Fault
from tellstream.providers.simulator.script import Script

CREATED: Final = 1_767_225_600  # 2026-01-01: fixed, so that equal requests get equal bytes
HUGE_BYTES: Final = 2 << 20  # larger than any reader should buffer for one event
NOT_UTF8: Final = b'" \xff\xfe\x80"'  # a JSON string that is none
SSE: Final = "text/event-stream; charset=utf-8"


class Frame(NamedTuple):
    """Bytes of the body that belong together, and how many tokens they show."""

    data: bytes
    tokens: int = 0


class RequestError(Exception):
    """A request that the wire cannot read; the message is safe to show."""


class Tally:
    """Counts tokens as they are said: one per delta, so that usage is exact at every frame."""

    def __init__(self, prompt_tokens: int, cached: int = 0) -> None:
        self.prompt_tokens = prompt_tokens
        self.cached_tokens = min(cached, prompt_tokens)
        self.completion_tokens = 0
        self.thinking_tokens = 0

    def add(self, *deltas: Delta) -> None:
        """Count deltas."""
        self.completion_tokens += len(deltas)
        self.thinking_tokens += sum(isinstance(delta, Thinking) for delta in deltas)


class Wire(Protocol):
    """What a wire can do."""

    @property
    def name(self) -> str:
        """The dialect that a client of this wire speaks."""

    @property
    def media_type(self) -> str:
        """The content type of a streamed body."""

    @property
    def keep_alive(self) -> bytes:
        """What the provider writes while it has nothing to say; empty if it writes nothing."""

    def read(self, raw: bytes, path: str) -> Turn:
        """Read a request: its body, and its path with the query.

        Raises:
            RequestError: why it cannot be read.
        """

    def frames(self, script: Script, turn: Turn, pieces: Iterable[Piece]) -> Iterator[Frame]:
        """Write the pieces as the frames of a streamed body."""

    def whole(self, script: Script, turn: Turn, pieces: Iterable[Piece]) -> Frame:
        """Write the pieces as one body, for a request that did not ask for a stream."""

    def fault_frame(self, script: Script, turn: Turn, fault: Fault) -> Frame:
        """Write the frame that this fault (one of EXTRA_FRAMES) adds."""

    def failure(self, failure: Failure) -> bytes:
        """Write the body of an HTTP error."""


def reason_to_give(script: Script, reason: str) -> str:
    """Return the finish reason on wires that have no field for a refusal: there it is the reason.

    A reason that the script names stays what it is.
    """
    return "content_filter" if script.refusal and not script.finish and reason == "stop" else reason
