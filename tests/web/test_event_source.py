"""The browser's own EventSource follows a stream with a ticket, over connections that break."""

import asyncio
from typing import Any, TypeAlias

import aiohttp
from playwright.async_api import BrowserContext, Page, Request

from client.proxy import cutting
from support.chat import parse
from support.replay import ReplayProvider
from support.server import Running
from web.held import Held

RECONNECT_SECONDS = 3.0
"""For which Chromium waits before it reconnects, if the server does not say otherwise."""
LEAST, MOST = 8000, 9500
"""Bytes of an answer before it is cut: some events, and then mostly in the middle of one."""
FIRST_WORDS = 100
"""Of the part of the answer after which the stream waits: enough for two cuts."""
OPEN = """([url, types]) => {
    const seen = window.seen = {events: [], opened: 0, lost: 0};
    const source = window.source = new EventSource(url);
    for (const type of types) {
        source.addEventListener(type, ({data, lastEventId}) => {
            seen.events.push([Number(lastEventId), type, data]);
        });
    }
    source.onopen = () => { seen.opened += 1; };
    source.onerror = () => { seen.lost += source.readyState === EventSource.CONNECTING; };
}"""
TYPES = [
    "stream_start", "step_start", "text_start", "text_delta", "text_complete", "step_finish",
    "stream_end",
]  # fmt: skip
Got: TypeAlias = tuple[int | None, str | None]
"""Status and ``Last-Event-ID`` of one request."""


async def asked(server: Running) -> tuple[str, str]:
    """Start a stream and let go of it; gives its id and the address of a ticket."""
    async with aiohttp.ClientSession(headers=server.headers()) as session:
        body = {"prompt": "x", "model": "replay"}
        async with session.post(f"{server.url}/v1/chat/stream", json=body) as started:
            stream = started.headers["X-Stream-Id"]
        async with session.post(f"{server.url}/v1/streams/{stream}/tickets") as issued:
            return stream, (await issued.json())["data"]["url"]


async def in_the_log(server: Running, stream: str) -> list[list[Any]]:
    """Read all of a stream that has ended, as its owner: number, type and data of each event."""
    async with (
        aiohttp.ClientSession(headers=server.headers()) as session,
        session.get(f"{server.url}/v1/streams/{stream}/events") as response,
    ):
        body = await response.read()
    parse(body)  # whole and grammatical
    found = []
    for frame in body.decode().split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in frame.splitlines())
        if "event" in fields:
            found.append([int(fields["id"]), fields["event"], fields["data"]])
    return found


class Requests:
    """The requests that an EventSource of a page makes."""

    def __init__(self, page: Page) -> None:
        self._made: list[Request] = []
        page.on(
            "request", lambda r: self._made.append(r) if r.resource_type == "eventsource" else None
        )

    def __len__(self) -> int:
        return len(self._made)

    async def got(self) -> list[Got]:
        found: list[Got] = []
        for request in self._made:
            response = await request.response()
            status = response.status if response is not None else None
            found.append((status, (await request.all_headers()).get("last-event-id")))
        return found


async def test_it_reconnects_by_itself_gets_every_event_once_and_stays_away(
    server: Running, context: BrowserContext, replay: ReplayProvider
) -> None:
    page = await context.new_page()
    requests = Requests(page)
    with Held(replay, FIRST_WORDS, 10) as held:
        stream, url = await asked(server)
        # No resets: whoever loses the first event has no id to come back with, and is refused.
        async with cutting(server.url, seed=1, least=LEAST, most=MOST, resets=0) as proxy:
            await page.goto(proxy.url + "/healthz")  # some small page of the same origin
            await page.evaluate(OPEN, [url, TYPES])
            await page.wait_for_function("() => seen.opened > 2")  # and the stream still runs
            held.go()
            await page.wait_for_function("() => source.readyState === EventSource.CLOSED")
            made = len(requests)
            await asyncio.sleep(RECONNECT_SECONDS + 0.5)
            assert len(requests) == made
            first, *again = await requests.got()
            seen: dict[str, Any] = await page.evaluate("seen")
            cuts = proxy.cuts
            await page.close()
    assert seen["events"] == await in_the_log(server, stream)
    assert [number for number, *_ in seen["events"]] == [*range(1, len(seen["events"]) + 1)]
    assert seen["events"][-1][1] == "stream_end"
    assert first == (200, None)
    assert len(again) > cuts >= 2
    places = [int(place or 0) for _, place in again]
    assert places == sorted(places)
    assert 0 < places[0] < places[-1] == len(seen["events"])
    assert [status for status, _ in again] == [200] * (len(again) - 1) + [204]


async def test_a_ticket_that_is_refused_is_not_asked_for_again(
    server: Running, context: BrowserContext
) -> None:
    page = await context.new_page()
    requests = Requests(page)
    await page.goto(server.url + "/healthz")
    await page.evaluate(OPEN, ["/v1/streams/str_1/events?ticket=x", TYPES])
    await page.wait_for_function("() => source.readyState === EventSource.CLOSED")
    assert await requests.got() == [(401, None)]
    assert await page.evaluate("seen") == {"events": [], "opened": 0, "lost": 0}
