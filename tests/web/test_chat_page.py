"""The chat page in a real browser, over a real server."""

import json

import pytest
from playwright.async_api import BrowserContext, Page, expect

from support.people import Watch, log_in
from support.replay import Answer, ReplayProvider
from support.server import Running
from support.wire import Wire
from web.test_markdown import HARM

LAST = "document.querySelector('.answer:last-child .prose')"
SLOW = 20_000
"""Milliseconds for what takes one or two on a free machine."""


async def signed_in(context: BrowserContext, server: Running) -> Page:
    page = await context.new_page()
    await page.goto(server.url + "/")
    await log_in(page)
    return page


async def ask(page: Page, text: str, model: str | None = None) -> None:
    if model:
        await page.get_by_label("Model", exact=True).select_option(model)
    await page.get_by_label("Message", exact=True).fill(text)
    await page.keyboard.press("Enter")


async def over(page: Page, answers: int = 1) -> None:
    await expect(page.locator(".answer.over")).to_have_count(answers, timeout=SLOW)


async def words(page: Page) -> int:
    return len((await page.locator(".answer .prose").last.inner_text()).split())


async def grows(page: Page, least: int) -> None:
    """Wait until the last answer has so many words."""
    script = f"n => ({LAST}?.textContent ?? '').split(/\\s+/).length > n"
    await page.wait_for_function(script, arg=least, timeout=SLOW)


async def has_words(page: Page, number: int) -> None:
    """Wait until the last answer shows exactly so many words: frames come after events."""
    script = f"n => {LAST}.innerText.trim().split(/\\s+/).length === n"
    await page.wait_for_function(script, arg=number, timeout=SLOW)


def delta(text: str) -> bytes:
    body = {"id": "1", "model": "m", "choices": [{"index": 0, "delta": {"content": text}}]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


END = (
    b'data: {"id":"1","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"1","model":"m","choices":[],'
    b'"usage":{"prompt_tokens":5,"completion_tokens":7}}\n\n'
    b"data: [DONE]\n\n"
)


async def test_sign_in_chat_keep_and_sign_out(server: Running, context: BrowserContext) -> None:
    watch = Watch(context, server)
    page = await signed_in(context, server)
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
    server: Running, context: BrowserContext
) -> None:
    page = await signed_in(context, server)
    await ask(page, "Go on", "paced")
    await grows(page, 5)
    await page.get_by_role("button", name="Stop the answer").click()
    await over(page)
    assert await words(page) < 400
    await expect(page.locator(".answer .note")).to_have_text("You stopped this answer.")
    await expect(page.locator(".answer .numbers")).to_contain_text("written")
    await expect(page.get_by_role("button", name="Send")).to_be_visible()


async def test_a_reload_in_the_middle_goes_on_where_it_was(
    server: Running, context: BrowserContext
) -> None:
    watch = Watch(context, server)
    asked: list[str] = []
    context.on("request", lambda r: asked.append(r.url) if "/v1/chat/stream" in r.url else None)
    page = await signed_in(context, server)
    await ask(page, "Go on", "paced")
    for least in (20, 90):
        await grows(page, least)
        await page.reload()
        await expect(page.locator(".answer")).to_have_count(1)
    await over(page)
    await has_words(page, 400)
    assert len(asked) == 1, "the answer was asked for again"
    await expect(page.locator(".answer .numbers")).to_contain_text("400 written")
    assert watch.is_clean()


async def test_a_lost_network_is_said_and_survived(
    server: Running, context: BrowserContext, network: Wire
) -> None:
    page = await signed_in(context, server)
    await ask(page, "Go on", "paced")
    await grows(page, 10)
    await context.set_offline(True)
    await network.lose()  # what the browser does not do to connections that stand
    await expect(page.locator(".answer .waiting")).to_contain_text("offline", timeout=SLOW)
    before = await words(page)
    network.restore()
    await context.set_offline(False)
    await over(page)
    assert before < 400
    await has_words(page, 400)


async def test_two_tabs_show_one_stream(server: Running, context: BrowserContext) -> None:
    watch = Watch(context, server)
    asked: list[str] = []
    context.on(
        "request", lambda r: asked.append(r.url) if r.method == "POST" and "/v1/" in r.url else None
    )
    page = await signed_in(context, server)
    other = await signed_in(context, server)
    await ask(page, "Go on", "paced")
    await grows(page, 5)
    await other.get_by_role("button", name="Go on", exact=True).click()
    await grows(other, 10)
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
    await expect(page.locator("#composer [role=alert]")).to_contain_text("2000", timeout=SLOW)
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
    body = b"".join(delta(text[n : n + 7]) for n in range(0, len(text), 7)) + END
    replay.answers["recorded"] = Answer(body)
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


LONG_TASKS = """() => {
    window.tasks = [];
    new PerformanceObserver((list) => {
        for (const {duration} of list.getEntries()) window.tasks.push(Math.round(duration));
    }).observe({type: "longtask"});
}"""
TRIES = 3
"""On a machine that does other things as well, the quietest of a few tries counts."""


async def test_5000_deltas_keep_the_page_responsive(
    server: Running, context: BrowserContext, replay: ReplayProvider
) -> None:
    sentence = "A sentence of **some** words with `code` and [a link](https://x.example) in it. "
    pieces = [piece + " " for piece in (sentence * 20 + "\n\n").split(" ") if piece]
    pieces = (pieces * 30)[:5000]
    replay.answers["recorded"] = Answer(b"".join(map(delta, pieces)) + END)
    page = await signed_in(context, server)
    await page.evaluate(LONG_TASKS)
    longest = []
    for number in range(1, TRIES + 1):
        await page.evaluate("window.tasks = []")
        await ask(page, "Go on", "replay")
        await over(page, number)
        await has_words(page, len("".join(pieces).split()))
        longest.append(await page.evaluate("Math.max(0, ...window.tasks)"))
    # The browser reports tasks of 50 ms and more; 0: there was none.
    assert min(longest) == 0, longest
