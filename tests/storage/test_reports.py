"""Reports: exact sums, one tenant, whole days, and pages that fit together."""

from datetime import date

import pytest

from support.ledgers import DAY, NOON, ctx, report, row, settled
from tellstream.core.usage import FinishReason, Usage
from tellstream.storage.base import By, Position, Totals
from tellstream.storage.first_token import BOUNDS, FirstToken
from tellstream.storage.ledger import SqlLedger

EVERY: tuple[By, ...] = ("day", "model", "client", "subject", "stream")
MIDNIGHT = NOON - DAY // 2  # of 2026-04-22, UTC


@pytest.fixture
async def filled(ledger: SqlLedger) -> SqlLedger:
    """Two tenants whose streams are called, started and counted alike, but for the numbers."""
    for tenant, factor in ((1, 1), (2, 1000)):
        for number in range(6):
            await settled(
                ledger,
                f"str_{number}",
                tenant,
                at=NOON + (number // 2) * DAY,
                model="large" if number == 5 else "small",
                client=f"client-{number % 2}",
                subject=f"subject-{number % 3}",
                usage=Usage(factor * (number + 1), factor * 10 * (number + 1)),
                estimated=number == 4,
            )
    return ledger


def prompts(rows: list[Totals]) -> dict[str, int]:
    return {found.key: found.prompt_tokens for found in rows}


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("day", {"2026-04-22": 3, "2026-04-23": 7, "2026-04-24": 11}),
        ("model", {"large": 6, "small": 15}),
        ("client", {"client-0": 9, "client-1": 12}),
        ("subject", {"subject-0": 5, "subject-1": 7, "subject-2": 9}),
        ("stream", {f"str_{number}": number + 1 for number in range(6)}),
    ],
)
async def test_sums_are_those_of_the_callers_tenant(
    filled: SqlLedger, by: By, expected: dict[str, int]
) -> None:
    rows = await report(filled, by)
    assert prompts(rows) == expected
    assert list(prompts(rows)) == sorted(expected)
    assert [found.completion_tokens for found in rows] == [10 * n for n in expected.values()]
    assert sum(found.streams for found in rows) == 6
    assert sum(found.estimated_streams for found in rows) == 1
    others = prompts(await report(filled, by, 2))
    assert others == {key: 1000 * count for key, count in expected.items()}


@pytest.mark.parametrize("by", EVERY)
async def test_a_tenant_without_streams_has_an_empty_report(filled: SqlLedger, by: By) -> None:
    assert await report(filled, by, 3) == []


@pytest.mark.parametrize("by", EVERY)
async def test_a_stream_that_runs_is_in_no_report(ledger: SqlLedger, by: By) -> None:
    await ledger.open(row())
    assert await report(ledger, by) == []


async def test_a_count_is_null_only_if_it_is_null_everywhere(ledger: SqlLedger) -> None:
    await settled(ledger, "a", usage=Usage(1, 1, None, 3, None))
    await settled(ledger, "b", usage=Usage(1, 1, None, None, 0), cost=5)
    await settled(ledger, "c", usage=Usage(1, 1, None, 4, None), cost=7)
    assert await report(ledger, "day") == [
        Totals("2026-04-22", 3, 3, 3, 7, None, 0, 0, 12, {FinishReason.STOP: 3}, None)
    ]


async def test_a_report_counts_ends_and_times_to_the_first_token(ledger: SqlLedger) -> None:
    for number, (name, time) in enumerate(
        [("Stop", 90), ("Stop", 310), ("Error", None), ("Cancelled", 61_000), ("Stop", None)]
    ):
        model, reason = "large" if number == 4 else "small", FinishReason(name)
        await settled(
            ledger, f"str_{number}", model=model, finish_reason=reason, first_token_ms=time
        )
    await settled(ledger, "str_1", 2, finish_reason=FinishReason.LENGTH, first_token_ms=7)
    large, small = await report(ledger, "model")
    assert (large.finish_reasons, large.first_token) == ({FinishReason.STOP: 1}, None)
    assert small.finish_reasons == {"Stop": 2, "Error": 1, "Cancelled": 1}
    counts = [0] * (len(BOUNDS) + 1)
    counts[0] = counts[3] = counts[-1] = 1
    assert small.first_token == FirstToken(3, 61_400, 90, 61_000, tuple(counts))


@pytest.mark.parametrize(
    ("at", "day"),
    [
        (MIDNIGHT - 1, "2026-04-21"),
        (MIDNIGHT, "2026-04-22"),
        (MIDNIGHT + DAY - 1, "2026-04-22"),
        (MIDNIGHT + DAY, "2026-04-23"),
    ],
)
async def test_days_are_utc_and_both_ends_are_included(
    ledger: SqlLedger, at: int, day: str
) -> None:
    await settled(ledger, "a", at=at)
    assert [found.key for found in await report(ledger, "day")] == [day]
    that = date.fromisoformat(day)
    inside = await report(ledger, "stream", first=that, last=that)
    assert [found.key for found in inside] == ["a"]
    for other in (that.replace(day=that.day - 1), that.replace(day=that.day + 1)):
        assert await report(ledger, "stream", first=other, last=other) == []


async def test_the_first_and_the_last_day_of_the_calendar_are_days(ledger: SqlLedger) -> None:
    await settled(ledger, "a")
    assert len(await report(ledger, "day", first=date.min, last=date.max)) == 1


@pytest.mark.parametrize("by", EVERY)
@pytest.mark.parametrize("limit", [1, 2, 3, 6])
async def test_pages_together_are_the_whole_report(filled: SqlLedger, by: By, limit: int) -> None:
    assert await report(filled, by, limit=limit) == await report(filled, by)


async def test_a_full_last_page_is_known_to_be_the_last(filled: SqlLedger) -> None:
    rows, cursor = await filled.totals(ctx(), date.min, date.max, "day", None, 3)
    assert (len(rows), cursor) == (3, None)


async def test_streams_of_one_second_are_each_on_one_page(ledger: SqlLedger) -> None:
    names = [f"str_{number:02}" for number in range(20)]
    for name in reversed(names):
        await settled(ledger, name)
    assert [found.key for found in await report(ledger, "stream", limit=3)] == names


async def test_streams_that_end_while_pages_are_read_come_last(ledger: SqlLedger) -> None:
    for number in (5, 6, 7):
        await settled(ledger, f"str_{number}", at=NOON + number)
    rows, cursor = await ledger.totals(ctx(), date.min, date.max, "stream", None, 2)
    assert cursor == Position("str_6", NOON + 6)
    await settled(ledger, "str_1", at=NOON + 8)
    more, end = await ledger.totals(ctx(), date.min, date.max, "stream", cursor, 2)
    assert [found.key for found in rows + more] == ["str_5", "str_6", "str_7", "str_1"]
    assert end is None


async def test_a_position_in_another_tenants_report_shows_nothing_of_it(
    filled: SqlLedger,
) -> None:
    cursor = Position("str_0", NOON)
    rows, _ = await filled.totals(ctx(2), date.min, date.max, "stream", cursor, 100)
    assert prompts(rows) == {f"str_{number}": 1000 * (number + 1) for number in range(1, 6)}
