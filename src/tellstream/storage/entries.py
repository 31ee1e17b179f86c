"""Rows on their way to the database: bounded and encoded in the task that writes them.

So what cannot be stored fails there, and cannot spoil what others write at the same time.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from tellstream.core.usage import FinishReason, Usage
from tellstream.storage.base import MAX_COUNT, Settlement, UsageRow

log = structlog.get_logger("tellstream.ledger")

MAX_MODEL_CHARS: Final = 255
"""Of a provider's name of a model; what is longer is cut."""
_encode: Final = msgspec.json.Encoder().encode


class Entry(NamedTuple):
    """One thing to write: the opening of a row, its settlement, or both.

    Attributes:
        tenant: whose stream it is.
        stream_id: the stream.
        opened: the columns OPENED as JSON, or None.
        settlement: what ``settled`` says, or None.
        settled: the key and the columns SETTLED as JSON, or None.
    """

    tenant: int
    stream_id: str
    opened: bytes | None = None
    settlement: Settlement | None = None
    settled: bytes | None = None

    @property
    def key(self) -> tuple[int, str]:
        """What the row is found by."""
        return self.tenant, self.stream_id


def opening(row: UsageRow) -> Entry:
    """Make the entry that opens ``row``."""
    return Entry(row.tenant, row.stream_id, opened=_opened(row))


def settling(tenant: int, stream_id: str, given: Settlement, row: UsageRow | None) -> Entry:
    """Make the entry that settles a row; what cannot be stored as it is, is put into bounds."""
    settlement = _bounded(stream_id, given)
    opened = None if row is None else _opened(row)
    settled = _settled(tenant, stream_id, settlement)
    return Entry(tenant, stream_id, opened, settlement, settled)


def key_json(key: tuple[int, str]) -> bytes:
    """Encode what a row is found by."""
    return _encode(key)


def joined(rows: Iterable[bytes]) -> str:
    """Make the parameter ``rows`` of a statement."""
    return (b"[" + b",".join(rows) + b"]").decode()


def stored(columns: Sequence[Any]) -> Settlement:
    """Read the columns SETTLED of a settled row."""
    provider, model, finished_at, reason, *counts, estimated, cost, first = columns
    return Settlement(
        provider, model, finished_at, FinishReason(reason), Usage(*counts), estimated, cost, first
    )


def _opened(row: UsageRow) -> bytes:
    return _encode((row.tenant, row.stream_id, row.subject, row.client, row.model, row.started_at))


def _settled(tenant: int, stream_id: str, settlement: Settlement) -> bytes:
    return _encode(
        (
            tenant,
            stream_id,
            settlement.provider,
            settlement.provider_model,
            settlement.finished_at,
            settlement.finish_reason,
            *msgspec.structs.astuple(settlement.usage),
            settlement.estimated,
            settlement.cost,
            settlement.first_token_ms,
        )
    )


def _bounded(stream_id: str, settlement: Settlement) -> Settlement:
    """Keep what a provider says within what can be stored, and counts within what can be summed."""
    model = settlement.provider_model
    if len(model) > MAX_MODEL_CHARS or not model.isprintable():
        model = model[:MAX_MODEL_CHARS].encode(errors="replace").decode().replace("\0", "?")
        settlement = msgspec.structs.replace(settlement, provider_model=model)
    counts = msgspec.structs.astuple(settlement.usage)
    if all(count is None or 0 <= count <= MAX_COUNT for count in counts):
        return settlement
    log.warning("ledger.count_out_of_bounds", stream=stream_id, counts=counts)
    bounded = [None if n is None else min(max(n, 0), MAX_COUNT) for n in counts]
    usage = msgspec.convert(dict(zip(Usage.__struct_fields__, bounded, strict=True)), Usage)
    return msgspec.structs.replace(settlement, usage=usage)
