"""Opening and settling rows: once each, whatever happens meanwhile."""

import asyncio

import pytest

from support.homes import Home
from support.ledger_calls import open_row, settle_row
from support.ledgers import DAY, NOON, report, row, settled, settlement
from tellstream.core.errors import ServerError
from tellstream.core.usage import FinishReason, Usage
from tellstream.storage.base import (
    MAX_COUNT,
    LedgerUnavailableError,
    NotOpenedError,
    UsageRow,
)
from tellstream.storage.ledger import SqlLedger

# --- opening --------------------------------------------------------------------------------------


async def test_an_opened_row_is_stored_when_open_returns(ledger: SqlLedger, home: Home) -> None:
    await ledger.open(row("str_1", 7, subject="ann", client="web", model="small"))
    assert home.stored("tenant, stream_id, subject, client, model, started_at, finished_at") == [
        (7, "str_1", "ann", "web", "small", NOON - 5, None)
    ]


async def test_opening_again_changes_nothing(ledger: SqlLedger, home: Home) -> None:
    await ledger.open(row(model="first"))
    await ledger.open(row(model="second"))
    assert home.stored("model") == [("first",)]


async def test_opening_again_after_the_settlement_changes_nothing(
    ledger: SqlLedger, home: Home
) -> None:
    await settled(ledger, "str_1", prompt=3)
    await ledger.open(row())
    assert home.stored("prompt_tokens, finish_reason") == [(3, "Stop")]


async def test_one_stream_id_in_two_tenants_is_two_rows(ledger: SqlLedger, home: Home) -> None:
    await ledger.open(row("str_1", 1))
    await settled(ledger, "str_1", 2, prompt=4)
    assert home.stored("tenant, prompt_tokens") == [(1, None), (2, 4)]


async def test_text_is_stored_as_it_is(ledger: SqlLedger, home: Home) -> None:
    subject = "Zoë'; DROP TABLE usage; -- 🙂 %s :rows ? \\"
    await ledger.open(row(subject=subject))
    assert home.stored("subject") == [(subject,)]
    assert (await ledger.unsettled(NOON, 1))[0].subject == subject


async def test_a_row_that_cannot_be_text_fails_alone(ledger: SqlLedger, home: Home) -> None:
    good, bad = await asyncio.gather(
        open_row(ledger, row("str_1")),
        open_row(ledger, row("str_2", subject="\ud800")),
        return_exceptions=True,
    )
    assert good is None
    assert isinstance(bad, UnicodeEncodeError)
    assert home.stored("stream_id") == [("str_1",)]


# --- settling -------------------------------------------------------------------------------------


async def test_a_settlement_is_stored_when_settle_returns(ledger: SqlLedger, home: Home) -> None:
    given = settlement(
        usage=Usage(1, 2, 3, 4, 5), estimated=True, cost=6, finish_reason=FinishReason.CANCELLED,
        first_token_ms=7,
    )  # fmt: skip
    await ledger.open(row())
    assert await ledger.settle(1, "str_1", given) == given
    columns = (
        "provider, provider_model, finished_at, finish_reason, prompt_tokens, completion_tokens, "
        "cache_write_input_tokens, cache_read_input_tokens, thought_tokens, estimated, cost, "
        "first_token_ms"
    )
    assert home.stored(columns) == [
        ("xai", "grok", NOON, "Cancelled", 1, 2, 3, 4, 5, 1, 6, 7)
    ]  # fmt: skip


async def test_the_first_settlement_wins_and_every_other_caller_is_told_it(
    ledger: SqlLedger, home: Home
) -> None:
    await ledger.open(row())
    first = settlement(usage=Usage(1, 2, None, 4, None), cost=9, estimated=True, first_token_ms=310)
    assert await ledger.settle(1, "str_1", first) == first
    assert await ledger.settle(1, "str_1", settlement(70, 80, provider="other")) == first
    assert await ledger.settle(1, "str_1", settlement(70, 80), row=row()) == first
    assert home.stored("prompt_tokens, provider") == [(1, "xai")]


async def test_of_settlements_in_one_group_the_first_wins(ledger: SqlLedger) -> None:
    await ledger.open(row())
    found = await asyncio.gather(
        *(settle_row(ledger, 1, "str_1", settlement(prompt)) for prompt in range(1, 51))
    )
    assert set(found) == {settlement(1)}


async def test_settling_a_row_that_was_never_opened_says_so(ledger: SqlLedger, home: Home) -> None:
    await settled(ledger, "str_1", 2)  # another tenant's
    with pytest.raises(NotOpenedError):
        await ledger.settle(1, "str_1", settlement())
    assert len(home.stored()) == 1


