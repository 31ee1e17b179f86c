"""Times to the first token of many streams: exact sums, and a distribution in fixed classes.

Percentiles cannot be added up, and databases do not agree on how to compute them. Counts in fixed
classes can be: over rows, days and pages of a report, and in one reading of the rows. So a report
has the counts; a percentile is worked out from them, and is off by its class's width at most.
"""

from itertools import pairwise
from typing import Any, Final

import msgspec
import sqlalchemy as sa

BOUNDS: Final = (
    100, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 5000, 7000, 10_000, 20_000, 30_000, 60_000,
)  # fmt: skip
"""Milliseconds, of the largest time in each class but the last: steps that people can tell apart,
up to the longest that a provider is usually waited for."""
SUMS: Final = 4 + len(BOUNDS)
"""Columns of ``sums``."""


class FirstToken(msgspec.Struct, frozen=True):
    """Times to the first token, in milliseconds.

    Attributes:
        streams: how many of the streams had one.
        total: of their times.
        least: of their times.
        most: of their times.
        counts: of streams, in each class: up to the first of ``BOUNDS``, …, beyond the last.
    """

    streams: int
    total: int
    least: int
    most: int
    counts: tuple[int, ...]

    @property
    def mean(self) -> int:
        """The average, to the nearest millisecond."""
        return (2 * self.total + self.streams) // (2 * self.streams)

    def quantile(self, share: float) -> int:
        """Estimate the time that this share of the streams did not exceed.

        Times are taken to be spread evenly over their class, and lie between the least and the
        most; so one time alone is told as it is.

        Args:
            share: of the streams, over 0 to 1.
        """
        rank = share * self.streams
        before = 0
        for (over, up_to), count in zip(
            pairwise((0, *BOUNDS, self.most)), self.counts, strict=True
        ):
            if count and before + count >= rank:
                low, high = max(over, self.least), min(up_to, self.most)
                return round(low + (high - low) * (rank - before) / count)
            before += count
        return self.most


def sums(column: "sa.Column[int]") -> list[sa.ColumnElement[Any]]:
    """Sum up a column of times: what ``read`` takes."""
    below = [sa.func.count(sa.case((column <= bound, 1))) for bound in BOUNDS]
    return [
        sa.func.count(column),
        sa.func.sum(column),
        sa.func.min(column),
        sa.func.max(column),
        *below,
    ]


def read(columns: "tuple[Any, ...]") -> FirstToken | None:
    """Read what ``sums`` selected; None: no stream had a first token."""
    streams, *rest = map(_whole, columns)
    if not streams:
        return None
    total, least, most, *below = rest
    counts = tuple(more - less for less, more in pairwise((0, *below, streams)))
    return FirstToken(streams, total, least, most, counts)


def _whole(value: Any) -> int:
    """Sums may be decimals, as PostgreSQL makes them; of no rows they are null."""
    return 0 if value is None else int(value)
