"""The usage page shows what the ledger has, in drawings and in tables."""

from collections import Counter

from playwright.async_api import BrowserContext, Locator, Page, expect

from support.ledger_rows import add_usage
from support.people import Watch, add_person, bring_token, log_in
from support.server import Running
from tellstream.core.usage import FinishReason
from tellstream.storage.base import COST_UNITS
from web.conftest import SUMMED

DAYS = 25
SUMS, OTHER, ENDS, FAILING = SUMMED
"""A tenant for each test, so that no other test adds to what it sums up."""


async def report(server: Running, context: BrowserContext, *tenants: int) -> Page:
    """Let somebody of these tenants look at the usage page."""
    page = await context.new_page()
    await bring_token(page, server, *tenants)
    await page.goto(server.url + "/usage")
    return page


def card(page: Page, name: str) -> Locator:
    return page.locator(".card", has=page.get_by_role("heading", name=name, exact=True))


async def table(page: Page, name: str) -> tuple[list[str], list[list[str]]]:
    """Unfold the table of a card; gives its head and its rows."""
    place = card(page, name)
    await place.get_by_text("As a table").click()
    region = place.get_by_role("region", name=f"{name}, as a table")
    await expect(region).to_be_visible()
    rows = [
        await row.locator("th, td").all_inner_texts() for row in await region.locator("tr").all()
    ]
    return rows[0], rows[1:]


def column(head: list[str], rows: list[list[str]], name: str) -> list[int]:
    return [int(row[head.index(name)].replace(",", "")) for row in rows]


async def test_sums_charts_and_tables_agree_with_the_ledger(
    server: Running, context: BrowserContext
) -> None:
    watch = Watch(context, server)
    settled = await add_usage(server, DAYS, tenant=SUMS)
    await add_usage(server, 3, ("other",), tenant=OTHER, seed=9)
    page = await report(server, context, SUMS, OTHER)
    tiles = page.locator(".tiles > div")
    await expect(tiles.first.locator("dd").first).to_have_text(str(len(settled)))
    cost = sum(one.cost or 0 for one in settled) / COST_UNITS
    shown = await tiles.filter(has_text="Cost").locator("dd").first.inner_text()
    assert float(shown) == round(cost, 2)

    days = card(page, "Tokens per day")
    await expect(days.get_by_role("img", name="Tokens per day")).to_be_visible()
    assert await days.locator("svg .column").count() == 30
    bars = await days.locator("rect.series-1").count()
    head, rows = await table(page, "Tokens per day")
    assert len(rows) == bars == len({one.finished_at // 86_400 for one in settled})
    read = column(head, rows, "Tokens read")
    assert sum(read) == sum(one.usage.prompt_tokens for one in settled)

    models = card(page, "Tokens by model").locator(".what")
    assert set(await models.all_inner_texts()) == {one.provider_model for one in settled}
    await expect(card(page, "Tokens by client")).to_contain_text("These pages")

    await page.get_by_role("button", name="7 days").click()
    await expect(days.locator("svg .column")).to_have_count(7)
    await page.get_by_label("Tenant", exact=True).select_option(str(OTHER))
    await expect(models).to_have_text(["other"])
    await page.get_by_label("First day").fill("2020-01-01")
    await expect(page.get_by_role("alert")).to_contain_text("365 days")
    assert watch.is_clean(allowed=("422",))


async def test_outcomes_and_first_tokens_agree_with_the_ledger(
    server: Running, context: BrowserContext
) -> None:
    settled = await add_usage(server, DAYS, tenant=ENDS, seed=3)
    page = await report(server, context, ENDS)
    await expect(page.locator(".tiles")).to_be_visible()
    ends = Counter(one.finish_reason for one in settled)
    failed = page.locator(".tiles > div").first.locator(".note")
    await expect(failed).to_have_text(f"{ends[FinishReason.ERROR]} failed")

    names = {
        "Finished": FinishReason.STOP,
        "Asked for a tool": FinishReason.TOOL_CALLS,
        "Length limit": FinishReason.LENGTH,
        "Content filter": FinishReason.CONTENT_FILTER,
        "Cancelled": FinishReason.CANCELLED,
        "Failed": FinishReason.ERROR,
    }
    occurred = [name for name, reason in names.items() if ends[reason]]
    for name in ("Outcomes per day", "Outcomes by model", "Outcomes by client"):
        head, rows = await table(page, name)
        assert head[1:] == ["Streams", *occurred]  # what did not happen has no column
        for outcome in occurred:
            assert sum(column(head, rows, outcome)) == ends[names[outcome]]
    failures = card(page, "Outcomes per day").locator("svg rect.failed")
    that = {one.finished_at // 86_400 for one in settled if one.finish_reason == "Error"}
    assert await failures.count() == len(that)

    times = sorted(one.first_token_ms for one in settled if one.first_token_ms is not None)
    assert 0 < len(times) < len(settled)
    for name in ("First token per day", "First token by model", "First token by client"):
        head, rows = await table(page, name)
        assert sum(column(head, rows, "Streams")) == len(times)
        await expect(card(page, name).locator("rect.series-2").first).to_be_visible()
    head, rows = await table(page, "Streams by their time")
    assert sum(column(head, rows, "Streams")) == len(times)
    median = page.locator(".tiles > div", has_text="First token, median")
    said = (await median.locator("dd").first.inner_text()).split()
    middle = times[(len(times) - 1) // 2]
    number = float(said[0]) * (1 if said[1] == "ms" else 1000)
    assert abs(number - middle) <= 500  # the width of a class of times around it


async def test_without_any_content_there_are_outcomes_and_no_times(
    server: Running, context: BrowserContext
) -> None:
    await add_usage(server, 10, tenant=FAILING, failing=True)
    page = await report(server, context, FAILING)
    await expect(page.get_by_role("heading", name="Outcomes", exact=True)).to_be_visible()
    assert await page.get_by_role("heading", name="Time to the first token").count() == 0
    assert await card(page, "Outcomes per day").locator(".key").all_inner_texts() == ["failed"]


async def test_somebody_without_the_scope_is_told(server: Running, context: BrowserContext) -> None:
    await add_person(server, "ben@acme.example", scopes="chat")
    page = await context.new_page()
    await page.goto(server.url + "/usage")
    await log_in(page, "ben@acme.example")
    assert page.url.endswith("/usage")  # back to where it began
    await expect(page.get_by_role("alert")).to_contain_text("may not do this")
    await page.get_by_role("link", name="Chat").click()
    await expect(page.get_by_role("heading", name="What would you like to ask?")).to_be_visible()
    await expect(page.locator("#usage")).to_be_hidden()
