"""A real browser logs in, changes a password, agrees, and comes back with a code."""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from support.authorization import EMAIL, PASSWORD, AuthServer, listening
from support.ports import free_ports
from support.processes import servers
from support.remote import admin, remote

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 800}
SHOTS = os.environ.get("TELLSTREAM_SHOTS")
"""A folder where the pictures of the whole server's pages stay, to be looked at."""
LEAST_CONTRAST = 4.5
"""WCAG 2.2, 1.4.3 (AA), for text of any size."""
CONTRASTS = """() => {
  const channel = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const rgba = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r / 255) + 0.7152 * channel(g / 255)
    + 0.0722 * channel(b / 255);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
      if (color[3] !== 0) throw new Error("a translucent background");
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), node = walker.currentNode.parentElement;
    if (!text) continue;
    const [a, b] = [light(rgba(getComputedStyle(node).color)), light(ground(node))];
    found.push([text, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]);
  }
  return found;
}"""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AuthServer]:
    async with listening(tmp_path) as server:
        yield server


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        await browser.close()


class Callback:
    """The application's own address, and what is sent to it."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nwelcome"
            )
            await writer.drain()
        except asyncio.IncompleteReadError:
            return  # a connection that the browser opened in advance
        finally:
            writer.close()


@asynccontextmanager
async def callback() -> AsyncIterator[Callback]:
    made = Callback()
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/callback"
    async with server:
        yield made


async def shot(page: Page, folder: Path, name: str) -> None:
    """Take a picture at every size and in both colours; nothing may need scrolling sideways."""
    before = page.viewport_size
    for size, view in (("phone", PHONE), ("desk", DESK)):
        await page.set_viewport_size(view)  # type: ignore[arg-type]
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            await page.screenshot(path=folder / f"{name}-{size}-{scheme}.png", full_page=True)
        wide = await page.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert not wide, f"{name} is too wide for a {size}"
    assert before
    await page.set_viewport_size(before)


async def check_accessible(page: Page) -> None:
    """Every field has a label, the problem belongs to it, and targets are large enough."""
    for field in await page.locator("input:not([type=hidden])").all():
        identifier = await field.get_attribute("id")
        assert await page.locator(f"label[for={identifier}]").count() == 1
        for described in (await field.get_attribute("aria-describedby") or "").split():
            assert await page.locator(f"#{described}").count() == 1
        if await field.get_attribute("aria-invalid"):
            assert "problem" in (await field.get_attribute("aria-describedby") or "")
    for target in await page.locator("button, input:not([type=hidden])").all():
        box: Any = await target.bounding_box()
        assert box["height"] >= 44
    assert await page.locator("html[lang=en]").count() == 1
    assert await page.locator("h1").count() == 1
    assert await page.title()


async def check_contrast(page: Page) -> None:
    """All text can be read, in both colours."""
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        found: Any = await page.evaluate(CONTRASTS)
        assert found
        bad = [(text, ratio) for text, ratio in found if ratio < LEAST_CONTRAST]
        assert not bad, (scheme, bad)


async def check_focus(page: Page) -> None:
    """What has the keyboard's focus is outlined, whatever it is."""
    count = await page.locator("input:not([type=hidden]), button").count()
    outlined = 0
    for _ in range(2 * count + 1):  # round the page once, past the browser's own controls
        await page.keyboard.press("Tab")
        name, style, width = await page.evaluate(
            """(() => {
              const at = document.activeElement, style = getComputedStyle(at);
              return [at.tagName, style.outlineStyle, parseFloat(style.outlineWidth)];
            })()"""
        )
        if name in {"INPUT", "BUTTON"}:
            assert (style, width >= 2) == ("solid", True), name
            outlined += 1
    assert outlined >= count


async def test_a13_login_and_consent_in_a_browser(
    server: AuthServer, chromium: Browser, tmp_path: Path
) -> None:
    errors: list[str] = []
    foreign: list[str] = []
    await server.user()
    async with callback() as home:
        application = await server.client(uris=(home.url,), scope="chat usage streams:all")
        page = await chromium.new_page(viewport=PHONE)  # type: ignore[arg-type]
        page.on("console", lambda message: errors.append(message.text))
        page.on(
            "request",
            lambda r: None if r.url.startswith((server.url, home.url)) else foreign.append(r.url),
        )
        query = application.query(scope="chat usage", state='"<>&%')
        await page.goto(f"{server.url}/oauth/authorize?{query}")
        await expect(page.get_by_label("Email")).to_be_focused()
        await check_accessible(page)
        await shot(page, tmp_path, "login")

        await page.get_by_label("Email").fill(EMAIL)
        await page.get_by_label("Password").fill("not the right one")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("do not belong together")
        await expect(page.get_by_label("Email")).to_have_value(EMAIL)
        await expect(page.get_by_label("Password")).to_be_focused()
        await check_accessible(page)
        await shot(page, tmp_path, "login-wrong")
        errors = [text for text in errors if "403" not in text]  # the refused login itself

        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("heading")).to_contain_text("Console asks for access")
        await check_accessible(page)
        await shot(page, tmp_path, "consent")

        await page.get_by_role("button", name="Allow").click()
        await expect(page.get_by_text("welcome")).to_be_visible()
        (arrived,) = [text for text in home.requests if "/callback" in text.splitlines()[0]]
        assert "referer:" not in arrived.lower()
        assert "state=%22%3C%3E%26%25" in arrived
        code = arrived.partition("code=")[2].partition("&")[0]
        assert (await application.redeem(code)).status_code == 200

        # The second time nothing is asked.
        await page.goto(f"{server.url}/oauth/authorize?{query}")
        await expect(page.get_by_text("welcome")).to_be_visible()
        await page.close()
    assert (errors, foreign) == ([], [])


