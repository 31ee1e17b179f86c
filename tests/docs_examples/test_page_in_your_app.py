"""docs/tutorial/page-in-your-app.md: its files, as they are, in a real browser."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
import pytest
from playwright.async_api import Browser, Page, expect

from support.pages import ROOT, block, blocks
from support.people import CHROMIUM, chromium
from support.ports import free_ports
from support.programs import Program, environment, running

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
PAGE: Final = ROOT / "docs/tutorial/page-in-your-app.md"
FILES: Final = {"tokens.py", "relay.py", "app.py", "page.html", "page.js", "tellstream.toml"}
MILLISECONDS: Final = 30_000
ENDS: Final = {"Cancelled", "Stop"}
MOST_WORDS: Final = 40
"""Fewer than the whole answer has."""


class Place(NamedTuple):
    """The reader's machine."""

    url: str
    app: Program
    browser: Browser


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    app, server = free_ports(2)

    def here(text: str) -> str:
        return re.sub(r"\b(5000|8000)\b", lambda m: str({"5000": app, "8000": server}[m[0]]), text)

    named = {b.label: b.text for b in blocks(PAGE) if "." in b.label}
    assert named.keys() == FILES
    for name, text in named.items():
        (tmp_path / name).write_text(here(text), encoding="utf-8")
    own = environment(TELLSTREAM_PUBLIC_URL=f"http://127.0.0.1:{server}")
    with ExitStack() as stack:
        commands = {
            "app": (block(PAGE, "sh", "app").strip(), app),
            "server": (f"{block(PAGE, 'sh', 'server').strip()} --port {server}", server),
        }
        programs = [
            await asyncio.to_thread(stack.enter_context, running(command, tmp_path, port, own))
            for command, port in commands.values()
        ]
        async with chromium() as browser:
            yield Place(f"http://127.0.0.1:{app}", programs[0], browser)


async def signed_in(place: Place, name: str) -> Page:
    context = await place.browser.new_context()
    context.set_default_timeout(MILLISECONDS)
    page = await context.new_page()
    await page.goto(place.url)
    await page.get_by_label("Name").fill(name)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_label("Question")).to_be_visible()
    return page


async def ask(page: Page) -> None:
    await page.get_by_label("Question").fill("Hello")
    await page.get_by_role("button", name="Ask").click()


async def words(page: Page, least: int) -> str:
    """Wait until so many words are there; gives what is there then."""
    at_least = f"() => document.querySelector('#answer').textContent.split(' ').length >= {least}"
    await page.wait_for_function(at_least)
    return await page.locator("#answer").inner_text()


async def test_the_page_streams_stops_and_goes_on_after_a_reload(place: Place) -> None:
    await check_what_strangers_get(place)
    page = await signed_in(place, "Ann")
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    stop = page.get_by_role("button", name="Stop")

    await ask(page)
    await words(page, 2)
    await stop.click()
    await says(page, "Cancelled")
    await expect(stop).to_be_disabled()

    await ask(page)
    before = await words(page, 3)
    await page.reload()
    after = await words(page, 6)
    assert after.startswith(before)
    # The application goes away and comes back: nothing is lost, and nothing is shown twice.
    await asyncio.to_thread(place.app.stop)
    await asyncio.to_thread(place.app.start)
    more = await words(page, min(len(after.split(" ")) + 3, MOST_WORDS))
    assert more.startswith(after)
    stream = await page.evaluate("sessionStorage.getItem('stream')")
    if await stop.is_enabled():  # on a slow machine it may be over by now
        await stop.dispatch_event("click")
    await over(page)
    whole = await page.locator("#answer").inner_text()
    assert failures == []

    again = await signed_in(place, "Ann")
    assert await follow(again, stream) in ENDS
    assert await again.locator("#answer").inner_text() == whole
    other = await signed_in(place, "Bob")
    assert await follow(other, stream) not in ENDS
    await expect(other.locator("#answer")).to_have_text("")


async def says(page: Page, text: str) -> None:
    await expect(page.get_by_role("status")).to_have_text(text, timeout=MILLISECONDS)


async def follow(page: Page, stream: str) -> str:
    """Open the page as if it had begun this stream; gives what it says in the end."""
    await page.evaluate("id => sessionStorage.setItem('stream', id)", stream)
    await page.reload()
    await over(page)
    return await page.get_by_role("status").inner_text()


async def over(page: Page) -> None:
    done = "() => !['', 'Waiting'].includes(document.querySelector('#status').textContent)"
    await page.wait_for_function(done)


async def check_what_strangers_get(place: Place) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{place.url}/token") as response:
            assert response.status == 401
        async with session.get(f"{place.url}/keys") as response:
            (key,) = (await response.json())["keys"]
            assert "d" not in key
        async with session.post(f"{place.url}/v1/chat/stream", json={"prompt": "x"}) as response:
            assert response.status == 401
            assert "WWW-Authenticate" in response.headers
