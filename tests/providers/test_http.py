"""The upstream client against real sockets: its timers, its caps, and what it leaves behind."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.replay import Answer, ReplayProvider
from tellstream.core.chat import ChatRequest
from tellstream.core.errors import ProviderError
from tellstream.providers import http
from tellstream.providers.base import Endpoint
from tellstream.providers.hosts import GENERIC
from tellstream.providers.http import Timeouts, Upstream
from tellstream.providers.openai_chat import OpenAIChat
from tellstream.providers.simulator import Simulator

DIALECT = OpenAIChat()
SHORT = Timeouts(connect=0.2, headers=0.3, first_token=0.4, idle=0.25, total=5)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


async def read(
    base_url: str, model: str, timeouts: Timeouts = SHORT, *, content: bool = False
) -> bytes:
    """Read a whole answer; ``content``: report content after the first read."""
    upstream = Upstream(timeouts)
    await upstream.start()
    try:
        endpoint = Endpoint("p", base_url, "key", GENERIC)
        request = DIALECT.request(endpoint, model, ChatRequest("hello"))
        total_at = asyncio.get_running_loop().time() + timeouts.total
        body = b""
        async with upstream.call(DIALECT, request, total_at) as response:
            while chunk := await response.read():
                body += chunk
                if content:
                    response.content_seen()
        return body
    finally:
        await upstream.close()


async def failure(base_url: str, model: str = "m", **options: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await read(base_url, model, **options)
    return caught.value


async def test_a_plain_body_is_read_to_its_end(simulator: Simulator) -> None:
    assert (await read(f"{simulator.url}/v1", "sim:words=3")).endswith(b"data: [DONE]\n\n")


async def test_nobody_listening_is_unavailable() -> None:
    assert (await failure("http://127.0.0.1:1/v1")).code == "provider_unavailable"


async def test_the_connect_timer() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)  # the kernel drops further connections once the queue is full
        address = full.getsockname()
        held = [socket.socket() for _ in range(4)]
        for client in held:
            client.setblocking(False)
            client.connect_ex(address)
        error = await failure(f"http://127.0.0.1:{address[1]}/v1")
        for client in held:
            client.close()
    assert error.code == "provider_timeout"


async def test_the_headers_timer(simulator: Simulator) -> None:
    error = await failure(f"{simulator.url}/v1", "sim:words=3,fault=stall,at=-1")
    assert error.code == "provider_timeout"


async def test_the_first_token_timer_is_not_reset_by_comments(simulator: Simulator) -> None:
    error = await failure(f"{simulator.url}/v1", "sim:words=1,first_ms=3000,pings=1,ping_ms=50")
    assert (error.code, error.reason) == ("provider_timeout", "first token")


async def test_the_idle_timer_counts_silence_after_content(simulator: Simulator) -> None:
    error = await failure(f"{simulator.url}/v1", "sim:words=9,fault=stall,at=3", content=True)
    assert (error.code, error.reason) == ("provider_timeout", "idle")


async def test_the_idle_timer_does_not_wait_for_the_first_token_deadline(
    simulator: Simulator,
) -> None:
    timeouts = Timeouts(1, 1, first_token=30, idle=0.25, total=60)
    async with asyncio.timeout(5):
        error = await failure(
            f"{simulator.url}/v1", "sim:words=9,fault=stall,at=3", timeouts=timeouts, content=True
        )
    assert (error.code, error.reason) == ("provider_timeout", "idle")


async def test_the_idle_timer_is_reset_by_any_bytes(simulator: Simulator) -> None:
    body = await read(f"{simulator.url}/v1", "sim:words=6,delay_ms=100", content=True)
    assert body.endswith(b"data: [DONE]\n\n")


async def test_the_total_timer_ends_an_endless_answer(simulator: Simulator) -> None:
    timeouts = Timeouts(1, 1, 1, 1, total=0.5)
    error = await failure(
        f"{simulator.url}/v1", "sim:fault=endless,delay_ms=10", timeouts=timeouts, content=True
    )
    assert (error.code, error.reason) == ("provider_timeout", "total")


@pytest.mark.parametrize("model", ["sim:redirect=1", "sim:gzip=1"])
async def test_what_is_not_a_plain_answer_is_a_protocol_error(
    simulator: Simulator, model: str
) -> None:
    assert (await failure(f"{simulator.url}/v1", model)).code == "provider_protocol"
    assert len(simulator.requests()) == 1  # a redirect is never followed


async def test_a_reset_after_some_bytes_is_the_end_of_what_arrived() -> None:
    async with ReplayProvider() as provider:
        provider.answers["m"] = Answer(b"data: {}\n\n", reset=True)
        assert await read(provider.url, "m") == b"data: {}\n\n"


async def test_a_body_beyond_the_cap_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_BODY_BYTES", 10_000)
    async with ReplayProvider() as provider:
        provider.answers["m"] = Answer(b":" * 20_000)
        assert (await failure(provider.url)).code == "stream_too_large"


async def test_an_endless_error_body_is_cut_at_its_cap() -> None:
    async with ReplayProvider() as provider:
        provider.answers["m"] = Answer(b"x" * 1_000_000, status=500)
        assert (await failure(provider.url)).code == "provider_unavailable"


async def test_the_key_goes_into_the_header_and_nowhere_else() -> None:
    async with ReplayProvider() as provider:
        provider.answers["m"] = Answer(b"data: [DONE]\n\n")
        await read(provider.url, "m")
        head = str(provider.requests[0]["head"])
    assert "\r\nAuthorization: Bearer key\r\n" in head
    assert "\r\nAccept-Encoding: identity\r\n" in head
    assert head.count("key") == 1


async def test_leaving_early_closes_the_connection_within_a_second(simulator: Simulator) -> None:
    upstream = Upstream(Timeouts())
    await upstream.start()
    endpoint = Endpoint("p", f"{simulator.url}/v1", None, GENERIC)
    request = DIALECT.request(endpoint, "sim:fault=endless,delay_ms=5", ChatRequest("hello"))
    total_at = asyncio.get_running_loop().time() + 5
    async with upstream.call(DIALECT, request, total_at) as response:
        await response.read()
    left = time.monotonic()
    await simulator.idle()
    assert time.monotonic() - left < 1
    assert simulator.requests()[0].state == "client_closed"
    await upstream.close()


async def test_after_200_cancelled_calls_50_plain_ones_work(simulator: Simulator) -> None:
    upstream = Upstream(Timeouts())
    await upstream.start()
    endpoint = Endpoint("p", f"{simulator.url}/v1", None, GENERIC)

    async def one(model: str) -> bytes:
        request = DIALECT.request(endpoint, model, ChatRequest("hello"))
        body = b""
        total_at = asyncio.get_running_loop().time() + 5
        async with upstream.call(DIALECT, request, total_at) as response:
            while chunk := await response.read():
                body += chunk
        return body

    for number in range(200):
        task = asyncio.create_task(one("sim:words=50,delay_ms=5,head_ms=2"))
        await asyncio.sleep(0.001 * (number % 7))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    bodies = await asyncio.gather(*(one("sim:words=2") for _ in range(50)))
    assert all(body.endswith(b"data: [DONE]\n\n") for body in bodies)
    await upstream.close()


async def test_a_connection_is_reused_after_an_answer_that_was_read_to_its_end(
    simulator: Simulator,
) -> None:
    upstream = Upstream(Timeouts())
    await upstream.start()
    endpoint = Endpoint("p", f"{simulator.url}/v1", None, GENERIC)
    for _ in range(5):
        request = DIALECT.request(endpoint, "sim:words=2", ChatRequest("hello"))
        total_at = asyncio.get_running_loop().time() + 5
        async with upstream.call(DIALECT, request, total_at) as response:
            await response.read()
            await response.linger()
    assert simulator.stats()["open_connections"] == 1
    await upstream.close()
