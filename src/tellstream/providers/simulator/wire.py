"""The contract of a wire: requests in, byte frames out. Sans-IO; one file per provider's wire.

Invariant: a wire is a pure function of script, turn and pieces. It does not know about pace, cuts
or HTTP; a frame is what a provider would write at once (an SSE event, an NDJSON line).
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from tellstream.providers.simulator.answer import Delta, Piece, Thinking, Turn
from tellstream.providers.simulator.failure import Failure
from tellstream.providers.simulator.keys import Fault
from tellstream.providers.simulator.script import Script


class Frame(NamedTuple):
    """Bytes of the body that belong together, and how many tokens they show."""

    data: bytes
    tokens: int = 0


class RequestError(Exception):
    """A request that the wire cannot read; the message is safe to show."""


class Tally:
    """Counts tokens as they are said: one per delta, so that usage is exact at every frame."""

    def __init__(self, prompt_tokens: int) -> None:
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = 0
        self.thinking_tokens = 0

    def add(self, delta: Delta) -> None:
        """Count one delta."""
        self.completion_tokens += 1
        if isinstance(delta, Thinking):
            self.thinking_tokens += 1


class Wire(Protocol):
    """What a wire can do."""

    @property
    def media_type(self) -> str:
        """The content type of a streamed body."""

    @property
    def keep_alive(self) -> bytes:
        """What the provider writes while it has nothing to say."""

    def read(self, raw: bytes) -> Turn:
        """Read a request body; RequestError says why it cannot be read."""

    def frames(self, script: Script, turn: Turn, pieces: Iterable[Piece]) -> Iterator[Frame]:
        """Write the pieces as the frames of a streamed body."""

    def whole(self, script: Script, turn: Turn, pieces: Iterable[Piece]) -> Frame:
        """Write the pieces as one body, for a request that did not ask for a stream."""

    def fault_frame(self, script: Script, turn: Turn, fault: Fault) -> Frame:
        """Write the frame that this fault (one of EXTRA_FRAMES) adds."""

    def failure(self, failure: Failure) -> bytes:
        """Write the body of an HTTP error."""

    def models(self, names: Iterable[str]) -> bytes:
        """Write the list of models."""
