"""The ledger's writes as coroutines: of tasks that can be cancelled."""

from tellstream.storage.base import Settlement, UsageRow
from tellstream.storage.ledger import SqlLedger


async def open_row(ledger: SqlLedger, row: UsageRow) -> None:
    """Open a row."""
    await ledger.open(row)


async def settle_row(
    ledger: SqlLedger, tenant: int, stream_id: str, settlement: Settlement
) -> Settlement:
    """Settle a row."""
    return await ledger.settle(tenant, stream_id, settlement)
