"""The distribution of times to the first token: whole numbers add up, percentiles come close."""

import math
from itertools import pairwise

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tellstream.storage.first_token import BOUNDS, SUMS, FirstToken, read, sums

TIMES = st.lists(st.integers(0, 90_000), min_size=1, max_size=40)
CLASSES = [*pairwise((-1, *BOUNDS)), (BOUNDS[-1], math.inf)]


def of(*times: int) -> FirstToken:
    counts = tuple(sum(over < time <= up_to for time in times) for over, up_to in CLASSES)
    return FirstToken(len(times), sum(times), min(times), max(times), counts)


def test_what_the_database_sums_up_is_what_there_was() -> None:
    times = [0, 100, 101, 300, 60_000, 60_001, 95_000]
    table = sa.Table("t", sa.MetaData(), sa.Column("ms", sa.BigInteger))
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        table.create(connection)
        assert read(tuple(connection.execute(sa.select(*sums(table.c.ms))).one())) is None
        connection.execute(table.insert(), [{"ms": ms} for ms in (*times, None)])
        row = connection.execute(sa.select(*sums(table.c.ms))).one()
    engine.dispose()
    assert len(row) == SUMS
    assert read(tuple(row)) == of(*times)


@given(TIMES)
def test_a_percentile_is_in_the_class_of_the_time_at_its_rank(times: list[int]) -> None:
    first = of(*times)
    for share in (0.01, 0.5, 0.95, 1.0):
        exact = sorted(times)[math.ceil(share * len(times)) - 1]
        (over, up_to), *_ = (each for each in CLASSES if each[0] < exact <= each[1])
        found = first.quantile(share)
        assert max(over, min(times)) <= found <= min(up_to, max(times))
    assert first.quantile(0.01) <= first.quantile(0.5) <= first.quantile(0.95) <= max(times)


@given(st.integers(0, 10**9), st.integers(1, 50))
def test_times_that_are_all_alike_are_told_exactly(time: int, streams: int) -> None:
    first = of(*[time] * streams)
    assert {first.mean, first.quantile(0.5), first.quantile(0.95), first.most} == {time}


@pytest.mark.parametrize(
    ("times", "mean"), [((1, 2), 2), ((1, 1, 2), 1), ((0,), 0), ((3, 3, 4), 3)]
)
def test_the_mean_is_to_the_nearest_millisecond(times: tuple[int, ...], mean: int) -> None:
    assert of(*times).mean == mean


def test_within_a_class_times_are_taken_to_be_spread_evenly() -> None:
    first = of(1000, *[1200] * 8, 1500, 2000)  # nine of eleven over 1000 and up to 1500
    assert first.quantile(5.5 / 11) == 1000 + round(500 * 4.5 / 9)
