"""One connection against whatever bytes a provider can send: RFC 9112, its breakers, its cuts."""

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Self

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from tellstream.providers.exchange import (
    BUFFER_BYTES,
    MAX_HEAD_BYTES,
    BrokenConnectionError,
    Connection,
    MalformedResponseError,
)

SECONDS = 10
READ_BYTES = 256 * 1024  # the most that a loop reads at once
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
TWO = b"Content-Length: 2\r\n\r\nok"


class Pair:
    """A connection, and the provider's end of it."""

    def __init__(self, connection: Connection, provider: socket.socket) -> None:
        self.connection = connection
        self.provider = provider

    async def send(self, *pieces: bytes, end: bool = False) -> None:
        """Send pieces, each of which is read before the next one is sent."""
        loop = asyncio.get_running_loop()
        for piece in pieces:
            try:
                await loop.sock_sendall(self.provider, piece)
            except OSError:  # it closed; what it was sent before is what counts
                break
            for _ in range(3):
                await asyncio.sleep(0)
        if end:
            self.provider.close()


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    ours, provider = socket.socketpair()
    provider.setblocking(False)
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, sock=ours)
    try:
        connection.send(b"request")
        async with asyncio.timeout(SECONDS):
            # Read, for else its closing would refuse the request, and be no orderly one.
            assert await loop.sock_recv(provider, 100) == b"request"
            yield Pair(connection, provider)
    finally:
        connection.close()
        provider.close()
        for _ in range(3):
            await asyncio.sleep(0)


class Outcome(NamedTuple):
    status: int
    body: bytes
    broken: bool
    reusable: bool


async def outcome(pieces: Iterable[bytes], *, end: bool = False) -> Outcome:
    """Send a response in pieces; what is made of it."""
    async with pair() as both:
        sending = asyncio.create_task(both.send(*pieces, end=end))
        try:
            return await read(both.connection, sending)
        finally:
            await sending


async def read(connection: Connection, sending: "asyncio.Task[None]") -> Outcome:
    await connection.head()
    body = b""
    while chunk := await connection.read():
        body += chunk
    await sending  # what follows the body is seen as well
    for _ in range(3):
        await asyncio.sleep(0)
    return Outcome(connection.status, body, connection.broken is not None, connection.reusable())


def single_bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def whole(data: bytes) -> list[bytes]:
    return [data]


# --- responses that are taken --------------------------------------------------------------------

