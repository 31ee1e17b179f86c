"""What tenants have spent, from the usage ledger: for counters that do not know."""

from typing import Final

from tellstream.core.principals import Ctx
from tellstream.limits.base import Spent
from tellstream.limits.periods import date_of, first_of_month
from tellstream.storage.base import UsageLedger

DAYS: Final = 31
"""Rows of a report of one month by day, at most."""


class LedgerHistory:
    """See ``History``.

    Args:
        ledger: the usage rows.
    """

    def __init__(self, ledger: UsageLedger) -> None:
        self._ledger = ledger

    async def __call__(self, tenant: int, now: float) -> Spent:
        """Sum up the day and the month up to now.

        Raises:
            LedgerUnavailableError: the ledger could not be read.
        """
        today = date_of(now)
        server = Ctx(tenant, subject="", client="", scopes=frozenset())  # no caller asks
        rows, _ = await self._ledger.totals(server, first_of_month(now), today, "day", None, DAYS)
        tokens = sum(
            row.prompt_tokens + row.completion_tokens
            for row in rows
            if row.key == today.isoformat()
        )
        return Spent(tokens, sum(row.cost or 0 for row in rows))
