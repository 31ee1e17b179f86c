"""Both pages by keyboard, on a phone, in both themes, and for the accessibility checker."""

import os
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page, expect

from support.axe import axe_script, problems
from support.ledger_rows import add_usage
from support.people import bring_token, log_in
from support.replay import ReplayProvider
from support.server import Running
from web.held import Held
from web.test_chat_page import ask, has_words, over, signed_in

PHONE = {"width": 390, "height": 844}
SHOTS = os.environ.get("TELLSTREAM_SHOTS")
"""A folder where pictures of the pages stay, to be looked at."""
LEAST_TARGET = 24
"""CSS pixels of a control in each direction (WCAG 2.2, 2.5.8)."""


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    script = axe_script(tmp_path_factory.mktemp("axe"))
    if script is None:
        pytest.skip("axe-core cannot be had: no npm, or no network")
    return script


async def check(page: Page, script: str, theme: str) -> list[str]:
    """Ask the checker; the second theme has other colours, and nothing else."""
    await page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    return await problems(page, script, only=() if theme == "light" else ("color-contrast",))


async def fits(page: Page) -> None:
    """Nothing needs scrolling sideways, and every control is large enough."""
    assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth")
    small = await page.evaluate(
        """least => [...document.querySelectorAll("button, select, input, summary")]
            .filter((each) => each.checkVisibility({visibilityProperty: true}))
            .map((each) => [each.getBoundingClientRect(), each])
            .filter(([box]) => box.width && (box.width < least || box.height < least))
            .map(([box, each]) => `${each.outerHTML.slice(0, 90)} ${box.width} x ${box.height}`)""",
        LEAST_TARGET,
    )
    assert small == []


async def test_axe_finds_nothing_serious(
    server: Running, context: BrowserContext, axe: str
) -> None:
    await add_usage(server, 20)
    found: dict[str, list[str]] = {}
    page = await context.new_page()
    await page.emulate_media(reduced_motion="reduce")  # nothing half faded

    async def look(name: str) -> None:
        await fits(page)
        for theme in ("light", "dark"):
            if wrong := await check(page, axe, theme):
                found[f"{name}, {theme}"] = wrong
            if SHOTS:
                await page.screenshot(path=Path(SHOTS) / f"{name}-{theme}.png")

    await page.goto(server.url + "/")
    await expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    await look("sign-in")
    await log_in(page)
    await look("empty")
    await ask(page, "Merge two sorted lists", "writer")
    await over(page)
    await look("answer")
    await ask(page, "And now?", "breaks")
    await over(page, 2)
    await page.locator("#conversations li").first.hover()
    await look("failure")
    await page.get_by_role("button", name="Delete Merge two sorted lists").click()
    await look("dialog")
    await page.keyboard.press("Escape")
    await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    await look("phone")
    await page.get_by_role("button", name="Conversations").click()
    await look("phone-list")
    await page.goto(server.url + "/usage")
    await page.get_by_role("button", name="7 days").click()  # each column is looked at
    await expect(page.locator(".chart").first.locator(".column")).to_have_count(7)
    for summary in await page.locator("summary").all():
        await summary.click()
    await look("phone-usage")
    await page.set_viewport_size({"width": 1280, "height": 800})
    await look("usage")
    assert found == {}


async def test_everything_can_be_done_by_keyboard(server: Running, context: BrowserContext) -> None:
    page = await signed_in(context, server)
    await expect(page.get_by_label("Message", exact=True)).to_be_focused()
    await page.keyboard.type("First")
    await page.keyboard.press("Shift+Enter")
    await page.keyboard.type("line two")
    await page.keyboard.press("Enter")
    await over(page)
    await expect(page.locator(".bubble")).to_have_text("First\nline two")
    await expect(page.get_by_label("Message", exact=True)).to_be_focused()
    await page.reload()
    await over(page)
    skip = page.get_by_role("link", name="Skip to the message box")
    await skip.focus()
    await expect(skip).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Message", exact=True)).to_be_focused()
    # Rename without a pointer: the tools of a row appear when it has the focus.
    await page.locator("#conversations .open").focus()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Rename First")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.type("By hand")
    await page.keyboard.press("Enter")
    await expect(page.locator("#title")).to_have_text("By hand")


async def test_on_a_phone_the_list_is_a_drawer(server: Running, context: BrowserContext) -> None:
    page = await signed_in(context, server)
    await page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    await ask(page, "Merge two sorted lists", "writer")
    await over(page)
    await fits(page)
    await expect(page.locator("#sidebar")).to_be_hidden()
    menu = page.get_by_role("button", name="Conversations")
    await menu.click()
    await expect(page.get_by_role("button", name="Close the list")).to_be_focused()
    assert await page.locator("#stage").evaluate("e => e.inert")
    await page.keyboard.press("Escape")
    await expect(page.locator("#sidebar")).to_be_hidden()
    await expect(menu).to_be_focused()
    await menu.click()
    await page.get_by_role("button", name="New chat").click()
    await expect(page.get_by_role("heading", name="What would you like to ask?")).to_be_visible()
    await expect(page.locator("#sidebar")).to_be_hidden()


async def test_the_theme_follows_the_system_until_it_is_chosen(
    server: Running, context: BrowserContext
) -> None:
    page = await context.new_page()
    root = page.locator("html")
    await page.emulate_media(color_scheme="dark")
    await page.goto(server.url + "/")
    await expect(root).to_have_attribute("data-theme", "dark")
    await page.emulate_media(color_scheme="light")
    await expect(root).to_have_attribute("data-theme", "light")
    await bring_token(page, server, 1)
    await page.reload()
    await page.get_by_role("button", name="Dark colours").click()
    await expect(root).to_have_attribute("data-theme", "dark")
    await page.reload()
    await expect(root).to_have_attribute("data-theme", "dark")
    await expect(page.get_by_role("button", name="Dark colours")).to_have_attribute(
        "aria-pressed", "true"
    )


async def test_a_reader_who_scrolls_up_is_left_there(
    server: Running, context: BrowserContext, replay: ReplayProvider
) -> None:
    page = await signed_in(context, server)
    await page.set_viewport_size({"width": 900, "height": 320})
    end = """() => {
        const area = document.getElementById("scroll");
        return area.scrollHeight - area.scrollTop - area.clientHeight;
    }"""
    with Held(replay, 300, 300) as held:
        await ask(page, "Go on", "replay")
        await has_words(page, 300)
        await page.wait_for_function(f"() => ({end})() < 2")
        await page.set_viewport_size({"width": 500, "height": 480})
        await page.wait_for_function(f"() => ({end})() < 2")  # another shape, the same place
        await page.locator("#scroll").hover()
        await page.mouse.wheel(0, -5000)
        await page.wait_for_function("() => document.getElementById('scroll').scrollTop === 0")
        held.go()
        await over(page)
    await has_words(page, 600)
    assert await page.evaluate("document.getElementById('scroll').scrollTop") == 0
    await page.get_by_role("button", name="Go to the end").click()
    await page.wait_for_function(f"() => ({end})() < 2")
