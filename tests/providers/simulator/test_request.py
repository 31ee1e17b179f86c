"""Whole requests come out of any division of their bytes; anything else is refused."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellstream.providers.simulator.request import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    ProtocolError,
    Request,
    RequestReader,
)

ONE = b"POST /a?b=1 HTTP/1.1\r\nHost: x\r\nX-Name: V\r\nContent-Length: 5\r\n\r\nhello"
TWO = b"GET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
CHUNKED = b"POST /d HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


@given(st.lists(st.integers(0, len(ONE + CHUNKED + TWO))))
def test_any_division_gives_the_same_requests(cuts: list[int]) -> None:
    data = ONE + CHUNKED + TWO
    edges = [0, *sorted(cuts), len(data)]
    reader = RequestReader()
    read: list[Request] = []
    for start, end in pairwise(edges):
        read += reader.feed(data[start:end])
    one, chunked, two = read
    headers = [("host", "x"), ("x-name", "V"), ("content-length", "5")]
    assert one == Request("POST", "/a?b=1", headers, b"hello", keep_alive=True)
    assert chunked.body == b"abcde"
    assert (two.method, two.path, two.keep_alive) == ("GET", "/c", False)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), 413),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD_BYTES, 431),
        (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % (MAX_BODY_BYTES + 1)
            + b"x" * (MAX_BODY_BYTES + 1),
            413,
        ),
    ],
)
def test_what_is_refused(data: bytes, status: int) -> None:
    with pytest.raises(ProtocolError) as refused:
        RequestReader().feed(data)
    assert refused.value.status == status


def test_an_expectation_is_noticed_until_the_body_is_there() -> None:
    reader = RequestReader()
    reader.feed(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    assert reader.expects_continue
    assert len(reader.feed(b"x")) == 1
    assert not reader.expects_continue