TAKEN = {
    "a length": (OK + TWO, b"ok", True),
    "no reason phrase": (b"HTTP/1.1 200\r\n" + TWO, b"ok", True),
    "an empty body": (OK + b"Content-Length: 0\r\n\r\n", b"", True),
    "chunks": (CHUNKED + b"2\r\nok\r\n1\r\n!\r\n0\r\n\r\n", b"ok!", True),
    "any case": (
        OK + b"tRANSFER-eNCODING: Chunked \r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok", True,
    ),
    "chunk extensions": (CHUNKED + b'2;a=b;c="d;e"\r\nok\r\n0;x\r\n\r\n', b"ok", True),
    "trailers": (CHUNKED + b"2\r\nok\r\n0\r\nServer-Timing: 1\r\nX: 2\r\n\r\n", b"ok", True),
    "100": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + TWO, b"ok", True),
    "100 with a zero": (
        b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n" + OK + TWO, b"ok", True,
    ),
    "103 twice": (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 2 + OK + TWO, b"ok", True),
    "199": (b"HTTP/1.1 199 New\r\n\r\n" + OK + TWO, b"ok", True),
    "an offer to upgrade": (
        OK + b"Connection: upgrade\r\nUpgrade: h2c\r\n" + TWO, b"ok", True,
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"", True),
    "close": (OK + b"Connection: close\r\n" + TWO, b"ok", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + TWO, b"ok", False),
    "chunks of HTTP/1.0": (
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok", False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("cut", [whole, single_bytes])
@pytest.mark.parametrize("case", TAKEN)
async def test_responses_that_are_taken(case: str, cut: Callable[[bytes], list[bytes]]) -> None:
    data, body, reusable = TAKEN[case]
    got = await outcome(cut(data))
    assert got == Outcome(got.status, body, broken=False, reusable=reusable)
    assert got.status == int(data[data.rindex(b"HTTP/1.") :][9:12])


async def test_fields_have_lower_case_names_and_are_those_of_the_head() -> None:
    async with pair() as both:
        await both.send(
            b"HTTP/1.1 103 Early Hints\r\nLink: early\r\n\r\n",
            OK + b"X-Request-ID:  a \r\nX-Twice: 1\r\nx-twice: 2\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Request-ID: trailer\r\n\r\n",
        )
        await both.connection.head()
        assert await both.connection.read() == b""
        assert {name: value.strip() for name, value in both.connection.headers.items()} == {
            "x-request-id": "a",
            "x-twice": "2",
            "transfer-encoding": "chunked",
        }


# --- heads that are refused ----------------------------------------------------------------------

REFUSED = {
    "garbage": b"\x16\x03\x01\x02\x00\x01",
    "another protocol": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n" + TWO,
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\n" + TWO,
    "a status of four digits": b"HTTP/1.1 2000 OK\r\n" + TWO,
    "101": b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nbytes",
    "101 without an upgrade": b"HTTP/1.1 101 Switching\r\n\r\nbytes",
    "100 with a body": b"HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\nok" + OK + TWO,
    "150 with a body": b"HTTP/1.1 150 New\r\nContent-Length: 2\r\n\r\nok" + OK + TWO,
    "150 with chunks":
        b"HTTP/1.1 150 New\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + OK + TWO,
    "two lengths": OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    "the same length twice": OK + b"Content-Length: 2\r\n" + TWO,
    "a list of lengths": OK + b"Content-Length: 2, 2\r\n\r\nok",
    "a signed length": OK + b"Content-Length: +2\r\n\r\nok",
    "a negative length": OK + b"Content-Length: -2\r\n\r\nok",
    "no length": OK + b"Content-Length:\r\n\r\nok",
    "a hexadecimal length": OK + b"Content-Length: 0x2\r\n\r\nok",
    "a length beyond 64 bits": OK + b"Content-Length: 18446744073709551617\r\n\r\n!",
    "a length and chunks": OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "compressed chunks": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "compressed, in a field of its own":
        OK + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked twice":
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\nok",
    "nearly chunked": OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a folded field": OK + b"X: a\r\n b\r\n" + TWO,
    "a folded coding": OK + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "white space before the first field": OK + b" X: a\r\n" + TWO,
    "white space before the colon": OK + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "no colon": OK + b"X\r\n" + TWO,
    "NUL in a value": OK + b"X: a\0b\r\n" + TWO,
    "NUL in a name": OK + b"X\0: a\r\n" + TWO,
    "CR in a value": OK + b"X: a\rb\r\n" + TWO,
    "CR in the reason phrase": b"HTTP/1.1 200 O\rK\r\n" + TWO,
    "LF alone": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
}  # fmt: skip


@pytest.mark.parametrize("cut", [whole, single_bytes])
@pytest.mark.parametrize("case", REFUSED)
async def test_heads_that_are_refused(case: str, cut: Callable[[bytes], list[bytes]]) -> None:
    with pytest.raises(MalformedResponseError):
        await outcome(cut(REFUSED[case]))


@pytest.mark.parametrize("data", [b"", b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"])
async def test_a_connection_lost_within_the_head_is_broken(data: bytes) -> None:
    with pytest.raises(BrokenConnectionError):
        await outcome([data] if data else [], end=True)


# --- bodies that break ---------------------------------------------------------------------------

BROKEN = {
    "a length that is not reached": (OK + b"Content-Length: 9\r\n\r\nok", b"ok"),
    "no last chunk": (CHUNKED + b"2\r\nok\r\n", b"ok"),
    "half a chunk": (CHUNKED + b"9\r\nok", b"ok"),
    "no end of the trailers": (CHUNKED + b"2\r\nok\r\n0\r\nX: 1\r\n", b"ok"),
    "a size that is no number": (CHUNKED + b"2\r\nok\r\nxyz\r\n", b"ok"),
    "a size with a prefix": (CHUNKED + b"0x2\r\nok\r\n", b""),
    "a negative size": (CHUNKED + b"-2\r\nok\r\n", b""),
    "a size beyond 64 bits": (CHUNKED + b"11111111111111111\r\nok\r\n", b""),
    "a chunk longer than its size": (CHUNKED + b"2\r\nok!\r\n0\r\n\r\n", b"ok"),
    "LF alone": (CHUNKED + b"2\nok\n0\n\n", b""),
    "NUL in an extension": (CHUNKED + b"2;a\0\r\nok\r\n0\r\n\r\n", b""),
    "a length among the trailers": (
        CHUNKED + b"2\r\nok\r\n0\r\nContent-Length: 5\r\n\r\n", b"ok",
    ),
}  # fmt: skip


@pytest.mark.parametrize("cut", [whole, single_bytes])
@pytest.mark.parametrize("case", BROKEN)
async def test_bodies_that_break(case: str, cut: Callable[[bytes], list[bytes]]) -> None:
    data, body = BROKEN[case]
    got = await outcome(cut(data), end=True)
    assert got == Outcome(200, body, broken=True, reusable=False)


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    got = await outcome([OK + b"\r\nto the", b" end"], end=True)
    assert got == Outcome(200, b"to the end", broken=False, reusable=False)


async def test_our_own_closing_does_not_end_a_body_well() -> None:
    async with pair() as both:
        await both.send(OK + b"\r\nto the")
        await both.connection.head()
        assert await both.connection.read() == b"to the"
        both.connection.close()
        assert await both.connection.read() == b""
        assert both.connection.broken


# --- more than was asked for ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "excess",
    [
        b"!",
        b"H",
        b" garbage\r\n",
        OK + TWO,
        b"HTTP/1.1 500 X\r\nX: y\r\nContent-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
@pytest.mark.parametrize(
    "response",
    [OK + TWO, OK + b"Connection: close\r\n" + TWO, CHUNKED + b"2\r\nok\r\n0\r\n\r\n"],
    ids=["length", "close", "chunks"],
)
@pytest.mark.parametrize("together", [True, False], ids=["together", "apart"])
async def test_what_follows_a_response_changes_nothing_of_it_and_ends_the_connection(
    response: bytes, excess: bytes, together: bool
) -> None:
    pieces = [response + excess] if together else [response, excess]
    async with pair() as both:
        await both.send(*pieces)
        await both.connection.head()
        assert await both.connection.read() == b"ok"
        assert await both.connection.read() == b""
        assert both.connection.status == 200
        assert "x" not in both.connection.headers
        assert both.connection.broken is None
        assert both.connection.closed
        assert not both.connection.reusable()


async def test_a_body_that_204_must_not_have_is_no_body() -> None:
    data = b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"
    assert await outcome([data]) == Outcome(204, b"", broken=False, reusable=False)


async def test_a_response_before_the_request_is_no_response() -> None:
    ours, provider = socket.socketpair()
    loop = asyncio.get_running_loop()
    provider.send(b"HTTP/1.1 408 Too slow\r\nContent-Length: 0\r\n\r\n")
    _, connection = await loop.create_connection(Connection, sock=ours)
    for _ in range(5):
        await asyncio.sleep(0)
    assert connection.closed
    with pytest.raises(BrokenConnectionError):
        connection.send(b"request")
    provider.close()


async def test_what_nobody_read_of_a_response_is_not_given_to_the_next_reader() -> None:
    async with pair() as both:
        await both.send(OK + b"Content-Length: 6\r\n\r\nsec", b"ret")
        await both.connection.head()
        assert both.connection.complete  # whole, but nobody has read it
        assert not both.connection.reusable()
        both.connection.send(b"request")  # even if somebody went on with it
        await both.send(OK + TWO)
        await both.connection.head()
        assert await both.connection.read() == b"ok"


# --- caps ----------------------------------------------------------------------------------------


def head_of(size: int) -> bytes:
    """Make a head of so many bytes."""
    start, end = OK + b"Content-Length: 2\r\nX: ", b"\r\n\r\n"
    return start + b"x" * (size - len(start) - len(end)) + end


CUTS: dict[str, Callable[[bytes], list[bytes]]] = {
    "whole": whole,
    "apart": lambda data: [data[:-2], data[-2:]],
    "halves": lambda data: [data[: len(data) // 2], data[len(data) // 2 :]],
    "thousands": lambda data: [data[at : at + 1000] for at in range(0, len(data), 1000)],
}


@pytest.mark.parametrize("cut", CUTS)
async def test_a_head_may_be_as_large_as_the_cap_and_no_larger(cut: str) -> None:
    got = await outcome(CUTS[cut](head_of(MAX_HEAD_BYTES) + b"ok"))
    assert got == Outcome(200, b"ok", broken=False, reusable=True)
    with pytest.raises(MalformedResponseError, match="too large"):
        await outcome(CUTS[cut](head_of(MAX_HEAD_BYTES + 1) + b"ok"))


@pytest.mark.parametrize(
    "piece",
    [b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" * 20, b"\r\n" * 500],
    ids=["informational", "empty lines"],
)
async def test_what_comes_before_the_head_counts_with_it(piece: bytes) -> None:
    with pytest.raises(MalformedResponseError, match="too large"):
        await outcome(itertools.repeat(piece, MAX_HEAD_BYTES // len(piece) + 1))


@pytest.mark.parametrize(
    "piece",
    [b"x" * 5000, b"X: " + b"y" * 1000 + b"\r\n", b"X: y\r\n" * 200],
    ids=["one name", "long fields", "many fields"],
)
async def test_endless_trailers_break_the_body(piece: bytes) -> None:
    pieces = itertools.repeat(piece, MAX_HEAD_BYTES // len(piece) + 2)
    got = await outcome([CHUNKED, b"2\r\nok\r\n0\r\n", *pieces])
    assert got == Outcome(200, b"ok", broken=True, reusable=False)


async def test_an_endless_extension_breaks_the_body() -> None:
    got = await outcome([CHUNKED, b"2;", *itertools.repeat(b"x" * 5000, 20)])
    assert got == Outcome(200, b"", broken=True, reusable=False)


async def test_sizes_and_extensions_between_pieces_do_not_add_up() -> None:
    pieces = [b"1;" + b"x" * 5000 + b"\r\n", b"!\r\n"] * 40
    got = await outcome([CHUNKED, *pieces, b"0\r\n\r\n"])
    assert got == Outcome(200, b"!" * 40, broken=False, reusable=True)


# --- back-pressure -------------------------------------------------------------------------------


async def test_a_reader_that_does_not_read_stops_the_provider() -> None:
    size = 4 * 1024 * 1024
    async with pair() as both:
        sending = asyncio.create_task(
            both.send(OK + b"Content-Length: %d\r\n\r\n" % size, b"x" * size)
        )
        await both.connection.head()
        held = -1
        while held != both.connection._waiting:  # until nothing more arrives
            held = both.connection._waiting
            await asyncio.sleep(0.02)
        assert not sending.done()
        assert BUFFER_BYTES < held <= BUFFER_BYTES + READ_BYTES
        got = 0
        while chunk := await both.connection.read():
            got += len(chunk)
            assert both.connection._waiting <= BUFFER_BYTES + READ_BYTES
        await sending
        assert got == size
        assert both.connection.reusable()


def collecting(got: list[bytes]) -> Callable[[bytes], bool]:
    """Make a sink that always wants more."""

    def take(chunk: bytes) -> bool:
        got.append(chunk)
        return True

    return take


# --- flow ----------------------------------------------------------------------------------------


async def test_a_sink_gets_what_arrived_before_and_what_arrives() -> None:
    got: list[bytes] = []
    async with pair() as both:
        await both.send(CHUNKED + b"1\r\na\r\n")
        await both.connection.head()
        flowing = asyncio.create_task(both.connection.flow(collecting(got)))
        await asyncio.sleep(0)
        await both.send(b"1\r\nb\r\n1\r\nc\r\n", b"1\r\nd\r\n0\r\n\r\n")
        await flowing
        assert got == [b"a", b"bc", b"d"]
        assert both.connection.reusable()


async def test_a_sink_that_wants_no_more_leaves_the_rest_to_who_reads() -> None:
    async with pair() as both:
        await both.send(CHUNKED)
        await both.connection.head()
        flowing = asyncio.create_task(both.connection.flow(lambda chunk: False))
        await asyncio.sleep(0)
        await both.send(b"1\r\na\r\n", b"1\r\nb\r\n0\r\n\r\n")
        await flowing
        assert await both.connection.read() == b"b"
        assert await both.connection.read() == b""


async def test_what_a_sink_raises_is_raised_where_it_was_given() -> None:
    def refuse(chunk: bytes) -> bool:
        raise ZeroDivisionError

    async with pair() as both:
        await both.send(CHUNKED)
        await both.connection.head()
        flowing = asyncio.create_task(both.connection.flow(refuse))
        await asyncio.sleep(0)
        await both.send(b"1\r\na\r\n")
        with pytest.raises(ZeroDivisionError):
            await flowing
        assert not both.connection.reusable()


async def test_a_cancelled_flow_leaves_what_follows_to_the_next_reader() -> None:
    got: list[bytes] = []
    async with pair() as both:
        await both.send(CHUNKED)
        await both.connection.head()
        flowing = asyncio.create_task(both.connection.flow(collecting(got)))
        await asyncio.sleep(0)
        await both.send(b"1\r\na\r\n")
        flowing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flowing
        await both.send(b"1\r\nb\r\n0\r\n\r\n")
        assert got == [b"a"]
        assert await both.connection.read() == b"b"


async def test_a_sink_gets_what_stood_before_the_fault() -> None:
    got: list[bytes] = []
    async with pair() as both:
        await both.send(CHUNKED)
        await both.connection.head()
        flowing = asyncio.create_task(both.connection.flow(collecting(got)))
        await asyncio.sleep(0)
        await both.send(b"1\r\na\r\nxyz\r\n")
        await flowing
        assert got == [b"a"]
        assert both.connection.broken


async def test_a_failure_after_the_last_byte_is_none() -> None:
    async with pair() as both:
        await both.send(OK + TWO)
        await both.connection.head()
        both.connection.fail(TimeoutError())
        assert await both.connection.read() == b"ok"
        assert await both.connection.read() == b""


async def test_a_failure_comes_after_what_arrived_before_it() -> None:
    async with pair() as both:
        await both.send(CHUNKED + b"1\r\na\r\n")
        await both.connection.head()
        both.connection.fail(TimeoutError())
        assert await both.connection.read() == b"a"
        with pytest.raises(TimeoutError):
            await both.connection.read()
        assert not both.connection.reusable()


# --- any cuts, any bytes -------------------------------------------------------------------------

RICH = (
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n"
    b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'5;x=y\r\ndata:\r\nA\r\n {"a": 1}\n\r\n1\r\n\n\r\n0\r\nX-Trailer: 1\r\n\r\n'
)
RICH_OUTCOME = Outcome(200, b'data: {"a": 1}\n\n', broken=False, reusable=True)


async def test_a_cut_at_every_byte_changes_nothing() -> None:
    for at in range(1, len(RICH)):
        assert await outcome([RICH[:at], RICH[at:]]) == RICH_OUTCOME


class Loop:
    """Runs coroutines, and collects what would only have been logged."""

    def __init__(self) -> None:
        self.logged: list[dict[str, Any]] = []
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)

    def __enter__(self) -> Self:
        self.runner.__enter__()
        self.runner.get_loop().set_exception_handler(lambda _, context: self.logged.append(context))
        return self

    def __exit__(self, *_: object) -> None:
        self.runner.close()
        assert self.logged == []


def test_random_cuts_change_nothing() -> None:
    with Loop() as loop:

        @settings(max_examples=100)
        @given(st.sets(st.integers(1, len(RICH) - 1)))
        def check(cuts: set[int]) -> None:
            ends = [0, *sorted(cuts), len(RICH)]
            pieces = [RICH[start:end] for start, end in itertools.pairwise(ends)]
            assert loop.runner.run(outcome(pieces)) == RICH_OUTCOME

        check()


PLAUSIBLE = st.sampled_from(
    [
        OK, CHUNKED, TWO, RICH, b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204 X\r\n", b"\r\n",
        b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
        b"5\r\nhello\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b": \r\n", b"\0", b"\r", b"\n",
    ]
)  # fmt: skip


def test_random_bytes_give_a_response_or_one_of_the_two_errors() -> None:
    async def feed(pieces: list[bytes]) -> None:
        try:
            got = await outcome(pieces, end=True)
        except (MalformedResponseError, BrokenConnectionError):
            return
        assert not got.reusable  # the provider has closed
        assert 0 <= got.status <= 999

    with Loop() as loop:

        @settings(max_examples=300)
        @given(st.lists(st.one_of(PLAUSIBLE, st.binary(min_size=1, max_size=40)), max_size=8))
        def check(pieces: list[bytes]) -> None:
            loop.runner.run(feed(pieces))

        check()


async def test_parser_and_connection_do_not_keep_each_other_alive() -> None:
    async with pair() as both:
        await both.send(OK + TWO)
        await both.connection.head()
        both.connection.close()
        for _ in range(5):
            await asyncio.sleep(0)
        assert both.connection._parser is None
