"""Opening and settling rows: once each, whatever happens meanwhile."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from support.ledgers import DAY, NOON, report, row, settled, settlement, stored
from tellstream.core.errors import ServerError
from tellstream.core.usage import FinishReason, Usage
from tellstream.storage.base import (
    MAX_COUNT,
    LedgerUnavailableError,
    NotOpenedError,
    UsageRow,
)
from tellstream.storage.sqlite import SqliteLedger

# --- opening --------------------------------------------------------------------------------------


async def test_an_opened_row_is_in_the_file_when_open_returns(
    ledger: SqliteLedger, path: Path
) -> None:
    await ledger.open(row("str_1", 7, subject="ann", client="web", model="small"))
    assert stored(path, "tenant, stream_id, subject, client, model, started_at, finished_at") == [
        (7, "str_1", "ann", "web", "small", NOON - 5, None)
    ]


async def test_opening_again_changes_nothing(ledger: SqliteLedger, path: Path) -> None:
    await ledger.open(row(model="first"))
    await ledger.open(row(model="second"))
    assert stored(path, "model") == [("first",)]


async def test_opening_again_after_the_settlement_changes_nothing(
    ledger: SqliteLedger, path: Path
) -> None:
    await settled(ledger, "str_1", prompt=3)
    await ledger.open(row())
    assert stored(path, "prompt_tokens, finish_reason") == [(3, "Stop")]


async def test_one_stream_id_in_two_tenants_is_two_rows(ledger: SqliteLedger, path: Path) -> None:
    await ledger.open(row("str_1", 1))
    await settled(ledger, "str_1", 2, prompt=4)
    assert stored(path, "tenant, prompt_tokens") == [(1, None), (2, 4)]


async def test_text_is_stored_as_it_is(ledger: SqliteLedger, path: Path) -> None:
    subject = "Zoë'; DROP TABLE usage; -- 🙂 %s :rows ? \\"
    await ledger.open(row(subject=subject))
    assert stored(path, "subject") == [(subject,)]
    assert (await ledger.unsettled(NOON, 1))[0].subject == subject


async def test_a_row_that_cannot_be_text_fails_alone(ledger: SqliteLedger, path: Path) -> None:
    good, bad = await asyncio.gather(
        ledger.open(row("str_1")),
        ledger.open(row("str_2", subject="\ud800")),
        return_exceptions=True,
    )
    assert good is None
    assert isinstance(bad, UnicodeEncodeError)
    assert stored(path, "stream_id") == [("str_1",)]


# --- settling -------------------------------------------------------------------------------------


async def test_a_settlement_is_in_the_file_when_settle_returns(
    ledger: SqliteLedger, path: Path
) -> None:
    given = settlement(
        usage=Usage(1, 2, 3, 4, 5), estimated=True, cost=6, finish_reason=FinishReason.CANCELLED
    )
    await ledger.open(row())
    assert await ledger.settle(1, "str_1", given) == given
    columns = (
        "provider, provider_model, finished_at, finish_reason, prompt_tokens, completion_tokens, "
        "cache_write_input_tokens, cache_read_input_tokens, thought_tokens, estimated, cost"
    )
    assert stored(path, columns) == [
        ("xai", "grok", NOON, "Cancelled", 1, 2, 3, 4, 5, 1, 6)
    ]  # fmt: skip


async def test_the_first_settlement_wins_and_every_other_caller_is_told_it(
    ledger: SqliteLedger, path: Path
) -> None:
    await ledger.open(row())
    first = settlement(usage=Usage(1, 2, None, 4, None), cost=9, estimated=True)
    assert await ledger.settle(1, "str_1", first) == first
    assert await ledger.settle(1, "str_1", settlement(70, 80, provider="other")) == first
    assert await ledger.settle(1, "str_1", settlement(70, 80), row=row()) == first
    assert stored(path, "prompt_tokens, provider") == [(1, "xai")]


async def test_of_settlements_in_one_group_the_first_wins(ledger: SqliteLedger) -> None:
    await ledger.open(row())
    found = await asyncio.gather(
        *(ledger.settle(1, "str_1", settlement(prompt)) for prompt in range(1, 51))
    )
    assert set(found) == {settlement(1)}


async def test_settling_a_row_that_was_never_opened_says_so(
    ledger: SqliteLedger, path: Path
) -> None:
    await settled(ledger, "str_1", 2)  # another tenant's
    with pytest.raises(NotOpenedError):
        await ledger.settle(1, "str_1", settlement())
    assert len(stored(path)) == 1


async def test_a_row_that_was_never_opened_is_opened_by_a_settlement_that_knows_it(
    ledger: SqliteLedger, path: Path
) -> None:
    assert await ledger.settle(1, "str_1", settlement(8), row=row()) == settlement(8)
    assert stored(path, "subject, prompt_tokens") == [("ann", 8)]


async def test_a_group_answers_each_of_its_callers(ledger: SqliteLedger) -> None:
    await settled(ledger, "str_old", prompt=1)
    await ledger.open(row("str_new"))
    old, new, unknown, opened = await asyncio.gather(
        ledger.settle(1, "str_old", settlement(2)),
        ledger.settle(1, "str_new", settlement(3)),
        ledger.settle(1, "str_none", settlement(4)),
        ledger.open(row("str_late")),
        return_exceptions=True,
    )
    assert old == settlement(1)
    assert new == settlement(3)
    assert isinstance(unknown, NotOpenedError)
    assert opened is None


async def test_counts_that_cannot_be_are_stored_as_the_nearest_that_can(
    ledger: SqliteLedger, path: Path
) -> None:
    await ledger.open(row())
    absurd = settlement(usage=Usage(2**70, -1, None, MAX_COUNT, 0))
    found = await ledger.settle(1, "str_1", absurd)
    assert found.usage == Usage(MAX_COUNT, 0, None, MAX_COUNT, 0)
    assert stored(path, "prompt_tokens, completion_tokens") == [(MAX_COUNT, 0)]
    assert (await report(ledger, "day"))[0].prompt_tokens == MAX_COUNT


@pytest.mark.parametrize("model", ["gr\0ok", "gr\ud800ok", "x" * 100_000])
async def test_a_provider_cannot_make_its_stream_unaccountable(
    ledger: SqliteLedger, path: Path, model: str
) -> None:
    await ledger.open(row())
    found = await ledger.settle(1, "str_1", settlement(provider_model=model))
    assert stored(path, "provider_model") == [(found.provider_model,)]
    assert len(found.provider_model) in {5, 255}


async def test_unsettled_rows_are_found_oldest_first(ledger: SqliteLedger) -> None:
    await settled(ledger, "str_done")
    for stream_id, tenant, age in (("b", 1, 2), ("c", 2, 3), ("a", 1, 1), ("young", 1, 0)):
        await ledger.open(row(stream_id, tenant, started_at=NOON - age * DAY))
    found = await ledger.unsettled(NOON, 10)
    assert [(waiting.tenant, waiting.stream_id) for waiting in found] == [
        (2, "c"), (1, "b"), (1, "a"),
    ]  # fmt: skip
    assert found[0] == UsageRow("c", 2, "ann", "web", "small", NOON - 3 * DAY)
    assert [waiting.stream_id for waiting in await ledger.unsettled(NOON, 1)] == ["c"]


# --- cancellation ---------------------------------------------------------------------------------


async def test_a_cancelled_caller_neither_tears_nor_loses_its_group(
    ledger: SqliteLedger, path: Path
) -> None:
    tasks = [asyncio.ensure_future(ledger.open(row(f"str_{n:03}"))) for n in range(100)]
    await asyncio.sleep(0)  # all of them wait now
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [True, False] * 50
    assert len(stored(path)) == 100


async def test_a_cancelled_caller_waits_until_the_write_has_happened(
    ledger: SqliteLedger, path: Path
) -> None:
    await ledger.open(row())
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    try:
        task = asyncio.ensure_future(ledger.settle(1, "str_1", settlement()))
        for _ in range(3):
            await asyncio.sleep(0.01)
            task.cancel()
        assert not task.done()
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stored(path, "prompt_tokens") == [(10,)]


async def test_close_writes_what_waits(path: Path) -> None:
    ledger = SqliteLedger(path)
    await ledger.start()
    tasks = [asyncio.ensure_future(ledger.open(row(f"str_{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    await ledger.close()
    await asyncio.gather(*tasks)
    assert len(stored(path)) == 20


# --- a ledger that cannot be used -----------------------------------------------------------------


async def test_a_closed_ledger_is_unavailable(path: Path) -> None:
    ledger = SqliteLedger(path)
    await ledger.start()
    await ledger.close()
    await ledger.close()
    for use in (ledger.open(row()), ledger.settle(1, "x", settlement()), report(ledger, "day")):
        with pytest.raises(LedgerUnavailableError) as caught:
            await use
        assert (caught.value.status, caught.value.retry_after) == (503, 1)


async def test_a_ledger_that_was_never_started_can_be_closed(path: Path) -> None:
    await SqliteLedger(path).close()


async def test_a_file_that_stays_locked_makes_it_unavailable_until_it_is_free(path: Path) -> None:
    ledger = SqliteLedger(path, busy_seconds=0.05)
    await ledger.start()
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailableError) as caught:
        await ledger.open(row())
    assert caught.value.reason == "database is locked"
    assert await report(ledger, "day") == []  # reading goes on
    blocker.execute("ROLLBACK")
    blocker.close()
    await ledger.open(row())
    assert len(stored(path)) == 1
    await ledger.close()


async def test_a_broken_table_makes_it_unavailable_and_it_recovers(
    ledger: SqliteLedger, path: Path
) -> None:
    """Every caller of the group is told, with an error of its own."""
    other = sqlite3.connect(path)
    other.execute("ALTER TABLE usage RENAME TO away")
    opening = [ledger.open(row(f"str_{n}")) for n in range(3)]
    errors = await asyncio.gather(*opening, return_exceptions=True)
    assert [type(error) for error in errors] == [LedgerUnavailableError] * 3
    assert len(set(map(id, errors))) == 3
    with pytest.raises(LedgerUnavailableError):
        await report(ledger, "day")
    other.execute("ALTER TABLE away RENAME TO usage")
    other.close()
    await ledger.open(row())
    assert len(stored(path)) == 1


async def test_a_row_that_the_database_refuses_does_not_spoil_its_group(
    ledger: SqliteLedger, path: Path
) -> None:
    other = sqlite3.connect(path)
    other.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON usage WHEN new.subject = 'poison' "
        "BEGIN SELECT raise(ABORT, 'no'); END"
    )
    other.close()
    results = await asyncio.gather(
        *(ledger.open(row(f"str_{n}", subject="poison" if n == 1 else "ann")) for n in range(4)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), ServerError, *[type(None)] * 2]
    assert stored(path, "stream_id") == [("str_0",), ("str_2",), ("str_3",)]


async def test_too_much_that_waits_is_refused_at_once(ledger: SqliteLedger, path: Path) -> None:
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    tasks = [asyncio.ensure_future(ledger.open(row(f"str_{n}"))) for n in range(10_000)]
    try:
        await asyncio.sleep(0)
        with pytest.raises(LedgerUnavailableError):
            await ledger.open(row("str_more"))
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()
    await asyncio.gather(*tasks)
    assert stored(path, "count(*), 0") == [(10_000, 0)]
    await ledger.open(row("str_more"))
