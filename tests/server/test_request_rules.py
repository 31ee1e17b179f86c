"""Statuses and bodies of refused requests, and the order of the checks."""

import asyncio
from typing import Any

import aiohttp
import pytest

from support.chat import ask
from support.server import Running

CANARY = "canary-5d1f"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_request"),
        (b"", 400, "invalid_request"),
        (b'{"prompt": "\xff"}', 400, "invalid_request"),
        (b'{"prompt": "\\ud800"}', 400, "invalid_request"),
        (b"[" * 20_000, 400, "invalid_request"),
        ({}, 422, "validation_error"),
        ([], 422, "validation_error"),
        ({"prompt": ""}, 422, "validation_error"),
        ({"prompt": " \n\t"}, 422, "validation_error"),
        ({"prompt": "x" * 2001}, 422, "validation_error"),
        ({"prompt": "a\0b"}, 422, "validation_error"),
        ({"prompt": "x", "zzz": CANARY}, 422, "validation_error"),
        ({"prompt": "x", "model": CANARY}, 422, "validation_error"),
        ({"prompt": "x", "history": [{"content": "x"}] * 21}, 422, "validation_error"),
        ({"prompt": "x", "history": [{"role": "system", "content": "x"}]}, 422, "validation_error"),
        ({"prompt": "x", "history": [{"content": ""}]}, 422, "validation_error"),
        ({"prompt": "x", "metadata": {str(n): "" for n in range(17)}}, 422, "validation_error"),
        ({"prompt": "x", "temperature": "hot"}, 422, "validation_error"),
    ],
    ids=str,
)
async def test_a_bad_body_is_refused_without_an_echo(
    server: Running, body: Any, status: int, code: str
) -> None:
    reply = await ask(server, body)
    assert (reply.status, reply.json["error"]) == (status, code)
    assert CANARY not in str(reply.json)
    if code == "validation_error":
        assert reply.json["details"]
        assert all(set(row) == {"field", "message"} for row in reply.json["details"])


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "x"},
        {"prompt": "\U0001f600" * 2000},
        {"prompt": "x", "history": None},
        {"prompt": "x", "history": [{"content": "x"}] * 20},
        {"prompt": "x", "metadata": {str(n): "" for n in range(16)}},
        {"prompt": "x", "temperature": 1, "max_output_tokens": 5, "reasoning_effort": "none"},
    ],
    ids=lambda body: str(body)[:40],
)
async def test_a_good_body_is_taken(server: Running, body: Any) -> None:
    assert (await ask(server, body)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Encoding": "gzip"},
    ],
    ids=str,
)
async def test_another_media_type_is_415(server: Running, headers: dict[str, str]) -> None:
    reply = await ask(server, b'{"prompt": "x"}', headers=headers)
    assert (reply.status, reply.json["error"]) == (415, "unsupported_media_type")


async def test_a_body_over_256_kib_is_413(server: Running) -> None:
    assert (await ask(server, b" " * (256 * 1024 + 1))).status == 413


async def test_a_chunked_body_over_256_kib_is_413(server: Running) -> None:
    async def chunks() -> Any:
        for _ in range(300):
            yield b" " * 1024

    headers = {**server.headers(), "Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(server.url + "/v1/chat/stream", data=chunks(), headers=headers) as response,
    ):
        assert response.status == 413


async def test_unknown_paths_are_404_and_other_methods_405(server: Running) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(server.url + "/v1/nothing") as response:
            assert (response.status, (await response.json())["error"]) == (404, "not_found")
        async with session.delete(server.url + "/v1/chat") as response:
            assert response.status == 405
            assert response.headers["Allow"] == "POST"
            assert (await response.json())["error"] == "method_not_allowed"


async def test_size_comes_before_authentication_and_that_before_the_body(server: Running) -> None:
    anonymous = {"Authorization": ""}
    assert (await ask(server, b" " * 300_000, headers=anonymous)).status == 413
    assert (await ask(server, b"{", headers=anonymous)).status == 401
    assert (await ask(server, b"{", headers={"X-Tenant": "2"})).status == 403


async def test_every_error_has_a_request_id_and_is_not_stored(server: Running) -> None:
    reply = await ask(server, b"{", headers={"X-Request-Id": "bad id"})
    assert reply.headers["X-Request-Id"].startswith("req_")
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


async def exchange(server: Running, data: bytes, *, seconds: float = 15) -> bytes:
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(data)
        return await asyncio.wait_for(reader.read(), seconds)
    finally:
        writer.close()


