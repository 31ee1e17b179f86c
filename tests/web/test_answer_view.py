"""Every kind of event on the page: what a stream of the real server would say, event by event."""

import base64
from typing import Any

from playwright.async_api import BrowserContext, expect

from support.people import Watch
from support.server import Running

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA"
    "AABJRU5ErkJggg=="
)
SVG = base64.b64encode(
    b"<svg xmlns='http://www.w3.org/2000/svg' onload='window.canary=1'/>"
).decode()
SHOW = """async ([events, restored]) => {
    const {newAnswer, take} = await import("./web/answer.js");
    const {AnswerView} = await import("./web/answer-view.js");
    const answer = newAnswer("key", "asked-for");
    let view = restored ? null : new AnswerView(answer, () => { window.again = true; });
    events.forEach((event, n) => {
        const part = take(answer, {...event, position: n + 1});
        if (part) view?.update(part);
    });
    const stored = structuredClone(answer); // as it is kept in the browser
    view ??= new AnswerView(stored, () => {});
    view.settle();
    document.body.replaceChildren(view.element);
    return stored;
}"""


def text(delta: str) -> dict[str, Any]:
    return {"type": "text_delta", "delta": delta, "message_id": "m"}


def citation(**changes: Any) -> dict[str, Any]:
    given = {"source_type": "url", "source": "https://x.example/a", "source_title": "A title"}
    return {"type": "citation", "message_id": "m", "citation": given | changes}


def artifact(number: int, mime_type: str, data: str) -> dict[str, Any]:
    content: dict[str, Any] = {"id": None, "data": data, "mime_type": mime_type, "metadata": {}}
    return {"type": "artifact", "id": f"evt_{number}", "tool_name": "draw", "artifact": content}


EVENTS: list[dict[str, Any]] = [
    {"type": "stream_start", "model": "m-1", "provider": "sim", "metadata": None},
    {"type": "step_start"},
    {"type": "thinking_start", "reasoning_id": "r"},
    {"type": "thinking_delta", "reasoning_id": "r", "delta": "<b>Hmm</b>\nyes", "summary": None},
    {"type": "thinking_complete", "reasoning_id": "r", "summary": None},
    {"type": "provider_tool_event", "tool_type": "web_search", "status": "in_progress",
     "item_id": "s", "event_key": "", "data": {}},
    {"type": "provider_tool_event", "tool_type": "web_search", "status": "completed",
     "item_id": "s", "event_key": "", "data": {}},
    {"type": "text_start", "message_id": "m"},
    text("Here "),
    citation(),
    text("it is."),
    citation(source="javascript:window.canary=1", source_title="<i>evil</i>"),
    citation(source_type="document", source=3, source_title=None, source_text="page three"),
    {"type": "text_complete", "message_id": "m"},
    {"type": "tool_call_delta", "tool_id": "t", "tool_name": "weather", "delta": '{"ci',
     "message_id": "m"},
    {"type": "tool_call", "tool_id": "t", "tool_name": "weather", "arguments": {"city": "Rome"},
     "message_id": "m", "reasoning_id": None},
    {"type": "tool_result", "tool_id": "t", "result": {"degrees": 21}, "success": True,
     "error": None, "message_id": "m", "tool_call_result_id": None},
    {"type": "tool_call", "tool_id": "u", "tool_name": "broken", "arguments": {}, "message_id": "m",
     "invalid_arguments": '{"a": <script>'},
    artifact(1, "image/png", PIXEL),
    artifact(2, "image/svg+xml", SVG),
    artifact(3, "text/html", "not base64!"),
    {"type": "error", "error_type": "upstream_truncated", "message": "x", "recoverable": False},
    {"type": "step_finish"},
    {"type": "stream_end", "finish_reason": "Error", "usage": {
        "prompt_tokens": 1200, "completion_tokens": 34, "thought_tokens": 5,
        "cache_read_input_tokens": None, "cache_write_input_tokens": None}, "citations": None},
]  # fmt: skip


async def test_every_kind_of_part_is_shown_live_and_from_the_store(
    server: Running, context: BrowserContext
) -> None:
    watch = Watch(context, server)
    page = await context.new_page()
    for restored in (False, True):
        await page.goto(server.url + "/")
        # The page itself is done, and will not miss what is replaced.
        await expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        stored = await page.evaluate(SHOW, [EVENTS, restored])
        assert stored["position"] == len(EVENTS)
        await expect(page.locator(".prose")).to_have_text("Here it is.")
        await expect(page.locator(".search")).to_have_text("web search: completed")
        thinking = page.locator(".thinking")
        await thinking.locator("summary").click()
        await expect(page.locator(".thought")).to_have_text("<b>Hmm</b>\nyes")

        sources = page.locator(".sources li")
        await expect(sources).to_have_text(["A title x.example", "<i>evil</i>", "page three"])
        assert await page.locator(".sources a").count() == 1
        assert await page.locator(".sources a").get_attribute("href") == "https://x.example/a"

        tool, broken = page.locator(".tool").all_inner_texts, page.locator(".tool").last
        assert (await tool())[0].startswith("Tool weather done")
        await page.locator(".tool summary").first.click()
        await expect(page.locator(".tool pre").first).to_contain_text('"city": "Rome"')
        await expect(page.locator(".tool pre").nth(1)).to_contain_text('"degrees": 21')
        await broken.locator("summary").click()
        await expect(broken.locator("pre").first).to_have_text('{"a": <script>')

        assert await page.locator(".artifact").count() == 3
        image = page.locator(".artifact img")  # of the PNG only
        await expect(image).to_have_count(1)
        assert (
            await image.evaluate("async (e) => { await e.decode(); return e.naturalWidth; }") == 1
        )
        for link in await page.locator(".artifact a").all():
            assert (await link.get_attribute("href") or "").startswith("blob:")
            assert await link.get_attribute("download")

        await expect(page.locator(".problem")).to_contain_text("broke off")
        await expect(page.locator(".numbers")).to_contain_text(
            "asked-for · 1,200 tokens read, 34 written, 5 of them thinking"
        )
        assert await page.locator(".numbers").get_attribute("title") == "sim: m-1"
    await page.evaluate(SHOW, [EVENTS, False])
    await page.get_by_role("button", name="Try again").click()
    assert await page.evaluate("window.again")
    assert await page.evaluate("window.canary ?? null") is None
    assert watch.is_clean()
