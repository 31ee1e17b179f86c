"""Provider and load of the benchmarks tell the truth: what is wrong with an answer is noticed."""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from support.ports import free_port

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks/ is not installed

from benchmarks import gateways, wire
from benchmarks.processes import ProcessError
from benchmarks.scenarios import Scenario

pytestmark = pytest.mark.skipif(wire.missing() is not None, reason=str(wire.missing()))

PACED: Final = Scenario("paced", "", 5, rate=50, ramp=0.1)
FAST: Final = Scenario("fast", "", 2, words=20, ramp=0.1)
SECONDS: Final = 0.3
Deltas = list[tuple[float, int]]
"""When each is written, in seconds of its answer; and its stamp, in microseconds of the same."""


def request(port: int, model: str) -> bytes:
    return wire.request(port, gateways.OPENAI_PATH, {}, gateways.openai_body(model))


def put(
    port: int, scenario: Scenario, folder: Path, ends: tuple[str, ...] = ("data: [DONE]",)
) -> wire.Arrived:
    asked = request(port, scenario.model(SECONDS))
    return wire.load(port, asked, list(ends), scenario, SECONDS, folder, frozenset())


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[int]:
    port = free_port()
    with wire.provider(port, tmp_path, frozenset()):
        yield port


def test_paced_deltas_are_counted_and_timed(provider: int, tmp_path: Path) -> None:
    arrived = put(provider, PACED, tmp_path, ("data: [DONE]", '"completion_tokens":45,'))
    assert 16 <= arrived.deltas <= 5 * PACED.deltas(SECONDS)
    assert arrived.opened <= 5
    assert arrived.unfinished == 0
    assert arrived.latency is not None
    assert arrived.late is not None
    assert 0 < arrived.latency["p50"] <= arrived.latency["max"]
    assert arrived.late["count"] == arrived.latency["count"] == arrived.deltas


def test_answers_follow_each_other_where_there_is_no_pace(provider: int, tmp_path: Path) -> None:
    arrived = put(provider, FAST, tmp_path, ('"completion_tokens":20,', '"finish_reason":"stop"'))
    assert arrived.answers > 2
    assert arrived.deltas >= (arrived.answers - 2) * 20
    assert arrived.first is not None
    assert (arrived.latency, arrived.late) == (None, None)


