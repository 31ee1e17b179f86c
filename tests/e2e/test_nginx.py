"""Streams through a real nginx, configured as docs/howto/behind-a-proxy.md says."""

import asyncio
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from support.chat import parse
from support.nginx import NAME, NGINX, SECONDS, Site, block, replaced, site
from support.ports import free_port
from support.redis import redis_server

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

SHORT: Final = {"        proxy_read_timeout 60s;": "        proxy_read_timeout 1s;"}
"""Silence is cut after a second, in all but the answers that come in one piece."""


async def becomes(condition: Callable[[], bool], said: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, said
        await asyncio.sleep(0.02)


def whole(body: bytes) -> bytes:
    """Cut off a frame that is not complete, and comments."""
    frames = body.replace(b": keep-alive\n", b"")
    return frames[: frames.rfind(b"\n\n") + 2]


async def read_until(response: aiohttp.ClientResponse, marks: bytes, count: int) -> bytes:
    """Read until ``marks`` has arrived so often."""
    body = b""
    while body.count(marks) < count:
        read = await response.content.readany()
        assert read, body
        body += read
    return body


async def what_still_comes(response: aiohttp.ClientResponse) -> bytes:
    """Read until the connection breaks."""
    body = b""
    try:
        while read := await response.content.readany():
            body += read
    except aiohttp.ClientError:
        return body
    return body


# --- the promises --------------------------------------------------------------------------------


@pytest.mark.parametrize("obeyed", [True, False], ids=["header obeyed", "header ignored"])
async def test_deltas_arrive_while_the_provider_is_still_sending(
    tmp_path: Path, obeyed: bool
) -> None:
    ignore = {"gzip off;": "gzip off; proxy_ignore_headers X-Accel-Buffering;"}
    async with (
        site(tmp_path, changes={} if obeyed else ignore) as here,
        here.chat("words") as response,
    ):
        assert response.status == 200
        first = await read_until(response, b"event: text_delta\n", 1)
        assert here.simulator.requests()[0].state == "running"
        assert first.count(b"event: text_delta\n") < 20
        events, _ = parse(first + await response.read())
    assert [event.type for event in events].count("text_delta") == 20


async def test_what_came_before_a_silence_is_not_held_back(tmp_path: Path) -> None:
    async with site(tmp_path) as here, here.chat("stalls") as response:
        # The provider never goes on, so a proxy that waits for more would never deliver this.
        body = await read_until(response, b"event: text_delta\n", 1)
        assert b"event: stream_end" not in body


@pytest.mark.parametrize("heartbeat", [0.3, 60.0])
async def test_keep_alives_carry_a_silent_stream_past_the_read_timeout(
    tmp_path: Path, heartbeat: float
) -> None:
    async with (
        site(tmp_path, changes=SHORT, heartbeat_seconds=heartbeat, commit_seconds=0.3) as here,
        here.chat("silent") as response,
    ):
        if heartbeat > 1:  # without them nginx cuts it: the timeout is real
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
            assert "timed out" in here.nginx.errors.read_text()
        else:
            body = await response.read()
            assert b": keep-alive\n" in body
            events, _ = parse(body)
            assert events[-1].type == "stream_end"


async def test_an_answer_in_one_piece_may_take_longer_than_a_silence(tmp_path: Path) -> None:
    async with (
        site(tmp_path, changes=SHORT) as here,
        here.chat("silent", "/v1/chat") as response,
    ):
        assert response.status == 200
        assert (await response.json())["data"]["finish_reason"] == "Stop"


async def test_after_a_restart_of_nginx_a_client_gets_exactly_the_rest(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        async with here.chat("long") as response:
            stream_id = response.headers["X-Stream-Id"]
            seen = await read_until(response, b"event: text_delta\n", 10)
            here.nginx.stop()
            seen += await what_still_comes(response)
        assert b"event: stream_end" not in seen
        here.nginx.start()
        seen = whole(seen)
        async with here.events(stream_id, seen.count(b"\n\n")) as response:
            assert response.status == 200
            rest = whole(await response.read())
        assert rest
        async with here.events(stream_id, 0) as response:
            assert seen + rest == await response.read()
    events, _ = parse(seen + rest)
    assert [event.type for event in events].count("text_delta") == 120


async def test_a_reload_of_nginx_cuts_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        async with here.chat("long") as response:
            body = await read_until(response, b"event: text_delta\n", 10)
            here.nginx.reload()
            async with here.get("/healthz") as health:
                assert health.status == 200
            body += await response.read()
        events, _ = parse(body)
    assert events[-1].type == "stream_end"
    assert [event.type for event in events].count("text_delta") == 120


async def test_a_client_that_leaves_is_missed_behind_nginx(tmp_path: Path) -> None:
    async with site(tmp_path, on_disconnect="cancel", heartbeat_seconds=60) as here:
        # Nothing more is written, so nothing but the closed connection tells.
        async with here.chat("stalls") as response:
            stream_id = response.headers["X-Stream-Id"]
            await read_until(response, b"event: text_delta\n", 1)
            assert response.connection is not None
            assert response.connection.transport is not None
            response.connection.transport.abort()  # close() would wait for nginx to say goodbye
        await becomes(
            lambda: here.simulator.requests()[0].state != "running",
            "the provider is never let go",
        )
        async with here.get(f"/v1/streams/{stream_id}") as response:
            assert (await response.json())["data"]["finish_reason"] == "Cancelled"


async def test_refusals_are_the_servers_own(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        path = here.url + "/v1/chat/stream"
        nobody = {"Authorization": ""}
        async with here.session.post(path, json={}, headers=nobody, **here.options) as response:
            assert response.status == 401
            assert (await response.json())["error"] == "unauthenticated"
        # Longer than a token may be; the head still passes nginx.
        forged = {"Authorization": "Bearer " + "x" * 8_300}
        async with here.session.post(path, json={}, headers=forged, **here.options) as response:
            assert response.status == 401
            assert "Bearer" in response.headers["WWW-Authenticate"]
            assert (await response.json())["error"] == "invalid_token"
        too_large = {"prompt": "x", "metadata": {"a": "x" * 300_000}}
        async with here.session.post(path, json=too_large, **here.options) as response:
            assert response.status == 413
            assert (await response.json())["error"] == "payload_too_large"
        assert "temporary file" not in here.nginx.errors.read_text()


async def test_what_a_caller_says_about_the_address_is_not_believed(tmp_path: Path) -> None:
    forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil"}
    async with (
        site(tmp_path) as here,
        here.get("/.well-known/oauth-authorization-server", headers=forged) as response,
    ):
        assert (await response.json())["issuer"] == f"https://{NAME}"


# --- several servers, several workers ------------------------------------------------------------


async def test_a_refused_connection_is_tried_elsewhere(tmp_path: Path) -> None:
    upstream = f"server 127.0.0.1:{free_port()}; server {{address}};"
    async with site(tmp_path, upstream=upstream) as here, here.chat("words") as response:
        assert response.status == 200
        events, _ = parse(await response.read())
        assert events[-1].type == "stream_end"
        assert "refused" in here.nginx.errors.read_text()


async def test_a_post_that_was_sent_is_never_repeated(tmp_path: Path) -> None:
    taken: list[bytes] = []

    async def take_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(await reader.readuntil(b"}"))
        writer.close()
        await writer.wait_closed()

    crashing = await asyncio.start_server(take_and_close, "127.0.0.1", 0)
    async with crashing:
        port = crashing.sockets[0].getsockname()[1]
        upstream = f"server 127.0.0.1:{port}; server {{address}};"
        async with site(tmp_path, upstream=upstream) as here:
            async with here.chat("words") as response:
                assert response.status == 502
            assert len(taken) == 1
            assert here.simulator.requests() == []


async def test_addresses_can_be_limited(tmp_path: Path) -> None:
    zone, *rest = replaced(block("nginx", "limits"), {"address 100": "address 2"}).splitlines()
    changes = {
        "    upstream ": f"    {zone} upstream ",
        "gzip off;": " ".join(["gzip off;", *rest]),
    }
    async with (
        site(tmp_path, changes=changes) as here,
        here.chat("endless") as one,
        here.chat("endless") as two,
        here.chat("words") as three,
    ):
        assert [one.status, two.status, three.status] == [200, 200, 429]
        one.close()
        two.close()


async def test_any_worker_behind_nginx_resumes_any_stream(tmp_path: Path) -> None:
    command = next(line for line in block("console").splitlines() if "serve" in line)
    arguments = command.removeprefix("$ tellstream serve").split()
    assert arguments == ["--workers", "2"]

    async def one(here: Site) -> None:
        async with here.chat("words") as response:
            stream_id = response.headers["X-Stream-Id"]
            seen = await read_until(response, b"event: text_delta\n", 3)
            async with here.events(stream_id, 2) as resumed:
                rest = await resumed.read()
            seen += await response.read()
        events, _ = parse(seen)
        assert events[-1].type == "stream_end"
        assert whole(rest) == b"".join(f + b"\n\n" for f in whole(seen).split(b"\n\n")[2:-1])

    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_server(folder) as redis:
        async with site(tmp_path, *arguments, log=redis.url) as here:
            await asyncio.gather(*(one(here) for _ in range(12)))


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_http2_delivers_before_the_end_too(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        line = [
            "curl", "-sN", "--http2", "--max-time", str(SECONDS), "-w", "%{http_version}",
            "--cacert", str(tmp_path / "nginx/certificate.pem"),
            "--connect-to", f"{NAME}:443:127.0.0.1:{here.nginx.port}",
            "-H", "Content-Type: application/json",
            "-d", json.dumps({"prompt": "x", "model": "words"}),
            *(f"-H{name}: {value}" for name, value in here.session.headers.items()),
            f"https://{NAME}/v1/chat/stream",
        ]  # fmt: skip
        curl = await asyncio.create_subprocess_exec(*line, stdout=asyncio.subprocess.PIPE)
        assert curl.stdout is not None
        body = b""
        while b"event: text_delta\n" not in body:
            body += await curl.stdout.read(4_096)
        assert here.simulator.requests()[0].state == "running"
        body += await curl.stdout.read()
        assert await curl.wait() == 0
    assert body.endswith(b"\n\n2")
    events, _ = parse(body.removesuffix(b"2"))
    assert events[-1].type == "stream_end"