@pytest.fixture
def short_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tellstream.server.http_protocol.HEAD_SECONDS", 0.2)
    monkeypatch.setattr("tellstream.server.body.BODY_SECONDS", 0.2)


@pytest.mark.usefixtures("short_deadlines")
@pytest.mark.parametrize("data", [b"", b"POST /v1/cha", b"POST / HTTP/1.1\r\nHost: x\r\nX-A"])
async def test_half_a_request_head_is_cut_off(server: Running, data: bytes) -> None:
    assert b"408" in (await exchange(server, data)).split(b"\r\n")[0]


@pytest.mark.usefixtures("short_deadlines")
async def test_half_a_body_is_cut_off(server: Running) -> None:
    headers = "".join(f"{k}: {v}\r\n" for k, v in server.headers().items())
    head = (
        f"POST /v1/chat/stream HTTP/1.1\r\nHost: x\r\n{headers}"
        'Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"prompt":'
    )
    answer = await exchange(server, head.encode())
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"request_timeout"' in answer


async def test_a_huge_head_is_refused(server: Running) -> None:
    answer = await exchange(server, b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000)
    assert answer.startswith(b"HTTP/1.1 431 ")
    head, body = answer.split(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head


async def test_a_huge_head_in_one_piece_is_refused(server: Running) -> None:
    start = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    one = b"A: " + b"a" * 40_000 + b"\r\n"
    many = b"".join(b"A%d: aaaaaaaa\r\n" % number for number in range(5000))
    for fields in (one, many):
        assert (await exchange(server, start + fields + b"\r\n")).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "data", [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n"]
)
async def test_garbage_is_400(server: Running, data: bytes) -> None:
    assert (await exchange(server, data)).startswith(b"HTTP/1.1 400 ")


async def test_limits_are_in_the_headers_and_enforced(
    tmp_path: Any, simulator: Any, replay: Any
) -> None:
    from server.conftest import tables  # noqa: PLC0415 - built with other tenants
    from support.server import tellstream  # noqa: PLC0415

    tenants = {"1": {"model": "plain", "limits": {"requests_per_minute": 3}}}
    async with tellstream(tmp_path, **tables(simulator, replay, tenants=tenants)) as server:
        remaining = []
        for _ in range(3):
            reply = await ask(server, {"prompt": "x"})
            assert reply.headers["X-RateLimit-Limit"] == "3"
            assert int(reply.headers["X-RateLimit-Reset"]) > 1_700_000_000
            remaining.append(reply.headers["X-RateLimit-Remaining"])
        assert remaining == ["2", "1", "0"]
        reply = await ask(server, {"prompt": "x"})
        assert (reply.status, reply.json["error"]) == (429, "rate_limit_exceeded")
        assert 1 <= int(reply.headers["Retry-After"]) <= 21
        assert reply.headers["X-RateLimit-Remaining"] == "0"


async def test_concurrent_streams_are_limited_and_given_back(
    tmp_path: Any, simulator: Any, replay: Any
) -> None:
    from server.conftest import tables  # noqa: PLC0415 - built with other tenants
    from support.server import tellstream  # noqa: PLC0415

    tenants = {"1": {"model": "slow-first", "limits": {"concurrent_streams": 2}}}
    async with tellstream(tmp_path, **tables(simulator, replay, tenants=tenants)) as server:
        replies = await asyncio.gather(*(ask(server, {"prompt": "x"}) for _ in range(6)))
        assert sorted(reply.status for reply in replies) == [200, 200, 429, 429, 429, 429]
        refused = [reply for reply in replies if reply.status == 429]
        assert {reply.json["error"] for reply in refused} == {"concurrency_limit_exceeded"}
        assert all(int(reply.headers["Retry-After"]) >= 1 for reply in refused)
        assert (await ask(server, {"prompt": "x"})).status == 200


async def test_the_daily_tokens_are_a_quota(tmp_path: Any, simulator: Any, replay: Any) -> None:
    from server.conftest import tables  # noqa: PLC0415 - built with other tenants
    from support.server import tellstream  # noqa: PLC0415

    tenants = {"1": {"model": "plain", "limits": {"tokens_per_day": 20}}}
    async with tellstream(tmp_path, **tables(simulator, replay, tenants=tenants)) as server:
        used = 0
        while (reply := await ask(server, {"prompt": "x"})).status == 200:
            usage = reply.transcript.usage
            assert usage is not None
            used += usage.prompt_tokens + usage.completion_tokens
            assert used <= 20 + 6  # one answer may arrive in one read
        assert (reply.status, reply.json["error"]) == (429, "quota_exceeded")
        assert used >= 20 - 5  # the prompt alone is taken for five
