"""Ids are well-formed ULIDs, rise within a stream, and carry the entropy they were given."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellstream.core.ids import ALPHABET, EventIds, base32, stream_id

ULID = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
ENTROPY = st.integers(min_value=0, max_value=2**80 - 1)
MS = st.integers(min_value=0, max_value=2**48 - 1)


def value(text: str) -> int:
    """Read Crockford base32."""
    number = 0
    for character in text:
        number = number * 32 + ALPHABET.index(character)
    return number


@given(st.integers(min_value=0, max_value=2**130 - 1))
def test_base32_writes_the_value_high_digits_first(number: int) -> None:
    assert value(base32(number, 26)) == number


def test_base32_pads_and_cuts_to_the_length_asked_for() -> None:
    assert base32(1, 4) == "0001"
    assert base32(32**4 + 31, 4) == "000Z"


@given(st.integers(min_value=0, max_value=2**140))
def test_a_stream_id_is_128_bits_of_the_entropy(entropy: int) -> None:
    text = stream_id(entropy)
    assert re.fullmatch(f"str_{ULID}", text)
    assert value(text[4:]) == entropy % 2**128


def test_an_event_id_begins_with_the_time_as_the_ulid_specification_writes_it() -> None:
    # The example of https://github.com/ulid/spec: 1469918176385 ms is 01ARYZ6S41.
    assert EventIds(0).next(1469918176385).startswith("evt_01ARYZ6S41")


@given(ENTROPY, st.lists(MS, min_size=2, max_size=40))
def test_event_ids_rise_whatever_the_clock_does(entropy: int, times: list[int]) -> None:
    ids = EventIds(entropy)
    made = [ids.next(now) for now in times]
    assert made == sorted(set(made))
    assert all(re.fullmatch(f"evt_{ULID}", one) for one in made)


@settings(max_examples=20)
@given(st.integers(min_value=0, max_value=2**40 - 1))
def test_the_counter_never_wraps_within_a_stream(fixed: int) -> None:
    ids = EventIds(fixed << 40 | (2**40 - 100))
    made = [ids.next(5) for _ in range(20_000)]
    assert made == sorted(set(made))
    assert {value(one[4:]) >> 40 & (2**40 - 1) for one in made[::4000]} == {fixed}


def test_a_clock_beyond_the_year_10889_keeps_ids_well_formed() -> None:
    ids = EventIds(7)
    first, second = ids.next(2**48), ids.next(2**60)
    assert re.fullmatch(f"evt_{ULID}", first)
    assert first < second


@pytest.mark.parametrize("now", [0, 1])
def test_streams_with_other_entropy_share_no_ids(now: int) -> None:
    one, other = EventIds(1 << 40), EventIds(2 << 40)
    assert not {one.next(now) for _ in range(500)} & {other.next(now) for _ in range(500)}
