"""What every worker can know of a stream, stored beside its frames."""

from typing import Literal, TypeAlias

import msgspec

from tellstream.core.prices import Price
from tellstream.core.principals import Ctx
from tellstream.core.usage import FinishReason, Usage

State: TypeAlias = Literal["running", "finished"]


class Attempt(msgspec.Struct, frozen=True):
    """One call of one target.

    Attributes:
        provider: the configured provider.
        model: the provider's name of the model.
        error: the code it failed with, or None.
        milliseconds: how long it took.
    """

    provider: str
    model: str
    error: str | None
    milliseconds: int


class StreamState(msgspec.Struct, frozen=True):
    """What the API tells of a stream; times in Unix seconds."""

    id: str
    state: State
    model: str
    provider: str
    created_at: int
    finished_at: int | None
    finish_reason: FinishReason | None
    usage: Usage | None
    estimated: bool
    attempts: tuple[Attempt, ...]


class StreamRecord(msgspec.Struct, frozen=True):
    """The record of a stream in the event log.

    Attributes:
        tenant: whose stream it is.
        subject: who started it.
        client: the OAuth client it was started with.
        model: the name the caller asked for.
        state: what the API tells.
        metadata: echoed in ``stream_start``, which may have to be written by another worker.
        prompt_tokens: estimate, in case the provider's count is lost with the worker.
        price: of the model when it started, or None.
        reading_on: it was cancelled, and its producer reads the answer on for its usage.
    """

    tenant: int
    subject: str
    client: str
    model: str
    state: StreamState
    metadata: dict[str, str] | None
    prompt_tokens: int
    price: Price | None = None
    reading_on: bool = False

    def may(self, ctx: Ctx) -> bool:
        """Whether the caller may know of the stream."""
        return may_know(ctx, self.tenant, self.subject)

    def encode(self) -> bytes:
        """Encode for the log."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, record: bytes) -> "StreamRecord":
        """Decode what ``encode`` made.

        Raises:
            msgspec.ValidationError: it was not made by it.
        """
        return _DECODER.decode(record)


def may_know(ctx: Ctx, tenant: int, subject: str) -> bool:
    """Whether the caller may know of a stream that ``subject`` started in ``tenant``."""
    return tenant == ctx.tenant and (subject == ctx.subject or "streams:all" in ctx.scopes)


_DECODER = msgspec.json.Decoder(StreamRecord)
