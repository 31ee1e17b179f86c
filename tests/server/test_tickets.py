"""Tickets: one connection to one stream, and what EventSource does when that breaks."""

from typing import Any

import aiohttp
import pytest

from support.chat import ask, parse
from support.server import Running
from tellstream.server.tickets import MARGIN_SECONDS, TICKET_SECONDS


async def issue(server: Running, stream: str, **options: Any) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{server.url}/v1/streams/{stream}/tickets", headers=server.headers(**options)
        ) as response,
    ):
        assert response.status == 201
        assert response.headers["Cache-Control"] == "no-store"
        answer: dict[str, Any] = (await response.json())["data"]
        return answer


async def follow(server: Running, url: str, **headers: str) -> tuple[int, bytes]:
    """GET with nothing but the address, as EventSource does."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(server.url + url, headers=headers) as response,
    ):
        return response.status, await response.read()


@pytest.fixture
async def stream(server: Running) -> str:
    return (await ask(server, {"prompt": "x"})).headers["X-Stream-Id"]


async def test_a_ticket_follows_the_stream_and_a_finished_one_ends_it(
    server: Running, stream: str
) -> None:
    ticket = await issue(server, stream)
    assert ticket["expires_at"] <= server.services.clock() + TICKET_SECONDS
    status, body = await follow(server, ticket["url"])
    assert status == 200
    _, ids = parse(body)
    again = {"Last-Event-ID": ids[-1]}
    assert await follow(server, ticket["url"], **again) == (204, b"")


async def test_a_reconnection_goes_on_where_the_connection_broke(
    server: Running, stream: str
) -> None:
    ticket = await issue(server, stream)
    _, whole = await follow(server, ticket["url"])
    for after in (1, 4, 9):
        status, rest = await follow(server, ticket["url"], **{"Last-Event-ID": str(after)})
        assert status == 200
        assert whole.endswith(rest)
        assert rest.startswith(b"id: %d\n" % (after + 1))


async def test_a_ticket_opens_one_connection(server: Running, stream: str) -> None:
    ticket = await issue(server, stream)
    assert (await follow(server, ticket["url"]))[0] == 200
    status, body = await follow(server, ticket["url"])
    assert status == 401
    assert b"invalid_token" in body
    assert ticket["ticket"].encode() not in body


async def test_of_many_at_once_one_is_let_in(server: Running, stream: str) -> None:
    import asyncio  # noqa: PLC0415

    ticket = await issue(server, stream)
    answers = await asyncio.gather(*(follow(server, ticket["url"]) for _ in range(10)))
    assert sorted(status for status, _ in answers) == [200] + [401] * 9


async def test_a_ticket_that_waits_too_long_opens_nothing(server: Running, stream: str) -> None:
    ticket = await issue(server, stream)
    now = server.services.clock()
    server.services.clock = lambda: now + TICKET_SECONDS + 1
    for headers in ({}, {"Last-Event-ID": "1"}):
        assert (await follow(server, ticket["url"], **headers))[0] == 401


async def test_one_that_was_used_in_time_reconnects_later(server: Running, stream: str) -> None:
    ticket = await issue(server, stream)
    await follow(server, ticket["url"])
    now = server.services.clock()
    server.services.clock = lambda: now + TICKET_SECONDS + 1
    assert (await follow(server, ticket["url"], **{"Last-Event-ID": "1"}))[0] == 200
    total = server.settings.timeouts.total
    server.services.bookmarks._clock = lambda: now + total + MARGIN_SECONDS + 1
    assert (await follow(server, ticket["url"], **{"Last-Event-ID": "1"}))[0] == 401


async def test_a_ticket_is_for_its_stream_and_for_following_only(
    server: Running, stream: str
) -> None:
    other = (await ask(server, {"prompt": "x"})).headers["X-Stream-Id"]
    text = (await issue(server, stream))["ticket"]
    assert (await follow(server, f"/v1/streams/{other}/events?ticket={text}"))[0] == 401
    for path in (f"/v1/streams/{stream}", "/v1/models", "/v1/usage"):
        assert (await follow(server, f"{path}?ticket={text}"))[0] == 401
    assert (await follow(server, f"/v1/streams/{stream}/events?ticket={text}"))[0] == 200


async def test_only_who_may_follow_a_stream_gets_a_ticket(server: Running, stream: str) -> None:
    async with aiohttp.ClientSession() as session:
        for headers, status in (
            ({}, 401),
            (server.headers(2), 404),
            (server.headers(subject="other"), 404),
            (server.headers(scope="usage"), 403),
            (server.headers(subject="other", scope="chat streams:all"), 201),
        ):
            url = f"{server.url}/v1/streams/{stream}/tickets"
            async with session.post(url, headers=headers) as response:
                assert response.status == status
    url = (await issue(server, stream, subject="other", scope="chat streams:all"))["url"]
    assert (await follow(server, url))[0] == 200


@pytest.mark.parametrize(
    "text", ["", "x", "tkt_1_" + "x" * 43, "tkt_0_" + "x" * 43, "tkt_1_" + "\u0661" * 43]
)
async def test_what_is_no_ticket_is_401(server: Running, stream: str, text: str) -> None:
    assert (await follow(server, f"/v1/streams/{stream}/events?ticket={text}"))[0] == 401


async def test_a_ticket_and_a_token_together_are_400(server: Running, stream: str) -> None:
    ticket = await issue(server, stream)
    assert (await follow(server, ticket["url"], **server.headers()))[0] == 400
    twice = f"{ticket['url']}&ticket=x"
    assert (await follow(server, twice))[0] == 400


async def test_a_ticket_follows_in_any_protocol(server: Running, stream: str) -> None:
    url = (await issue(server, stream))["url"]
    status, body = await follow(server, f"{url}&protocol=ui")
    assert status == 200
    assert body.endswith(b"data: [DONE]\n\n")


async def test_a_ticket_of_a_tenant_that_is_gone_opens_nothing(
    server: Running, stream: str
) -> None:
    url = (await issue(server, stream))["url"]
    server.services.tenancy.tenants = {
        number: tenant for number, tenant in server.services.tenants.items() if number != 1
    }
    assert (await follow(server, url))[0] == 403


async def test_the_head_comes_at_once_while_nothing_was_said(server: Running) -> None:
    """An EventSource opens, instead of being told nothing until the first token."""
    async with aiohttp.ClientSession(headers=server.headers()) as session:
        asked = {"prompt": "x", "model": "slow-first"}
        async with session.post(f"{server.url}/v1/chat/stream", json=asked) as started:
            url = (await issue(server, started.headers["X-Stream-Id"]))["url"]
            status, body = await follow(server, url)
    assert status == 200
    assert parse(body)
