"""What the ledger was away for is delivered when it is back, once and with the same numbers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from support.ledgers import row, settlement
from tellstream.core.errors import ServerError
from tellstream.storage.base import LedgerUnavailableError, Settlement, UsageRow
from tellstream.storage.sqlite import SqliteLedger
from tellstream.streams import backlog
from tellstream.streams.backlog import Backlog, Debt

PATIENCE = 10.0


class AwayLedger(SqliteLedger):
    """A real ledger that cannot be reached at times.

    Attributes:
        away: whether it cannot be reached now.
        tries: calls of ``settle``.
        refuses: a stream whose row it refuses.
    """

    away = True
    tries = 0
    refuses = ""

    def settle(
        self, tenant: int, stream_id: str, settlement: Settlement, *, row: UsageRow | None = None
    ) -> asyncio.Future[Settlement]:
        self.tries += 1
        if self.away:
            raise LedgerUnavailableError("away")
        if stream_id == self.refuses:
            raise ServerError("server_error", reason="refused")
        return super().settle(tenant, stream_id, settlement, row=row)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(backlog, "CLOSE_SECONDS", 0.3)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[AwayLedger]:
    ledger = AwayLedger(tmp_path / "usage.db")
    await ledger.start()
    yield ledger
    await ledger.close()


def debt(number: int) -> Debt:
    return Debt(row(f"str_{number}"), settlement(number, 5, cost=7))


async def delivered(owed: Backlog) -> None:
    async with asyncio.timeout(PATIENCE):
        while len(owed):  # noqa: ASYNC110 - the background changes it
            await asyncio.sleep(0.005)


async def stored(ledger: AwayLedger, number: int) -> Settlement:
    other = settlement(99, 99)
    return await SqliteLedger.settle(ledger, 1, f"str_{number}", other, row=row(f"str_{number}"))


async def test_all_is_delivered_when_the_ledger_is_back(ledger: AwayLedger) -> None:
    owed = Backlog(ledger)
    for number in range(1, 1200):
        owed.add(debt(number))
    await asyncio.sleep(0.1)
    assert len(owed) == 1199
    assert ledger.tries <= 12  # one question at a time, while nobody answers
    ledger.away = False
    await delivered(owed)
    assert await stored(ledger, 1) == debt(1).settlement
    assert await stored(ledger, 1199) == debt(1199).settlement
    owed.add(debt(2000))  # the next outage
    await delivered(owed)
    assert await stored(ledger, 2000) == debt(2000).settlement
    await owed.close()


async def test_a_row_that_is_refused_does_not_hold_the_others_up(ledger: AwayLedger) -> None:
    ledger.away, ledger.refuses = False, "str_1"
    owed = Backlog(ledger)
    with structlog.testing.capture_logs() as logs:
        for number in (1, 2):
            owed.add(debt(number))
        await delivered(owed)
    assert await stored(ledger, 2) == debt(2).settlement
    lost = [line for line in logs if line["event"] == "usage.not_settled"]
    assert [(line["stream"], line["cost"]) for line in lost] == [("str_1", 7)]
    await owed.close()


async def test_who_stops_tries_once_more_and_leaves_the_numbers_in_the_log(
    ledger: AwayLedger,
) -> None:
    owed = Backlog(ledger)
    owed.add(debt(1))
    ledger.away = False
    await owed.close()
    assert await stored(ledger, 1) == debt(1).settlement
    ledger.away = True
    owed.add(debt(2))
    with structlog.testing.capture_logs() as logs:
        await owed.close()
    (line,) = [line for line in logs if line["event"] == "usage.not_settled"]
    assert (line["stream"], line["usage"], line["log_level"]) == (
        "str_2", debt(2).settlement.usage, "error",
    )  # fmt: skip
    await owed.close()


async def test_what_was_settled_otherwise_is_an_error_in_the_log(ledger: AwayLedger) -> None:
    ledger.away = False
    await stored(ledger, 1)
    owed = Backlog(ledger)
    with structlog.testing.capture_logs() as logs:
        owed.add(debt(1))
        await delivered(owed)
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["usage.differs"]
    await owed.close()


async def test_too_many_are_logged_at_once(
    ledger: AwayLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MAX_DEBTS", 2)
    owed = Backlog(ledger)
    with structlog.testing.capture_logs() as logs:
        for number in range(3):
            owed.add(debt(number))
    assert len(owed) == 2
    assert [(line["event"], line["stream"]) for line in logs] == [("usage.not_settled", "str_2")]
    ledger.away = False
    await owed.close()
