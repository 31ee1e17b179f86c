"""What the tests of the usage ledger share: rows, settlements, whole reports."""

import sqlite3
from datetime import date
from pathlib import Path
from typing import Any

from tellstream.core.principals import Ctx
from tellstream.core.usage import FinishReason, Usage
from tellstream.storage.base import By, Settlement, Totals, UsageLedger, UsageRow

NOON = 1776859200  # 2026-04-22, 12:00 UTC
DAY = 86_400


def row(stream_id: str = "str_1", tenant: int = 1, **fields: Any) -> UsageRow:
    values: dict[str, Any] = {
        "subject": "ann",
        "client": "web",
        "model": "small",
        "started_at": NOON - 5,
    }
    return UsageRow(stream_id, tenant, **(values | fields))


def settlement(prompt: int = 10, completion: int = 5, **fields: Any) -> Settlement:
    values: dict[str, Any] = {
        "provider": "xai", "provider_model": "grok", "finished_at": NOON,
        "finish_reason": FinishReason.STOP, "usage": Usage(prompt, completion), "estimated": False,
    }  # fmt: skip
    return Settlement(**(values | fields))


async def settled(
    ledger: UsageLedger, stream_id: str, tenant: int = 1, *, at: int = NOON, **fields: Any
) -> Settlement:
    """Open and settle one row; ``fields`` of the row or of the settlement."""
    opened = {n: fields.pop(n) for n in ("subject", "client", "model") if n in fields}
    await ledger.open(row(stream_id, tenant, **opened))
    return await ledger.settle(tenant, stream_id, settlement(finished_at=at, **fields))


def ctx(tenant: int = 1) -> Ctx:
    return Ctx(tenant, "boss", "console", frozenset({"usage"}))


async def report(
    ledger: UsageLedger,
    by: By,
    tenant: int = 1,
    *,
    first: date = date(2026, 1, 1),
    last: date = date(2026, 12, 31),
    limit: int = 1000,
) -> list[Totals]:
    """Follow a report to its end."""
    found: list[Totals] = []
    cursor = None
    while True:
        rows, cursor = await ledger.totals(ctx(tenant), first, last, by, cursor, limit)
        assert len(rows) <= limit
        found += rows
        if cursor is None:
            return found


def stored(path: Path, columns: str = "*") -> list[tuple[Any, ...]]:
    """Look into the file."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"SELECT {columns} FROM usage ORDER BY 1").fetchall()
    finally:
        connection.close()
