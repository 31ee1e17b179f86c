"""A frame is exactly three lines and a blank one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellstream.core import events as ev
from tellstream.core.frames import KEEP_ALIVE, decode_frame, encode_frames
from tellstream.core.sse import SseDecoder

START = ev.TextStart("evt_1", 5, "m")
DELTA = ev.TextDelta("evt_2", 5, "a\u2028\n", "m")


def test_a_frame_is_exactly_these_bytes() -> None:
    assert encode_frames(41, [START]) == [
        b'id: 41\nevent: text_start\ndata: {"id":"evt_1","timestamp":5,"message_id":"m"}\n\n'
    ]


def test_frames_are_numbered_without_gaps_from_the_first() -> None:
    numbers = [decode_frame(frame)[0] for frame in encode_frames(9, [START, DELTA, START])]
    assert numbers == [9, 10, 11]


def test_no_events_are_no_frames() -> None:
    assert encode_frames(1, []) == []


@settings(max_examples=200, deadline=None)
@given(st.integers(min_value=1, max_value=10**9), st.text(), st.text())
def test_decoding_a_frame_is_the_inverse_of_encoding_it(first: int, delta: str, part: str) -> None:
    event = ev.TextDelta("evt_1", 5, delta, part)
    (frame,) = encode_frames(first, [event])
    assert frame.count(b"\n") == 4
    assert decode_frame(frame) == (first, event)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=5))
def test_any_reader_of_server_sent_events_finds_the_same_events(deltas: list[str]) -> None:
    events: list[ev.Event] = [ev.TextDelta("evt_1", 5, delta, "m") for delta in deltas]
    read = SseDecoder().feed(KEEP_ALIVE.join([b"", *encode_frames(1, events), b""]))
    assert [ev.decode(one.event, one.data) for one in read] == events
    assert [one.id for one in read] == [str(number) for number in range(1, len(deltas) + 1)]


def test_a_keep_alive_is_a_comment_without_a_blank_line() -> None:
    assert KEEP_ALIVE == b": keep-alive\n"


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\n\n\n",
        b": keep-alive\n",
        b"id: 1\nevent: text_start\n\n",
        b"id: 1\nevent: text_end\ndata: {}\n\n",
        b"id: 1\nevent: \xff\ndata: {}\n\n",
        b'id: x\nevent: step_start\ndata: {"id":"e","timestamp":1}\n\n',
        b"id: 1\nevent: step_start\ndata: {}\n\n",
        b"id: 1\nevent: step_start\ndata: \xff\n\n",
    ],
)
def test_what_is_no_frame_of_ours_is_a_value_error(frame: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_frame(frame)
