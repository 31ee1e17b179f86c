"""The contract of the usage ledger, the record of what is owed: one row per stream.

A row is opened before the provider is called and settled before the stream's end is visible.
Guarantees that every implementation gives:

- **Written when it returns**: a row that was opened or settled survives the death of the process.
- **Opened once**: opening a row that exists changes nothing, so the call may be repeated.
- **First settlement wins**: of any number of settlements of one row, in any number of processes,
  one is stored, and every caller is told that one; it never changes again.
- **Nothing is lost**: a row whose process died stays, unsettled, and can be found and settled.
- **Scoped**: the tenant is part of every key and of every report.
- **Cancel-safe**: cancelling a task inside ``open`` or ``settle`` does not undo the write; the call
  returns (with ``CancelledError``) only when the write has happened or has failed.

Reports count a stream on the UTC day on which it *finished*: what is reported for a day that is
over does not change, and streams that still run are in no report.
"""

import asyncio
from collections.abc import Collection, Mapping
from datetime import date
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from tellstream.core.errors import ServerError
from tellstream.core.principals import Ctx
from tellstream.core.usage import FinishReason, Usage
from tellstream.storage.first_token import FirstToken

By: TypeAlias = Literal["day", "model", "client", "subject", "stream"]
"""What the rows of a report stand for."""

COST_UNITS: Final = 1_000_000_000
"""Costs are integers, in billionths of the currency: prices per million tokens with three decimals
are exact, sums need no rounding, and 64 bits hold nine thousand million of the currency."""
MAX_COUNT: Final = 1_000_000_000_000
"""The largest stored token count: far above any real one, and small enough that the sum of millions
of rows stays within 64 bits."""


class Settlement(msgspec.Struct, frozen=True):
    """What one stream used, once it is over.

    Attributes:
        provider: the configured provider that answered, or was tried last.
        provider_model: its name of the model.
        finished_at: Unix seconds.
        finish_reason: how the stream ended.
        usage: tokens, summed over the steps.
        estimated: the provider did not say; the counts were worked out here.
        cost: in ``COST_UNITS`` parts of the currency; None: no price is known.
        first_token_ms: milliseconds from the start of the stream to its first content event in the
            log; None: there was none, or it went with its worker.
    """

    provider: str
    provider_model: str
    finished_at: int
    finish_reason: FinishReason
    usage: Usage
    estimated: bool
    cost: int | None = None
    first_token_ms: int | None = None


class UsageRow(msgspec.Struct, frozen=True):
    """What is known of a stream when it starts.

    Attributes:
        stream_id: the stream.
        tenant: whose stream it is.
        subject: who started it.
        client: the OAuth client it was started with.
        model: the name the caller asked for.
        started_at: Unix seconds.
    """

    stream_id: str
    tenant: int
    subject: str
    client: str
    model: str
    started_at: int


class Totals(msgspec.Struct, frozen=True):
    """One row of a report: sums over settled streams; null only if every summand is null.

    Attributes:
        key: the day (``YYYY-MM-DD``), model, client, subject or stream id.
        streams: how many.
        estimated_streams: how many of them have estimated counts.
        cost: in ``COST_UNITS`` parts of the currency.
        finish_reasons: how many ended how; only what there was, and all of them together are
            ``streams``.
        first_token: how long first tokens took; null: there was none.
    """

    key: str
    streams: int
    prompt_tokens: int
    completion_tokens: int
    cache_read_input_tokens: int | None
    cache_write_input_tokens: int | None
    thought_tokens: int | None
    estimated_streams: int
    cost: int | None
    finish_reasons: Mapping[FinishReason, int]
    first_token: FirstToken | None


class Position(NamedTuple):
    """Where a report continues: after the row with this key.

    Attributes:
        key: of the last row that was returned.
        finished_at: of the same row, Unix seconds; only in reports by stream, which are in order of
            time.
    """

    key: str
    finished_at: int = 0


class LedgerUnavailableError(ServerError):
    """The ledger cannot be reached now; it is not known whether a write happened. Try again."""

    def __init__(self, reason: str) -> None:
        super().__init__("service_unavailable", retry_after=1, reason=reason)


class StoreUnavailableError(ServerError):
    """The store cannot be used now; it is not known whether a write happened. Try again."""

    def __init__(self, reason: str) -> None:
        super().__init__("service_unavailable", retry_after=1, reason=reason)


class NotOpenedError(ServerError):
    """A row was to be settled that was never opened, and nothing is known of it."""

    def __init__(self, stream_id: str) -> None:
        super().__init__("server_error", reason=f"no usage row was opened for {stream_id}")


class StoreSetupError(Exception):
    """The store cannot be used as it is set up; the message is one line and says what to do."""


class UsageLedger(Protocol):
    """The usage rows of all streams."""

    async def start(self) -> None:
        """Open the store, and bring its schema up to date.

        Raises:
            StoreSetupError: it cannot be opened, or a newer version of this program made it.
        """

    async def close(self) -> None:
        """Finish what is being written and close the store. May be called again."""

    def open(self, row: UsageRow) -> "asyncio.Future[None]":
        """Open the row of a stream, unless it is open already.

        Returns:
            What to await. It goes on when nobody does, and cannot be cancelled.

        Raises:
            LedgerUnavailableError: the ledger could not be written.
        """

    def settle(
        self, tenant: int, stream_id: str, settlement: Settlement, *, row: UsageRow | None = None
    ) -> "asyncio.Future[Settlement]":
        """Settle the row of a stream, unless it is settled already.

        Token counts outside of 0 to ``MAX_COUNT`` are stored as the nearer of the two: whatever a
        provider reports, its stream can be accounted for.

        Args:
            tenant: whose stream it is.
            stream_id: the stream.
            settlement: what it used.
            row: to be opened first if it never was.

        Returns:
            What to await, as for ``open``: what is stored, ``settlement`` if this was the first,
            else that of whoever was.

        Raises:
            NotOpenedError: there is no such row, and none was given.
            LedgerUnavailableError: the ledger could not be written.
        """

    async def unsettled(self, older_than: int, limit: int) -> list[UsageRow]:
        """Return rows of any tenant that were opened long ago and not settled, oldest first.

        For recovery, which acts for the server and not for a caller.

        Args:
            older_than: Unix seconds; started before that.
            limit: the number of rows, at most.

        Raises:
            LedgerUnavailableError: the ledger could not be read.
        """

    async def totals(
        self,
        ctx: Ctx,
        from_day: date,
        to_day: date,
        by: By,
        cursor: Position | None,
        limit: int,
        without: Collection[str] = (),
    ) -> tuple[list[Totals], Position | None]:
        """Sum up the streams of the caller's tenant that finished in a range of days.

        Rows are ordered by key, by stream in order of time. New streams come to the end of the
        latter, so following the positions misses none and repeats none.

        Args:
            ctx: who asks; sees the whole tenant and nothing else.
            from_day: the first day, UTC.
            to_day: the last day, UTC, included.
            by: what a row stands for.
            cursor: continue after this, or None: from the start.
            limit: the number of rows, at most.
            without: ids of streams to leave out.

        Returns:
            Rows, and where to continue; None if that was all.

        Raises:
            LedgerUnavailableError: the ledger could not be read.
        """
