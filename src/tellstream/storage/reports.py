"""Reports: from days and positions to what statements take, and from their rows to totals."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any, Final

import sqlalchemy as sa

from tellstream.core.usage import FinishReason
from tellstream.storage import first_token, statements
from tellstream.storage.base import By, Position, Totals

_EPOCH: Final = date(1970, 1, 1).toordinal()


def statement(
    tenant: int,
    from_day: date,
    to_day: date,
    by: By,
    cursor: Position | None,
    without: Collection[str] = (),
) -> sa.Select[Any]:
    """Select the totals of a tenant in a range of days, from a position on, without some."""
    begin = _number(from_day) * statements.SECONDS_PER_DAY
    end = (_number(to_day) + 1) * statements.SECONDS_PER_DAY
    after = None if cursor is None else _group(by, cursor)
    return statements.totals(tenant, begin, end, by, after, without)


def page(by: By, rows: Sequence[sa.Row[Any]], limit: int) -> tuple[list[Totals], Position | None]:
    """Make totals of the first ``limit`` rows, and a position if there are more."""
    found = [_row(by, tuple(row)) for row in rows[:limit]]
    more = len(rows) > limit
    return [totals for _, totals in found], found[-1][0] if more else None


def _row(by: By, row: tuple[Any, ...]) -> tuple[Position, Totals]:
    """Split a row into its group and its sums; sums may be decimals, as PostgreSQL makes them."""
    if by == "stream":
        position, sums = Position(row[1], int(row[0])), row[2:]
    elif by == "day":
        position, sums = Position(_day(int(row[0]))), row[1:]
    else:
        position, sums = Position(row[0]), row[1:]
    sums, times = sums[: -first_token.SUMS], sums[-first_token.SUMS :]
    streams, prompt, completion, read, write, thought, estimated, cost, *ends = sums
    return position, Totals(
        key=position.key,
        streams=int(streams),
        prompt_tokens=int(prompt),
        completion_tokens=int(completion),
        cache_read_input_tokens=_integer(read),
        cache_write_input_tokens=_integer(write),
        thought_tokens=_integer(thought),
        estimated_streams=int(estimated),
        cost=_integer(cost),
        finish_reasons={
            reason: int(count) for reason, count in zip(FinishReason, ends, strict=True) if count
        },
        first_token=first_token.read(times),
    )


def _group(by: By, position: Position) -> tuple[Any, ...]:
    """What the statement groups by, at a position."""
    if by == "stream":
        return position.finished_at, position.key
    return (_number(date.fromisoformat(position.key)) if by == "day" else position.key,)


def _integer(value: Any) -> int | None:
    return None if value is None else int(value)


def _number(day: date) -> int:
    return day.toordinal() - _EPOCH


def _day(number: int) -> str:
    return date.fromordinal(number + _EPOCH).isoformat()
