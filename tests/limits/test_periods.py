"""The edges of days and months, UTC."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tellstream.limits.periods import (
    DAY,
    date_of,
    day_of,
    first_of_month,
    month_of,
    until_next_month,
    until_tomorrow,
)

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1))  # noqa: DTZ001 - made UTC below


@given(MOMENTS)
def test_days_and_months_are_those_of_the_calendar(naive: datetime) -> None:
    moment = naive.replace(tzinfo=UTC, microsecond=0)
    now = moment.timestamp()
    assert date_of(now) == moment.date()
    assert day_of(now) == (moment.date() - date(1970, 1, 1)).days
    assert divmod(month_of(now), 12) == (moment.year, moment.month - 1)
    assert first_of_month(now) == moment.date().replace(day=1)
    midnight = moment + timedelta(seconds=until_tomorrow(now))
    assert (midnight.date() - moment.date()).days == 1
    assert (midnight.hour, midnight.minute, midnight.second) == (0, 0, 0)
    new = moment + timedelta(seconds=until_next_month(now))
    assert (new.day, new.hour, new.minute, new.second) == (1, 0, 0, 0)
    assert month_of(new.timestamp()) == month_of(now) + 1


def test_at_midnight_a_whole_day_is_left() -> None:
    assert until_tomorrow(DAY * 3.0) == DAY
