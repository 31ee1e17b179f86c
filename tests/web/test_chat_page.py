"""The chat page in a real browser, over a real server."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, expect

from support.people import Watch, bring_token, log_in
from support.replay import Answer, ReplayProvider
from support.server import Running
from support.wire import Wire
from web.held import MODEL, Held, delta, end
from web.test_markdown import HARM

LAST = "document.querySelector('.answer:last-child .prose')"


async def signed_in(context: BrowserContext, server: Running) -> Page:
    page = await context.new_page()
    await bring_token(page, server, 1, 2)
    await page.goto(server.url + "/")
    await expect(page.locator("#app")).to_be_visible()
    return page


async def ask(page: Page, text: str, model: str | None = None) -> None:
    if model:
        await page.get_by_label("Model", exact=True).select_option(model)
    await page.get_by_label("Message", exact=True).fill(text)
    await page.keyboard.press("Enter")


async def over(page: Page, answers: int = 1) -> None:
    await expect(page.locator(".answer.over")).to_have_count(answers)


async def has_words(page: Page, number: int) -> None:
    """Wait until the last answer shows exactly so many words: frames come after events."""
    script = f"n => ({LAST}?.innerText ?? '').trim().split(/\\s+/).length === n"
    await page.wait_for_function(script, arg=number)


async def test_sign_in_chat_keep_and_sign_out(server: Running, context: BrowserContext) -> None:
    watch = Watch(context, server)
    page = await context.new_page()
    await page.goto(server.url + "/")
    await log_in(page)
    assert "code=" not in page.url
    await expect(page.get_by_label("Message", exact=True)).to_be_focused()

    await ask(page, "Merge two sorted lists", "writer")
    await over(page)
    answer = page.locator(".answer")
    await expect(answer.locator("figure.code code")).to_contain_text("def merge(")
    await expect(answer.locator("table")).to_be_visible()
    await expect(answer.locator(".numbers")).to_contain_text("60 of them thinking")
    thinking = answer.locator("details.thinking")
    assert await thinking.get_attribute("open") is None
    await thinking.locator("summary").click()
    await expect(answer.locator(".thought")).to_be_visible()
    await expect(page.locator("#announcer")).to_contain_text("End of the answer")
    await expect(page.locator("#conversations .open")).to_have_text(["Merge two sorted lists"])
    assert await page.title() == "Merge two sorted lists · Tellstream"

    # What was said before is known to the model: the simulator counts the tokens of the history.
    await ask(page, "And in another language?", "quick")
    await over(page, 2)
    await expect(page.locator(".answer").last.locator(".numbers")).to_contain_text("tokens read")

    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    await answer.first.get_by_role("button", name="Copy this code").click()
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("def merge(")
    assert copied.endswith("right[j:]")
    await answer.first.get_by_role("button", name="Copy this answer").click()
    assert "## In Python" in await page.evaluate("navigator.clipboard.readText()")

    await page.get_by_role("button", name="New chat").click()
    await expect(page.get_by_role("heading", name="What would you like to ask?")).to_be_visible()
    await ask(page, "Second", "quick")
    await over(page)
    row = page.locator("#conversations li").filter(has_text="Second")
    await row.hover()
    await row.get_by_role("button", name="Rename").click()
    await page.get_by_label("Name of the conversation").fill("Renamed")
    await page.keyboard.press("Enter")
    await expect(page.locator("#conversations .open").first).to_have_text("Renamed")

    await page.reload()
    await expect(page.locator("#title")).to_have_text("Renamed")
    await over(page)
    row = page.locator("#conversations li").filter(has_text="Renamed")
    await row.hover()
    await row.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Delete", exact=True).click()
    await expect(page.locator("#conversations .open")).to_have_text(["Merge two sorted lists"])
    await expect(page.locator("#title")).to_have_text("New chat")

    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert await page.evaluate("sessionStorage.getItem('tellstream.session')") is None
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_label("Password")).to_be_visible()  # the login is over, too
    assert watch.is_clean()


async def test_stop_ends_the_answer_and_it_is_accounted_for(
    server: Running, context: BrowserContext, replay: ReplayProvider
) -> None:
    page = await signed_in(context, server)
    with Held(replay, 20, 20):
        await ask(page, "Go on", "replay")
        await has_words(page, 20)
        await page.get_by_role("button", name="Stop the answer").click()
        await over(page)
    await has_words(page, 20)
    await expect(page.locator(".answer .note")).to_have_text("You stopped this answer.")
    await expect(page.locator(".answer .numbers")).to_contain_text("written")
    await expect(page.get_by_role("button", name="Send")).to_be_visible()


async def test_a_reload_in_the_middle_goes_on_where_it_was(
    server: Running, context: BrowserContext, replay: ReplayProvider
) -> None:
    watch = Watch(context, server)
    asked: list[str] = []
    context.on("request", lambda r: asked.append(r.url) if "/v1/chat/stream" in r.url else None)
    page = await context.new_page()
    await page.goto(server.url + "/")
    await log_in(page)  # a login goes on as well
    with Held(replay, 60, 60, 280) as held:
        await ask(page, "Go on", "replay")
        for words in (60, 120):
            await has_words(page, words)
            await page.reload()
            await expect(page.locator(".answer")).to_have_count(1)
            await has_words(page, words)
            held.go()
        await over(page)
    await has_words(page, 400)
    assert len(asked) == 1, "the answer was asked for again"
    await expect(page.locator(".answer .numbers")).to_contain_text("400 written")
    assert watch.is_clean()


async def test_a_lost_network_is_said_and_survived(
    server: Running, context: BrowserContext, network: Wire, replay: ReplayProvider
) -> None:
    page = await signed_in(context, server)
    with Held(replay, 100, 300) as held:
        await ask(page, "Go on", "replay")
        await has_words(page, 100)
        await context.set_offline(True)
        await network.lose()  # what the browser does not do to connections that stand
        held.go()
        await expect(page.locator(".answer .waiting")).to_contain_text("offline")
        await has_words(page, 100)
        network.restore()
        await context.set_offline(False)
        await over(page)
    await has_words(page, 400)


async def test_two_tabs_show_one_stream(
    server: Running, context: BrowserContext, replay: ReplayProvider
) -> None:
    watch = Watch(context, server)
    asked: list[str] = []
    context.on(
        "request", lambda r: asked.append(r.url) if r.method == "POST" and "/v1/" in r.url else None
    )
    page = await signed_in(context, server)
    other = await signed_in(context, server)
    with Held(replay, 50, 350) as held:
        await ask(page, "Go on", "replay")
        await has_words(page, 50)
        await other.get_by_role("button", name="Go on", exact=True).click()
        await has_words(other, 50)
        held.go()
        await over(page)
        await over(other)
    await has_words(page, 400)
    await has_words(other, 400)
    assert len(asked) == 1
    # A conversation that is open in both grows in both.
    await ask(other, "More", "quick")
    await over(other, 2)
    await over(page, 2)
    assert len(asked) == 2
    assert watch.is_clean()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("breaks", "broke off"),
        ("refuses", "content filter"),
        ("short", "length limit"),
        ("busy", "busy"),
    ],
)
async def test_an_end_that_is_not_normal_is_said_in_words(
    server: Running, context: BrowserContext, model: str, said: str
) -> None:
    page = await signed_in(context, server)
    await ask(page, "Go on", model)
    await over(page)
    await expect(page.locator(".answer")).to_contain_text(said)


async def test_a_refused_prompt_comes_back_with_the_reason(
    server: Running, context: BrowserContext
) -> None:
    page = await signed_in(context, server)
    await ask(page, "x" * 2001, "quick")
    await expect(page.locator("#composer [role=alert]")).to_contain_text("2000")
    await expect(page.get_by_label("Message", exact=True)).to_have_value("x" * 2001)
    await page.get_by_label("Message", exact=True).fill("shorter")
    await page.keyboard.press("Enter")
    await over(page)
    await expect(page.locator("#composer [role=alert]")).to_be_hidden()


async def test_nothing_that_a_provider_writes_does_anything(
    server: Running, context: BrowserContext, replay: ReplayProvider
) -> None:
    watch = Watch(context, server)
    text = "\n\n".join(HARM)
    body = b"".join(delta(text[n : n + 7]) for n in range(0, len(text), 7)) + end(7)
    replay.answers[MODEL] = Answer(body)
    page = await signed_in(context, server)
    await ask(page, "<img src=x onerror='window.canary=1'>", "replay")
    await over(page)
    await expect(page.locator(".answer .prose")).to_contain_text(
        "<script>window.canary = 1</script>"
    )
    await expect(page.locator(".prompt .bubble")).to_have_text(
        "<img src=x onerror='window.canary=1'>"
    )
    assert await page.evaluate("window.canary ?? null") is None
    assert await page.locator("#turns img, #turns script, #turns iframe, #turns style").count() == 0
    for link in await page.locator(".answer a").all():
        assert await link.get_attribute("rel") == "noopener noreferrer nofollow"
        assert (await link.get_attribute("href") or "").startswith(("https://", "mailto:"))
    assert watch.is_clean()


LONGEST_MS = 50.0
"""Of one task of the page: what takes longer is felt."""
BURN = "() => { const until = performance.now() + 400; while (performance.now() < until); }"


async def longest_task(page: Page, work: Callable[[], Awaitable[None]]) -> float:
    """Do some work, and give the longest task of the page meanwhile, in milliseconds of its thread.

    It is the time that the thread ran, not that of the clock on the wall: a task that the machine
    puts aside for another program is not long. The browser's own count of long tasks does not tell
    the two apart. What the test itself does in the page is counted along.
    """
    browser = page.context.browser
    assert browser is not None
    await browser.start_tracing(categories=["toplevel", "blink.user_timing"])
    try:
        await page.evaluate("performance.mark('work begins')")
        await work()
    finally:
        trace: list[dict[str, Any]] = json.loads(await browser.stop_tracing())["traceEvents"]
    (mark,) = (event for event in trace if event["name"] == "work begins")
    thread, began = (mark["pid"], mark["tid"]), mark["ts"]
    tasks: list[float] = [
        event["tdur"] / 1000
        for event in trace
        if "tdur" in event and (event["pid"], event["tid"]) == thread and event["ts"] > began
    ]
    return max(tasks)


async def test_5000_deltas_keep_the_page_responsive(
    server: Running, context: BrowserContext, replay: ReplayProvider
) -> None:
    sentence = "A sentence of **some** words with `code` and [a link](https://x.example) in it. "
    pieces = [piece + " " for piece in (sentence * 20 + "\n\n").split(" ") if piece]
    pieces = (pieces * 30)[:5000]
    replay.answers[MODEL] = Answer(b"".join(map(delta, pieces)) + end(5000))
    page = await signed_in(context, server)

    async def read() -> None:
        await ask(page, "Go on", "replay")
        await over(page)
        await has_words(page, len("".join(pieces).split()))

    assert await longest_task(page, read) < LONGEST_MS
    burnt = await longest_task(page, lambda: page.evaluate(BURN))
    assert burnt > LONGEST_MS, "a long task would have been seen"
