"""What tenants have spent, from a real ledger."""

from datetime import UTC, datetime
from pathlib import Path

from tellstream.core.usage import FinishReason, Usage
from tellstream.limits.base import Spent
from tellstream.limits.history import MAX_WITHOUT, LedgerHistory
from tellstream.storage.base import Settlement, UsageRow
from tellstream.storage.sqlite import SqliteLedger

NOW = datetime(2026, 4, 22, 12, tzinfo=UTC).timestamp()


async def test_the_day_counts_tokens_and_the_month_money(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    await ledger.start()
    try:
        moments = {
            "last_month": datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC),
            "first": datetime(2026, 4, 1, tzinfo=UTC),
            "yesterday": datetime(2026, 4, 21, 23, 59, 59, tzinfo=UTC),
            "today": datetime(2026, 4, 22, tzinfo=UTC),
            "free": datetime(2026, 4, 22, 1, tzinfo=UTC),
        }
        for n, (name, moment) in enumerate(moments.items()):
            for tenant in (1, 2):
                row = UsageRow(f"{name}-{tenant}", tenant, "ann", "app", "m", 0)
                settlement = Settlement(
                    provider="p",
                    provider_model="m",
                    finished_at=int(moment.timestamp()),
                    finish_reason=FinishReason.STOP,
                    usage=Usage(10**n, tenant),
                    estimated=False,
                    cost=None if name == "free" else 10**n * tenant,
                )
                await ledger.settle(tenant, row.stream_id, settlement, row=row)
        history = LedgerHistory(ledger)
        assert await history(1, NOW, ()) == Spent(tokens=11_000 + 2, cost=1110)
        assert await history(2, NOW, ()) == Spent(tokens=11_000 + 4, cost=2220)
        assert await history(3, NOW, ()) == Spent()
        # What is left out is counted when it is settled.
        assert await history(1, NOW, ("today-1", "unknown")) == Spent(tokens=10_001, cost=110)
        many = [f"s{n}" for n in range(MAX_WITHOUT + 1)]
        assert await history(1, NOW, many) == Spent(tokens=11_000 + 2, cost=1110)
    finally:
        await ledger.close()
