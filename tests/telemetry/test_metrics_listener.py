"""The listener for metrics: one answer on one path, and bounds on everything else."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import uvloop

from tellstream.telemetry.metrics_listener import (
    MAX_CONNECTIONS,
    MAX_HEAD_BYTES,
    MetricsListener,
    MetricsSetupError,
    metrics_address,
)

SECONDS = 10
TRIES = 20
HOST = "127.0.0.1"
HUGE = 64 * 1024 * 1024
"""Bytes: more than the kernel's buffers of both ends."""


async def body() -> bytes:
    return b"up 1\n"


@asynccontextmanager
async def listening(
    render: Callable[[], Awaitable[bytes]] = body, **deadlines: float
) -> AsyncIterator[MetricsListener]:
    listener = MetricsListener(render, **deadlines)
    await listener.start(HOST, 0)
    try:
        yield listener
    finally:
        await listener.close()


async def becomes(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(request)
        async with asyncio.timeout(SECONDS):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def request(line: str) -> bytes:
    return f"{line} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


class TestAnswers:
    @pytest.mark.parametrize("path", ["/metrics", "/metrics?name[]=up"])
    async def test_get_metrics_is_answered(self, path: str) -> None:
        async with listening() as listener:
            answer = await ask(listener.port, request(f"GET {path}"))
        head, _, content = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
        assert b"Connection: close" in head
        assert content == b"up 1\n"

    @pytest.mark.parametrize(
        ("line", "status"),
        [
            ("GET /", 404),
            ("GET /metrics/", 404),
            ("GET /../metrics", 404),
            ("GET http://x/metrics", 404),
            ("GET /v1/models", 404),
            ("GET /readyz", 404),
            ("POST /v1/chat/stream", 404),
            ("POST /metrics", 405),
            ("HEAD /metrics", 405),
            ("get /metrics", 405),
            ("DELETE /metrics", 405),
        ],
    )
    async def test_nothing_else_is_answered(self, line: str, status: int) -> None:
        async with listening() as listener:
            answer = await ask(listener.port, request(line))
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"up 1" not in answer
        assert (b"Allow: GET\r\n" in answer) == (status == 405)

    @pytest.mark.parametrize(
        ("garbage", "status"),
        [
            (b"\r\n\r\n", 400),
            (b"GET /metrics\r\n\r\n", 400),
            (b"GET /metrics HTTP/2.0\r\n\r\n", 400),
            (b"\x16\x03\x01\x02\r\n\r\n", 400),
            (b"GET /metrics HTTP/1.1\r\nX: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
            (b"a" * (3 * MAX_HEAD_BYTES), 431),
        ],
        ids=["empty", "0.9", "2.0", "TLS", "large", "endless"],
    )
    async def test_what_is_no_request_is_refused(self, garbage: bytes, status: int) -> None:
        async with listening() as listener:
            answer = await ask(listener.port, garbage)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())

    async def test_a_failure_shows_nothing_of_itself(self) -> None:
        async def broken() -> bytes:
            raise ValueError("planted")

        async with listening(broken) as listener:
            answer = await ask(listener.port, request("GET /metrics"))
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"planted" not in answer

    async def test_many_who_ask_at_once_share_one_exposition(self) -> None:
        made = 0

        async def counted() -> bytes:
            nonlocal made
            made += 1
            await asyncio.sleep(0.01)
            return b"up 1\n"

        async with listening(counted) as listener:
            questions = [ask(listener.port, request("GET /metrics")) for _ in range(5)]
            answers = await asyncio.gather(*questions)
        assert all(answer.endswith(b"up 1\n") for answer in answers)
        assert made == 1


class TestBounds:
    async def test_a_client_that_does_not_speak_is_cut(self) -> None:
        async with listening(head_seconds=0.1) as listener:
            answer = await ask(listener.port, b"GET /metrics HTTP/1.1\r\n")
        assert answer.startswith(b"HTTP/1.1 408 ")

    async def test_a_client_that_does_not_read_is_cut(self) -> None:
        async def huge() -> bytes:
            return b"x" * HUGE

        async with listening(huge, write_seconds=0.2) as listener:
            reader, writer = await asyncio.open_connection(HOST, listener.port, limit=1024)
            try:
                writer.write(request("GET /metrics"))
                await becomes(lambda: bool(listener._tasks))
                await becomes(lambda: not listener._tasks)
                async with asyncio.timeout(SECONDS):
                    got = len(await reader.read(HUGE))
                    while chunk := await reader.read(HUGE):
                        got += len(chunk)
            finally:
                writer.close()
        assert 0 < got < HUGE

    async def test_connections_are_counted_and_given_back(self) -> None:
        async with listening() as listener:
            held = [
                await asyncio.open_connection(HOST, listener.port) for _ in range(MAX_CONNECTIONS)
            ]
            await becomes(lambda: len(listener._tasks) == MAX_CONNECTIONS)
            refused = await ask(listener.port, b"")
            for _, writer in held:
                writer.close()
                await writer.wait_closed()
            await becomes(lambda: not listener._tasks)
            answered = await ask(listener.port, request("GET /metrics"))
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert answered.startswith(b"HTTP/1.1 200 ")

    async def test_closing_cuts_who_is_connected(self) -> None:
        async with listening() as listener:
            port = listener.port
            reader, writer = await asyncio.open_connection(HOST, port)
            await becomes(lambda: bool(listener._tasks))
            async with asyncio.timeout(SECONDS):
                await listener.close()
                assert await reader.read() == b""
            writer.close()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(HOST, port)


def test_the_servers_event_loop_gives_the_same() -> None:
    async def use() -> tuple[bytes, bytes, str]:
        async with listening(head_seconds=0.1) as listener:
            good = await ask(listener.port, request("GET /metrics"))
            late = await ask(listener.port, b"GET")
            with pytest.raises(MetricsSetupError) as refused:
                await MetricsListener(body).start(HOST, listener.port)
        return good, late, str(refused.value)

    good, late, busy = uvloop.run(use())
    assert good.endswith(b"up 1\n")
    assert late.startswith(b"HTTP/1.1 408 ")
    assert busy.endswith(": Address already in use")


HOLD = """
import asyncio, sys
from tellstream.telemetry.metrics_listener import MetricsListener, MetricsSetupError
async def main():
    listener = MetricsListener(lambda: None)
    try:
        await listener.start("127.0.0.1", int(sys.argv[1]))
    except MetricsSetupError as error:
        sys.exit(f"tellstream: {error}")
asyncio.run(main())
"""


class TestAddress:
    async def test_a_second_process_on_the_port_is_told_so_in_one_line(self) -> None:
        async with listening() as listener:
            port = listener.port
            second = await asyncio.create_subprocess_exec(
                sys.executable, "-c", HOLD, str(port), stderr=subprocess.PIPE
            )
            async with asyncio.timeout(SECONDS):
                _, errors = await second.communicate()
        assert second.returncode == 1
        assert errors.decode() == (
            f"tellstream: metrics.listen: cannot listen on 127.0.0.1:{port}:"
            " Address already in use\n"
        )

    async def test_a_name_that_does_not_exist_is_told_in_one_line(self) -> None:
        with pytest.raises(MetricsSetupError, match=r"cannot listen on nowhere\.invalid:0: \S"):
            await MetricsListener(body).start("nowhere.invalid", 0)

    async def test_workers_listen_on_one_port_after_the_other(self) -> None:
        for _ in range(TRIES):
            async with listening() as first:
                base = first.port
            with suppress(MetricsSetupError):  # somebody else has one of the next ports
                return await self.three_workers(base)
        raise AssertionError("no free ports in a row")

    async def three_workers(self, base: int) -> None:
        listeners = [MetricsListener(body) for _ in range(3)]
        try:
            for worker, listener in enumerate(listeners):
                await listener.start(*metrics_address(f"{HOST}:{base}", worker))
            answers = [await ask(base + n, request("GET /metrics")) for n in range(3)]
        finally:
            for listener in listeners:
                await listener.close()
        assert all(answer.endswith(b"up 1\n") for answer in answers)

    def test_the_address_of_a_worker(self) -> None:
        assert metrics_address("127.0.0.1:9464") == ("127.0.0.1", 9464)
        assert metrics_address("[::1]:9464", 2) == ("::1", 9466)
        assert metrics_address("localhost:0", 2) == ("localhost", 0)
        with pytest.raises(MetricsSetupError, match="no port for worker 1"):
            metrics_address("a:65535", 1)