async def test_a18_the_first_admin_chooses_a_password_in_a_browser(
    server: AuthServer, chromium: Browser, tmp_path: Path
) -> None:
    admin = await server.first_start.first_admin(server.passwords, [1, 2])
    assert admin is not None
    async with callback() as home:
        application = await server.client(uris=(home.url,), scope="chat usage admin streams:all")
        application_query = application.query(scope="chat usage admin streams:all")
        page = await chromium.new_page(viewport=DESK)  # type: ignore[arg-type]
        await page.goto(f"{server.url}/oauth/authorize?{application_query}")
        await page.get_by_label("Email").fill(admin.email)
        await page.get_by_label("Password").fill(admin.password)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading")).to_have_text("Choose a password")
        await check_accessible(page)
        await shot(page, tmp_path, "password")
        await page.get_by_label("New password").fill("correct horse battery")
        await page.get_by_label("The same again").fill("correct horse buttery")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("not the same")
        await check_accessible(page)
        await shot(page, tmp_path, "password-wrong")
        for label in ("New password", "The same again"):
            await page.get_by_label(label).fill("correct horse battery")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="Allow")).to_be_visible()
        await shot(page, tmp_path, "consent-admin")
        await page.get_by_role("button", name="Use another account").click()
        await expect(page.get_by_role("heading")).to_have_text("Sign in")
        await page.close()


async def test_errors_and_refusals_in_a_browser(
    server: AuthServer, chromium: Browser, tmp_path: Path
) -> None:
    await server.user()
    application = await server.client(tenants=(3,))
    page = await chromium.new_page(viewport=DESK)  # type: ignore[arg-type]
    await page.goto(f"{server.url}/oauth/authorize?client_id=unknown&redirect_uri=x")
    await expect(page.get_by_role("alert")).to_contain_text("not registered")
    await shot(page, tmp_path, "error")
    await page.goto(f"{server.url}/oauth/authorize?{application.query()}")
    await page.get_by_label("Email").fill(EMAIL)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading")).to_contain_text("You cannot use Console")
    await check_accessible(page)
    await shot(page, tmp_path, "no-access")
    await page.close()


async def test_the_pages_of_a_whole_server_without_scripts(
    chromium: Browser, tmp_path: Path
) -> None:
    """``tellstream serve``: the one-time password of its banner, a new one, consent, a token."""
    shots = Path(SHOTS) if SHOTS else tmp_path
    shots.mkdir(exist_ok=True)
    port = free_ports(1)[0]
    tables = {"public_url": f"http://127.0.0.1:{port}", "tenants": {"1": {"name": "Acme"}}}
    async with callback() as home, servers(tmp_path, **tables) as pool:
        server = await pool.start(port=port)
        found = re.search(r"First administrator: (\S+), .* password (\S+)", server.banner)
        assert found
        made = await admin(
            pool, "client", "create", "--name", "Weather Desk", "--redirect-uri", home.url,
            "--scope", "chat usage admin", "--tenant", "1",
        )  # fmt: skip
        context = await chromium.new_context(
            viewport={"width": 390, "height": 844}, java_script_enabled=False
        )
        page = await context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))

        async def seen(name: str) -> None:
            await check_accessible(page)
            await shot(page, shots, name)
            await check_contrast(page)
            await check_focus(page)

        async with remote(server.url) as there:
            application = there.application(made)
            query = application.query(scope="chat usage admin")
            await page.goto(f"{server.url}/oauth/authorize?client_id=x&redirect_uri=y")
            await seen("1-error")
            await page.goto(f"{server.url}/oauth/authorize?{query}")
            await seen("2-login")
            await page.get_by_label("Email").fill(found[1])
            await page.get_by_label("Password").fill("not that one, but long enough")
            await page.get_by_role("button", name="Sign in").click()
            await expect(page.get_by_role("alert")).to_contain_text("do not belong together")
            await seen("3-login-wrong")
            await page.get_by_label("Password").fill(found[2])
            await page.get_by_role("button", name="Sign in").click()
            await expect(page.get_by_role("heading")).to_have_text("Choose a password")
            await seen("4-password")
            await page.get_by_label("New password").fill("four unrelated words here")
            await page.get_by_label("The same again").fill("four unrelated words there")
            await page.get_by_role("button", name="Save").click()
            await expect(page.get_by_role("alert")).to_contain_text("not the same")
            await seen("5-password-wrong")
            for label in ("New password", "The same again"):
                await page.get_by_label(label).fill("four unrelated words here")
            await page.get_by_role("button", name="Save").click()
            await expect(page.get_by_role("heading")).to_contain_text("Weather Desk")
            await seen("6-consent")
            await page.get_by_role("button", name="Allow").click()
            await expect(page.get_by_text("welcome")).to_be_visible()
            (arrived,) = [text for text in home.requests if "/callback" in text.splitlines()[0]]
            code = arrived.partition("code=")[2].partition("&")[0]
            response = await application.redeem(code)
            assert response.status_code == 200
            assert response.json()["scope"] == "admin chat usage"
        await context.close()
    assert not [url for url in asked if not url.startswith((server.url, home.url))]
