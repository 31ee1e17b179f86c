"""What tenants have spent, from the usage ledger: for counters that do not know."""

from collections.abc import Collection
from itertools import islice
from typing import Final

import structlog

from tellstream.core.principals import Ctx
from tellstream.limits.base import Spent
from tellstream.limits.periods import date_of, first_of_month
from tellstream.storage.base import UsageLedger

log = structlog.get_logger("tellstream.limits")

MAX_WITHOUT: Final = 20_000
"""Streams left out of one report: SQLite takes 32,766 parameters. Of what is beyond, those that end
at that very moment are counted twice."""
DAYS: Final = 31
"""Rows of a report of one month by day, at most."""


class LedgerHistory:
    """See ``History``.

    Args:
        ledger: the usage rows.
    """

    def __init__(self, ledger: UsageLedger) -> None:
        self._ledger = ledger

    async def __call__(self, tenant: int, now: float, without: Collection[str]) -> Spent:
        """Sum up the day and the month up to now, without some streams.

        Raises:
            LedgerUnavailableError: the ledger could not be read.
        """
        today = date_of(now)
        server = Ctx(tenant, subject="", client="", scopes=frozenset())  # no caller asks
        first = first_of_month(now)
        if len(without) > MAX_WITHOUT:
            log.warning("limits.seed_approximate", tenant=tenant, streams=len(without))
        left_out = list(islice(without, MAX_WITHOUT))
        rows, _ = await self._ledger.totals(server, first, today, "day", None, DAYS, left_out)
        tokens = sum(
            row.prompt_tokens + row.completion_tokens
            for row in rows
            if row.key == today.isoformat()
        )
        return Spent(tokens, sum(row.cost or 0 for row in rows))