@pytest.mark.parametrize("rate", [0, 200])
async def test_an_official_wire_comes_from_the_provider(provider: int, rate: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", provider)
    before = time.monotonic_ns() // 1_000
    for _ in range(2):  # on one connection
        writer.write(request(provider, f"bench-3-{rate}"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream")
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        assert await reader.readline() == b"\r\n"
        *events, done, end = body.decode().split("\n\n")
        assert (done, end) == ("data: [DONE]", "")
        chunks = [json.loads(event.removeprefix("data: ")) for event in events]
        words = [chunk["choices"][0]["delta"].get("content") for chunk in chunks[:-1]]
        assert (words[0], words[-1]) == ("", None)
        stamps = [int(word.removeprefix(" ~")) for word in words[1:-1]]
        assert len(stamps) == 3
        assert before <= stamps[0] < stamps[1] < stamps[2] <= time.monotonic_ns() // 1_000
        if rate:
            assert stamps[2] - stamps[0] >= 2 * 1_000_000 // rate - 1_000
        assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
        assert chunks[-1]["usage"]["completion_tokens"] == 3
    writer.write(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    writer.write(b"2\r\n{}\r\n0\r\n\r\n")
    assert (await reader.readline()) == b"HTTP/1.1 404 Not Found\r\n"
    writer.close()
    await writer.wait_closed()


def frame(stamp: int) -> bytes:
    return b'data: {"text":"~%016d"}\n\n' % stamp


@asynccontextmanager
async def answering(
    change: Callable[[Deltas], Deltas],
    *,
    status: bytes = b"200 OK",
    end: bytes = b"data: [DONE]\n\n",
    cut: bool = False,
    pieces: int = 0,
) -> AsyncIterator[int]:
    """A paced provider in Python, whose deltas are changed before they are written.

    Args:
        change: of the deltas.
        status: of the answer.
        end: what follows them.
        cut: close instead of ending.
        pieces: bytes per chunk and write; 0: a delta.
    """
    count = PACED.deltas(SECONDS)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            began = time.monotonic()
            writer.write(b"HTTP/1.1 " + status + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
            for moment, stamp in change([(n / 50, n * 20_000) for n in range(count)]):
                await asyncio.sleep(began + moment - time.monotonic())
                for piece in cut_up(frame(int(began * 1e6) + stamp), pieces):
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    await asyncio.sleep(0)
            if not cut:
                writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(end), end))
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the load has seen enough
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port := free_port())
    async with server:
        yield port


def cut_up(data: bytes, size: int) -> list[bytes]:
    return [data[n : n + size] for n in range(0, len(data), size)] if size else [data]


def without(number: int) -> Callable[[Deltas], Deltas]:
    return lambda deltas: deltas[:number] + deltas[number + 1 :]


def twice(number: int) -> Callable[[Deltas], Deltas]:
    return lambda deltas: deltas[:number] + deltas[number - 1 :]


def swapped(deltas: Deltas) -> Deltas:
    return [*deltas[:4], deltas[5], deltas[4], *deltas[6:]]


def kept_back(deltas: Deltas) -> Deltas:
    """Delivered 150 ms after the stamp: the gateway is slow."""
    return [(moment + 0.15, stamp) for moment, stamp in deltas]


def behind(deltas: Deltas) -> Deltas:
    """Written, and stamped, 150 ms later than the pace wants: the provider is slow."""
    return [deltas[0], *((moment + 0.15, stamp + 150_000) for moment, stamp in deltas[1:])]


@pytest.mark.parametrize(
    ("change", "options", "complaint"),
    [
        (without(7), {}, "an answer has 44 deltas instead of 45"),
        (without(44), {}, "an answer has 44 deltas instead of 45"),
        (twice(7), {}, "delta 8 of an answer came twice or out of order"),
        (twice(45), {}, "an answer has more than its 45 deltas"),
        (swapped, {}, "delta 6 of an answer came twice or out of order"),
        (list, {"cut": True}, "the connection was closed in the middle of an answer"),
        (list, {"end": b"data: [DOME]\n\n"}, "an answer does not end with data: [DONE] but "),
        (list, {"status": b"429 Too Many"}, "answered HTTP/1.1 429 Too Many: "),
    ],
    ids=["dropped", "last dropped", "twice", "last twice", "swapped", "cut", "end", "refused"],
)
async def test_what_is_wrong_is_noticed(
    change: Callable[[Deltas], Deltas], options: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    async with answering(change, **options) as port:
        with pytest.raises(wire.LoadError, match=f"^{re.escape(complaint)}"):
            await asyncio.to_thread(put, port, PACED, tmp_path)


@pytest.mark.parametrize("pieces", [1, 7])
async def test_an_answer_may_arrive_in_any_pieces(pieces: int, tmp_path: Path) -> None:
    async with answering(list, pieces=pieces) as port:
        arrived = await asyncio.to_thread(put, port, PACED, tmp_path)
    assert arrived.unfinished == 0


async def test_a_delta_that_arrives_late_counts_against_the_gateway(tmp_path: Path) -> None:
    async with answering(kept_back) as port:
        arrived = await asyncio.to_thread(put, port, PACED, tmp_path)
    assert arrived.latency is not None
    assert arrived.latency["p50"] >= 150_000


async def test_a_delta_that_is_written_late_counts_against_the_provider(tmp_path: Path) -> None:
    async with answering(behind) as port:
        arrived = await asyncio.to_thread(put, port, PACED, tmp_path)
    assert arrived.late is not None
    assert arrived.late["max"] >= 149_000


def test_programs_are_compiled_once_and_again_when_a_source_is_newer(tmp_path: Path) -> None:
    made = wire.build(tmp_path)
    assert sorted(file.name for file in made.iterdir()) == ["load", "provider"]
    first = (made / "load").stat().st_mtime_ns
    wire.build(tmp_path)
    assert (made / "load").stat().st_mtime_ns == first
    os.utime(made / "load", (1, 1))
    wire.build(tmp_path)
    assert (made / "load").stat().st_mtime_ns > first


def test_what_the_compiler_says_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'no epoll here' >&2; exit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProcessError, match=r"^cc refuses provider\.c: no epoll here$"):
        wire.build(tmp_path / "made")