async def test_a_row_that_was_never_opened_is_opened_by_a_settlement_that_knows_it(
    ledger: SqlLedger, home: Home
) -> None:
    assert await ledger.settle(1, "str_1", settlement(8), row=row()) == settlement(8)
    assert home.stored("subject, prompt_tokens") == [("ann", 8)]


async def test_a_group_answers_each_of_its_callers(ledger: SqlLedger) -> None:
    await settled(ledger, "str_old", prompt=1)
    await ledger.open(row("str_new"))
    old, new, unknown, opened = await asyncio.gather(
        settle_row(ledger, 1, "str_old", settlement(2)),
        settle_row(ledger, 1, "str_new", settlement(3)),
        settle_row(ledger, 1, "str_none", settlement(4)),
        open_row(ledger, row("str_late")),
        return_exceptions=True,
    )
    assert old == settlement(1)
    assert new == settlement(3)
    assert isinstance(unknown, NotOpenedError)
    assert opened is None


async def test_counts_that_cannot_be_are_stored_as_the_nearest_that_can(
    ledger: SqlLedger, home: Home
) -> None:
    await ledger.open(row())
    absurd = settlement(usage=Usage(2**70, -1, None, MAX_COUNT, 0))
    found = await ledger.settle(1, "str_1", absurd)
    assert found.usage == Usage(MAX_COUNT, 0, None, MAX_COUNT, 0)
    assert home.stored("prompt_tokens, completion_tokens") == [(MAX_COUNT, 0)]
    assert (await report(ledger, "day"))[0].prompt_tokens == MAX_COUNT


@pytest.mark.parametrize("model", ["gr\0ok", "gr\ud800ok", "x" * 100_000])
async def test_a_provider_cannot_make_its_stream_unaccountable(
    ledger: SqlLedger, home: Home, model: str
) -> None:
    await ledger.open(row())
    found = await ledger.settle(1, "str_1", settlement(provider_model=model))
    assert home.stored("provider_model") == [(found.provider_model,)]
    assert len(found.provider_model) in {5, 255}


async def test_unsettled_rows_are_found_oldest_first(ledger: SqlLedger) -> None:
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
    ledger: SqlLedger, home: Home
) -> None:
    tasks = [asyncio.ensure_future(open_row(ledger, row(f"str_{n:03}"))) for n in range(100)]
    await asyncio.sleep(0)  # all of them wait now
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [True, False] * 50
    assert len(home.stored()) == 100


async def test_a_cancelled_caller_waits_until_the_write_has_happened(
    ledger: SqlLedger, home: Home
) -> None:
    await ledger.open(row())
    with home.blocked():
        task = asyncio.ensure_future(settle_row(ledger, 1, "str_1", settlement()))
        for _ in range(3):
            await asyncio.sleep(0.01)
            task.cancel()
        assert not task.done()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert home.stored("prompt_tokens") == [(10,)]


async def test_close_writes_what_waits(home: Home) -> None:
    ledger = home.ledger()
    await ledger.start()
    tasks = [asyncio.ensure_future(open_row(ledger, row(f"str_{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    await ledger.close()
    await asyncio.gather(*tasks)
    assert len(home.stored()) == 20


# --- a ledger that cannot be used -----------------------------------------------------------------


async def test_a_closed_ledger_is_unavailable(home: Home) -> None:
    ledger = home.ledger()
    await ledger.start()
    await ledger.close()
    await ledger.close()
    for use in (
        open_row(ledger, row()),
        settle_row(ledger, 1, "x", settlement()),
        report(ledger, "day"),
    ):
        with pytest.raises(LedgerUnavailableError) as caught:
            await use
        assert (caught.value.status, caught.value.retry_after) == (503, 1)


async def test_a_ledger_that_was_never_started_can_be_closed(home: Home) -> None:
    await home.ledger().close()


async def test_a_row_that_the_database_refuses_does_not_spoil_its_group(
    ledger: SqlLedger, home: Home
) -> None:
    home.refuse("poison")
    results = await asyncio.gather(
        *(
            open_row(ledger, row(f"str_{n}", subject="poison" if n == 1 else "ann"))
            for n in range(4)
        ),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), ServerError, *[type(None)] * 2]
    assert home.stored("stream_id") == [("str_0",), ("str_2",), ("str_3",)]


async def test_too_much_that_waits_is_refused_at_once(ledger: SqlLedger, home: Home) -> None:
    with home.blocked():
        tasks = [asyncio.ensure_future(open_row(ledger, row(f"str_{n}"))) for n in range(10_000)]
        await asyncio.sleep(0)
        with pytest.raises(LedgerUnavailableError):
            await ledger.open(row("str_more"))
    await asyncio.gather(*tasks)
    assert home.stored("count(*), 0") == [(10_000, 0)]
    await ledger.open(row("str_more"))
