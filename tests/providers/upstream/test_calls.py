"""Calls to providers that misbehave: what comes out, how soon, and what it leaves behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import uvloop

from support.certificates import make_certificate, serving
from support.open_sockets import only, open_sockets, until
from support.raw_provider import GREETING, Play, RawProvider, Visit, answering, greet
from tellstream.core.errors import ProviderError
from tellstream.providers import exchange, http, pool
from tellstream.providers.base import UpstreamRequest
from tellstream.providers.http import Timeouts, Upstream
from tellstream.providers.openai_chat import OpenAIChat

DIALECT = OpenAIChat()
PATIENT = Timeouts(connect=10, headers=10, first_token=10, idle=10, total=20)
SECRET = "sk-very-secret"
HEADERS = {"Authorization": f"Bearer {SECRET}"}
MEGABYTES_8 = b" " * (8 * 1024 * 1024)


class Read(NamedTuple):
    body: bytes
    broken: str | None


@asynccontextmanager
async def calling(timeouts: Timeouts = PATIENT) -> AsyncIterator[Upstream]:
    upstream = Upstream(timeouts)
    await upstream.start()
    try:
        async with asyncio.timeout(30):
            yield upstream
    finally:
        await upstream.close()


async def call(
    upstream: Upstream,
    url: str,
    body: bytes = b"{}",
    headers: dict[str, str] = HEADERS,
    total: float = 20,
) -> Read:
    total_at = asyncio.get_running_loop().time() + total
    request = UpstreamRequest(f"{url}/chat/completions", headers, body)
    read = b""
    async with upstream.call(DIALECT, request, total_at) as response:
        while chunk := await response.read():
            read += chunk
        return Read(read, response.broken)


async def failure(upstream: Upstream, url: str, *args: object, **options: object) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await call(upstream, url, *args, **options)  # type: ignore[arg-type]
    return caught.value


# --- stale connections ---------------------------------------------------------------------------


def closing_after_the_first(close: str) -> Play:
    """Play a provider that gives up its first connection when the second request comes."""

    async def play(visit: Visit) -> None:
        await visit.request()
        await visit.send(GREETING)
        if visit.number == 1:
            if close == "reset":
                await visit.request()
                visit.reset()
            elif close == "end":
                await visit.reader.readexactly(1)
                visit.end()
            return
        await greet(visit)

    return play


@pytest.mark.parametrize("close", ["reset", "end"])
async def test_a_request_that_meets_a_closing_connection_is_sent_on_a_new_one_at_once(
    close: str,
) -> None:
    async with RawProvider(closing_after_the_first(close)) as provider, calling() as upstream:
        assert await call(upstream, provider.url) == Read(b"ok", None)
        assert await call(upstream, provider.url) == Read(b"ok", None)
        assert len(provider.visits) == 2
        assert len(provider.visits[1].requests) == 1


async def test_it_is_sent_once_more_and_not_for_ever() -> None:
    async def play(visit: Visit) -> None:
        if visit.number <= 3:
            await visit.request()
            await visit.send(GREETING)
        await visit.request()
        visit.reset()

    async with RawProvider(play) as provider, calling() as upstream:
        # Three connections are kept, and all of them are stale; so is the provider.
        await asyncio.gather(*(call(upstream, provider.url) for _ in range(3)))
        assert len(provider.visits) == 3
        error = await failure(upstream, provider.url)
        assert (error.code, error.network) == ("provider_unavailable", True)
        assert sum(len(visit.requests) for visit in provider.visits) == 3 + 2


async def test_a_request_lost_on_a_new_connection_is_a_failure() -> None:
    async def play(visit: Visit) -> None:
        await visit.request()
        visit.reset()

    async with RawProvider(play) as provider, calling() as upstream:
        error = await failure(upstream, provider.url)
        assert (error.code, error.network, error.retryable) == ("provider_unavailable", True, True)
        assert len(provider.visits) == 1


async def test_a_request_that_was_answered_in_part_is_not_sent_again() -> None:
    async def play(visit: Visit) -> None:
        await visit.request()
        await visit.send(GREETING)
        await visit.request()
        await visit.send(b"HTTP/1.1 200")
        visit.end()

    async with RawProvider(play) as provider, calling() as upstream:
        await call(upstream, provider.url)
        assert (await failure(upstream, provider.url)).code == "provider_unavailable"
        assert len(provider.visits) == 1


async def test_a_request_that_may_have_been_worked_on_is_not_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "STALE_SECONDS", 0.05)

    async def play(visit: Visit) -> None:
        await visit.request()
        await visit.send(GREETING)
        await visit.request()
        await asyncio.sleep(0.2)
        visit.end()

    async with RawProvider(play) as provider, calling() as upstream:
        await call(upstream, provider.url)
        assert (await failure(upstream, provider.url)).code == "provider_unavailable"
        assert len(provider.visits) == 1


# --- what one call leaves to the next ------------------------------------------------------------


async def test_what_one_call_did_not_read_is_not_read_by_the_next_one() -> None:
    secret = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nanother's da"

    async def play(visit: Visit) -> None:
        await visit.request()
        await visit.send(secret if visit.number == 1 else GREETING)
        await visit.left()

    async with RawProvider(play) as provider, calling() as upstream:
        total_at = asyncio.get_running_loop().time() + 10
        request = UpstreamRequest(f"{provider.url}/x", HEADERS, b"{}")
        async with upstream.call(DIALECT, request, total_at):
            await asyncio.sleep(0.05)  # everything arrives, and nobody reads it
        assert await call(upstream, provider.url) == Read(b"ok", None)
        assert len(provider.visits) == 2


async def test_a_provider_that_sends_two_responses_is_believed_the_first() -> None:
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    async with RawProvider(answering(GREETING + evil)) as provider, calling() as upstream:
        for _ in range(3):
            assert await call(upstream, provider.url) == Read(b"ok", None)
        assert len(provider.visits) == 3


async def test_a_provider_that_answers_before_the_request_is_not_believed() -> None:
    async def play(visit: Visit) -> None:
        await visit.request()
        await visit.send(GREETING)
        await visit.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        visit.end()

    async with RawProvider(play) as provider, calling() as upstream:
        for _ in range(3):
            assert await call(upstream, provider.url) == Read(b"ok", None)
            await asyncio.sleep(0.01)


# --- requests that are not read ------------------------------------------------------------------


async def test_a_provider_that_does_not_read_the_request_meets_the_headers_timer() -> None:
    async def play(visit: Visit) -> None:
        await asyncio.Event().wait()

    before = open_sockets()
    async with (
        RawProvider(play) as provider,
        calling(Timeouts(connect=10, headers=0.3, first_token=10)) as upstream,
    ):
        error = await failure(upstream, provider.url, MEGABYTES_8)
        assert error.code == "provider_timeout"
    await only(before)


async def test_a_provider_that_does_not_read_the_request_meets_the_total_timer() -> None:
    async def play(visit: Visit) -> None:
        await asyncio.Event().wait()

    async with RawProvider(play) as provider, calling() as upstream:
        error = await failure(upstream, provider.url, MEGABYTES_8, total=0.3)
        assert error.code == "provider_timeout"


@pytest.mark.parametrize("end", ["reset", "end", "hold"])
@pytest.mark.asyncio(loop_factories=["uvloop"])  # the standard loop drops what arrived on EPIPE
async def test_an_answer_that_comes_before_the_request_was_read_is_used(end: str) -> None:
    async def play(visit: Visit) -> None:
        await visit.reader.readuntil(b"\r\n\r\n")
        await visit.send(
            b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 46\r\n\r\n"
            b'{"error": {"code": "context_length_exceeded"}}'
        )
        if end == "hold":
            await asyncio.Event().wait()
        elif end == "end":
            visit.end()  # with unread bytes, which makes a reset of it

    async with RawProvider(play) as provider, calling() as upstream:
        for _ in range(3):
            error = await failure(upstream, provider.url, MEGABYTES_8)
            assert error.code == "context_length_exceeded"
        assert len(provider.visits) == 3  # half a request cannot be followed by another one


async def test_an_answer_before_the_request_was_read_ends_the_connection() -> None:
    async def play(visit: Visit) -> None:
        await visit.reader.readuntil(b"\r\n\r\n")
        await visit.send(GREETING)
        await asyncio.Event().wait()

    async with RawProvider(play) as provider, calling() as upstream:
        assert await call(upstream, provider.url, MEGABYTES_8) == Read(b"ok", None)
        assert await call(upstream, provider.url, MEGABYTES_8) == Read(b"ok", None)
        assert len(provider.visits) == 2


# --- ends of bodies ------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_an_end_before_the_request_was_read_ends_a_body_without_a_length(
    tls: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def play(visit: Visit) -> None:
        await visit.reader.readuntil(b"\r\n\r\n")
        await visit.send(b"HTTP/1.1 200 OK\r\n\r\nto the end")
        if tls:
            visit.end()
        else:
            visit.writer.write_eof()
        await asyncio.Event().wait()

    context = serving(certificate) if tls else None
    async with RawProvider(play, tls=context) as provider, calling() as upstream:
        async with asyncio.timeout(5):  # no timer of the call's
            got = await call(upstream, provider.url, MEGABYTES_8)
        assert got.body == b"to the end"
        assert tls or got.broken is None


def ending(how: str) -> Play:
    async def play(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\n\r\nto the end")
        await asyncio.sleep(0.02)
        getattr(visit, how)()
        await asyncio.sleep(0.02)

    return play


@pytest.mark.parametrize(("how", "broken"), [("end", False), ("reset", True)])
async def test_only_an_orderly_end_ends_a_body_without_a_length(how: str, broken: bool) -> None:
    async with RawProvider(ending(how)) as provider, calling() as upstream:
        got = await call(upstream, provider.url)
        assert got.body == b"to the end"
        assert (got.broken is not None) is broken


@pytest.mark.parametrize(("how", "broken"), [("end", False), ("vanish", True), ("reset", True)])
@pytest.mark.asyncio(loop_factories=["uvloop"])  # the standard loop does not tell these apart
async def test_over_tls_only_a_closing_alert_ends_a_body_without_a_length(
    how: str, broken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with (
        RawProvider(ending(how), tls=serving(certificate)) as provider,
        calling() as upstream,
    ):
        got = await call(upstream, provider.url)
        assert got.body == b"to the end"
        assert (got.broken is not None) is broken


# --- a reader that does not read -----------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_caller_that_does_not_read_holds_back_the_provider(
    tls: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    size = 24 * 1024 * 1024
    sent = 0

    async def play(visit: Visit) -> None:
        nonlocal sent
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            await visit.send(b" " * 65_536)
            sent += 65_536
        await visit.left()

    # No idle timer runs while the caller does not read.
    timeouts = Timeouts(connect=10, headers=10, first_token=10, idle=0.2, total=20)
    context = serving(certificate) if tls else None
    async with RawProvider(play, tls=context) as provider, calling(timeouts) as upstream:
        total_at = asyncio.get_running_loop().time() + 20
        request = UpstreamRequest(f"{provider.url}/x", HEADERS, b"{}")
        async with upstream.call(DIALECT, request, total_at) as response:
            got = len(await response.read())
            response.content_seen()
            before = -1
            while before != sent:  # until the kernel's buffers are full as well
                before = sent
                await asyncio.sleep(0.25)
            assert sent < size
            connection = response._connection
            assert connection._waiting <= exchange.BUFFER_BYTES + 512 * 1024
            while chunk := await response.read():
                got += len(chunk)
            assert (got, response.broken) == (size, None)


async def test_the_total_timer_ends_a_call_whose_caller_does_not_read() -> None:
    chunk = b"%x\r\n%b\r\n" % (65_536, b" " * 65_536)

    async def play(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await visit.send(chunk)

    async with RawProvider(play) as provider, calling() as upstream:
        total_at = asyncio.get_running_loop().time() + 0.3
        request = UpstreamRequest(f"{provider.url}/x", HEADERS, b"{}")
        async with upstream.call(DIALECT, request, total_at) as response:
            await asyncio.sleep(0.4)
            assert await response.read()  # what had arrived
            with pytest.raises(ProviderError) as caught:
                await response.read()
        assert (caught.value.code, caught.value.reason) == ("provider_timeout", "total")


# --- the connect timer ---------------------------------------------------------------------------


async def test_without_a_free_connection_the_connect_timer_ends_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "MAX_CONNECTIONS", 1)

    async def play(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\n\r\n")
        await visit.left()

    timeouts = Timeouts(connect=0.2, headers=10, first_token=10)
    async with RawProvider(play) as provider, calling(timeouts) as upstream:
        total_at = asyncio.get_running_loop().time() + 20
        request = UpstreamRequest(f"{provider.url}/x", HEADERS, b"{}")
        async with upstream.call(DIALECT, request, total_at):
            error = await failure(upstream, provider.url)
            assert (error.code, error.reason) == ("provider_timeout", "connect or headers")
        assert len(provider.visits) == 1


async def test_a_provider_that_accepts_and_never_shakes_hands_meets_the_connect_timer() -> None:
    async def play(visit: Visit) -> None:
        await visit.left()

    before = open_sockets()
    timeouts = Timeouts(connect=0.2, headers=10, first_token=10)
    async with RawProvider(play) as provider, calling(timeouts) as upstream:
        error = await failure(upstream, provider.url.replace("http:", "https:"))
        assert error.code == "provider_timeout"
        await until(lambda: not provider.open)
    await only(before)


# --- TLS -----------------------------------------------------------------------------------------


async def test_a_certificate_of_another_name_or_of_nobody_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path, "another.example")
    async with RawProvider(greet, tls=serving(certificate)) as provider:
        for authority in (certificate, None):
            if authority is None:
                monkeypatch.delenv("SSL_CERT_FILE")
            else:
                monkeypatch.setenv("SSL_CERT_FILE", str(authority))
            async with calling() as upstream:
                error = await failure(upstream, provider.url)
                assert (error.code, error.network) == ("provider_unavailable", True)
                assert "CERTIFICATE_VERIFY_FAILED" in (error.reason or "")
        assert all(visit.requests == [] for visit in provider.visits)  # the key was not sent


# --- addresses and fields ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "host", "line"),
    [
        ("http://127.0.0.1:80/v1", "127.0.0.1", "127.0.0.1"),
        ("http://127.0.0.1:81/v1", "127.0.0.1", "127.0.0.1:81"),
        ("https://[2001:db8::1]/v1", "2001:db8::1", "[2001:db8::1]"),
        ("https://[2001:db8::1]:8443/v1", "2001:db8::1", "[2001:db8::1]:8443"),
        ("https://BÜCHER.example:8443/v1", "xn--bcher-kva.example", "xn--bcher-kva.example:8443"),
        ("https://example.com:443/v1", "example.com", "example.com"),
        ("http://example.com:443/v1", "example.com", "example.com:443"),
    ],
)
def test_the_host_field_names_the_address_as_a_url_would(
    address: str, host: str, line: str
) -> None:
    target = http._target(address)
    assert target.origin.host == host
    assert target.head == f"POST /v1 HTTP/1.1\r\nHost: {line}\r\n"


def test_a_path_cannot_end_the_request_line() -> None:
    target = http._target("http://h/v1/a b\r\nX: y\r\n\r\nPOST /?key=ä#x")
    assert target.head.count("\r\n") == 2
    assert " " not in target.head.split("\r\n")[0].removeprefix("POST ").removesuffix(" HTTP/1.1")


@pytest.mark.parametrize(
    "address",
    ["ftp://h/v1", "h/v1", "http:///v1", f"http://user:{SECRET}@h/v1", f"http://{SECRET}@h/v1"],
)
async def test_addresses_that_are_refused_are_not_quoted(address: str) -> None:
    async with calling() as upstream:
        error = await failure(upstream, address)
    assert error.code == "provider_protocol"
    assert SECRET not in f"{error.reason}"


@pytest.mark.parametrize("field", ["a\r\nX: y", "a\nX: y", "a\rX: y", "a\0b", "ключ"])
async def test_a_field_that_would_be_more_than_one_is_not_sent_and_not_quoted(field: str) -> None:
    headers = HEADERS | {"X-Field": field}
    async with RawProvider(greet) as provider, calling() as upstream:
        error = await failure(upstream, provider.url, headers=headers)
        assert error.code == "provider_protocol"
        assert SECRET not in f"{error.reason}"
        assert provider.visits == []
        assert await call(upstream, provider.url) == Read(b"ok", None)
        head, body = provider.visits[0].requests[0]
        assert body == b"{}"
        assert head == (
            "POST /v1/chat/completions HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{provider.port}\r\nAuthorization: Bearer {SECRET}\r\n"
            "Content-Length: 2\r\n\r\n"
        )


@pytest.mark.parametrize(
    "fields",
    [b"Content-Encoding: gzip", b"Content-Encoding: br, identity", b"Transfer-Encoding: gzip"],
)
async def test_a_coding_that_was_not_asked_for_is_a_protocol_error(fields: bytes) -> None:
    response = b"HTTP/1.1 200 OK\r\n%b\r\nContent-Length: 2\r\n\r\nok" % fields
    async with RawProvider(answering(response)) as provider, calling() as upstream:
        assert (await failure(upstream, provider.url)).code == "provider_protocol"


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "provider_protocol"),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", "provider_protocol"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "provider_protocol"),
        (b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n", "provider_protocol"),
        (b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n", "provider_unavailable"),
        (b"garbage\r\n\r\n", "provider_protocol"),
        (b"HTTP/1.1 500 X\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "provider_protocol"),
        (b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\nzzz", "provider_unavailable"),
    ],
)  # fmt: skip
async def test_responses_that_are_no_answer(response: bytes, code: str) -> None:
    async with RawProvider(answering(response)) as provider, calling() as upstream:
        assert (await failure(upstream, provider.url)).code == code
        assert sum(len(visit.requests) for visit in provider.visits) == 1


# --- nothing is left -----------------------------------------------------------------------------


async def test_after_calls_cancelled_at_any_step_nothing_is_left() -> None:
    async def play(visit: Visit) -> None:
        while True:
            await visit.request()
            await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"o", b"k", b"!!")

    before = open_sockets()
    tasks = len(asyncio.all_tasks())
    async with RawProvider(play) as provider:
        async with calling() as upstream:
            for steps in range(60):
                task = asyncio.create_task(call(upstream, provider.url))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            assert await call(upstream, provider.url) == Read(b"ok!!", None)
            assert upstream._pool is not None
            used = pool.MAX_CONNECTIONS - upstream._pool._room._value
            assert used == len(upstream._pool._open) <= 2  # idle ones
        await until(lambda: not provider.open)
    await only(before)
    assert len(asyncio.all_tasks()) == tasks


async def test_closing_the_client_ends_the_calls_that_run() -> None:
    async def play(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        await visit.left()

    async with RawProvider(play) as provider, calling() as upstream:
        running = [asyncio.create_task(call(upstream, provider.url)) for _ in range(3)]
        await until(lambda: sum(len(visit.requests) for visit in provider.visits) == 3)
        await asyncio.sleep(0.05)
        await upstream.close()
        assert await asyncio.gather(*running) == [Read(b"ok", "closed before the end")] * 3
        await until(lambda: not provider.open)


def test_the_loop_of_the_server_is_the_one_that_is_tested() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert isinstance(runner.get_loop(), uvloop.Loop)
