"""Bytes in, numbered events out, without a connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.scripted import frames_of, story
from tellstream.client.errors import StreamGapError, StreamProtocolError
from tellstream.client.reading import Arrived, Reading

EVENTS = story("a", "b", "c")
FRAMES = frames_of(EVENTS)
BODY = b"".join(FRAMES)


def positions(arrived: list[Arrived]) -> list[int]:
    return [each.position for each in arrived]


@given(st.lists(st.integers(0, len(BODY)), max_size=12), st.integers(0, 40))
def test_any_chunks_on_any_connections_give_each_event_once(cuts: list[int], back: int) -> None:
    reading = Reading("s", 0, snapshot=False)
    got: list[Arrived] = []
    for cut in cuts:  # each connection repeats some frames, and breaks off in the middle of one
        reading.connected()
        again = b"".join(FRAMES[max(0, reading.position - back % 3) :])
        got += reading.feed(again[: cut // 2]) + reading.feed(again[cut // 2 : cut])
    reading.connected()
    got += reading.feed(b"".join(FRAMES[reading.position :]))
    assert [each.event for each in got] == EVENTS
    assert b"".join(each.frame for each in got) == BODY
    assert (reading.over, reading.fault) == (True, None)


def test_a_gap_keeps_what_came_before_it() -> None:
    reading = Reading("s", 0, snapshot=False)
    assert positions(reading.feed(FRAMES[0] + FRAMES[2])) == [1]
    assert isinstance(reading.fault, StreamGapError)
    assert reading.position == 1


def test_a_snapshot_may_jump_but_not_go_back() -> None:
    reading = Reading("s", 0, snapshot=True)
    assert positions(reading.feed(FRAMES[0] + FRAMES[3] + FRAMES[1] + FRAMES[4])) == [1, 4, 5]


def test_after_a_position_only_the_rest_counts() -> None:
    reading = Reading("s", 3, snapshot=False)
    assert positions(reading.feed(BODY)) == [4, 5, 6, 7]


def test_nothing_counts_after_the_end() -> None:
    reading = Reading("s", 0, snapshot=False)
    assert positions(reading.feed(BODY + b"id: 8\nevent: x\ndata: x\n\n"))[-1] == 7
    assert reading.over


def test_types_of_a_newer_server_keep_their_number_and_their_bytes() -> None:
    frame = b"id: 1\nevent: newer\ndata: a\ndata: b\n\n"
    reading = Reading("s", 0, snapshot=False)
    (arrived,) = reading.feed(frame)
    assert (arrived.position, arrived.event, arrived.frame) == (1, None, frame)


@pytest.mark.parametrize("number", ["", "-1", "1.0", "\u0661", "1" * 10, "evt_1"])
def test_an_id_that_is_no_sequence_number_is_a_fault(number: str) -> None:
    reading = Reading("s", 0, snapshot=False)
    assert reading.feed(f"id: {number}\nevent: x\ndata: x\n\n".encode()) == []
    assert isinstance(reading.fault, StreamProtocolError)


def test_the_retry_field_is_kept_over_connections() -> None:
    reading = Reading("s", 0, snapshot=False)
    reading.feed(b"retry: 1500\n" + FRAMES[0])
    reading.connected()
    reading.feed(FRAMES[1])
    assert reading.retry_seconds == 1.5
