"""The edges of days and months, UTC, as arithmetic on Unix seconds.

Pure; the scripts in Redis work with the same numbers (redis_scripts.py).
"""

from datetime import UTC, date, datetime, timedelta
from typing import Final

DAY: Final = 86_400
"""Seconds; Unix time knows no leap seconds."""
_EPOCH: Final = date(1970, 1, 1)


def day_of(now: float) -> int:
    """Number the day: days since 1970-01-01."""
    return int(now // DAY)


def month_of(now: float) -> int:
    """Number the month: twelve times the year, plus 0 to 11."""
    today = date_of(now)
    return today.year * 12 + today.month - 1


def date_of(now: float) -> date:
    """Return the day."""
    return _EPOCH + timedelta(days=day_of(now))


def first_of_month(now: float) -> date:
    """Return the first day of the month."""
    return date_of(now).replace(day=1)


def until_tomorrow(now: float) -> float:
    """Return the seconds until the day is over."""
    return DAY - now % DAY


def until_next_month(now: float) -> float:
    """Return the seconds until the month is over."""
    year, month = divmod(month_of(now) + 1, 12)
    return datetime(year, month + 1, 1, tzinfo=UTC).timestamp() - now
