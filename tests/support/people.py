"""People of a running server, and what they do in a real browser."""

import json
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from argon2 import PasswordHasher
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from support.server import Running
from tellstream.auth import users
from tellstream.auth.transactions import run
from tellstream.server.app import opened_store
from tellstream.server.auth_audit import record

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
EMAIL, PASSWORD = "ann@acme.example", "correct horse battery"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


async def add_person(
    server: Running,
    email: str = EMAIL,
    *,
    scopes: str = "chat usage",
    tenants: tuple[int, ...] = (1,),
) -> None:
    """Register somebody whose password is ``PASSWORD``."""
    user = users.new_user(
        email, CHEAP.hash(PASSWORD), scopes.split(), tenants, must_change=False, now=time.time()
    )
    async with opened_store(server.settings) as store:
        await run(store, time.time, record, lambda tx: users.insert_user(tx, user))


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            await browser.close()


async def log_in(page: Page, email: str = EMAIL) -> None:
    """Go through the pages of the authorization server."""
    await page.get_by_role("button", name="Sign in").click()
    field = page.get_by_label("Email")
    allow = page.get_by_role("button", name="Allow")
    await expect(field.or_(allow)).to_be_visible()
    if await field.count():
        await field.fill(email)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.keyboard.press("Enter")
    await allow.click()
    await expect(page.locator("#app")).to_be_visible()


async def bring_token(
    page: Page, server: Running, *tenants: int, scope: str = "chat usage"
) -> None:
    """Let the pages find a token in the tab, as if somebody had pasted it: a quick login."""
    token = server.token(*tenants, scope=scope, subject="usr_ann")
    kept = json.dumps({"access": token, "tenants": tenants})
    await page.add_init_script(
        f"""(() => {{
            const tab = sessionStorage.getItem("tellstream.tab") ?? crypto.randomUUID();
            sessionStorage.setItem("tellstream.tab", tab);
            sessionStorage.setItem("tellstream.session", JSON.stringify({{...{kept}, tab}}));
        }})()"""
    )


class Watch:
    """What a browser does that it must not: requests to elsewhere, complaints in the console."""

    def __init__(self, context: BrowserContext, server: Running) -> None:
        self.foreign: list[str] = []
        self.complaints: list[str] = []
        context.on(
            "request",
            lambda r: (
                None if r.url.startswith((server.url, "blob:")) else self.foreign.append(r.url)
            ),
        )
        context.on(
            "console",
            lambda m: self.complaints.append(m.text) if m.type in {"error", "warning"} else None,
        )
        context.on("weberror", lambda e: self.complaints.append(str(e.error)))

    def is_clean(self, *, allowed: tuple[str, ...] = ()) -> bool:
        """Say whether nothing was seen; ``allowed`` complaints belong to the test itself."""
        left = [text for text in self.complaints if not any(part in text for part in allowed)]
        assert (self.foreign, left) == ([], []), (self.foreign, left)
        return True
