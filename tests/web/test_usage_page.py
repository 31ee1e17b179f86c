"""The usage page shows what the ledger has, in drawings and in tables."""

from playwright.async_api import BrowserContext, expect

from support.ledger_rows import add_usage
from support.people import Watch, add_person, log_in
from support.server import Running
from tellstream.storage.base import COST_UNITS


async def test_sums_charts_and_tables_agree_with_the_ledger(
    server: Running, context: BrowserContext
) -> None:
    watch = Watch(context, server)
    settled = await add_usage(server, 25)
    await add_usage(server, 3, ["other"], tenant=2, seed=9)
    page = await context.new_page()
    await page.goto(server.url + "/usage")
    await log_in(page)
    assert page.url.endswith("/usage")  # back to where it began
    tiles = page.locator(".tiles dd")
    await expect(tiles.first).to_have_text(str(len(settled)))
    cost = sum(one.cost or 0 for one in settled) / COST_UNITS
    assert float(await tiles.last.inner_text()) == round(cost, 4)

    days = page.locator(".card", has=page.get_by_role("heading", name="Tokens per day"))
    await expect(days.get_by_role("img", name="Tokens per day")).to_be_visible()
    assert await days.locator("svg .column").count() == 30
    bars = await days.locator("rect.series-1").count()
    await days.get_by_text("As a table").click()
    rows = days.locator("tbody tr")
    assert await rows.count() == bars == len({one.finished_at // 86_400 for one in settled})
    read = [
        int((await row.locator("td").nth(2).inner_text()).replace(",", ""))
        for row in await rows.all()
    ]
    assert sum(read) == sum(one.usage.prompt_tokens for one in settled)

    models = page.locator(".card", has=page.get_by_role("heading", name="By model"))
    names = await models.locator(".what").all_inner_texts()
    assert set(names) == {one.provider_model for one in settled}
    clients = page.locator(".card", has=page.get_by_role("heading", name="By client"))
    await expect(clients).to_contain_text("These pages")

    await page.get_by_role("button", name="7 days").click()
    await expect(days.locator("svg .column")).to_have_count(7)
    await page.get_by_label("Tenant", exact=True).select_option("2")
    await expect(models.locator(".what")).to_have_text(["other"])
    await page.get_by_label("First day").fill("2020-01-01")
    await expect(page.get_by_role("alert")).to_contain_text("365 days")
    assert watch.is_clean(allowed=("422",))


async def test_somebody_without_the_scope_is_told(server: Running, context: BrowserContext) -> None:
    await add_person(server, "ben@acme.example", scopes="chat")
    page = await context.new_page()
    await page.goto(server.url + "/usage")
    await log_in(page, "ben@acme.example")
    await expect(page.get_by_role("alert")).to_contain_text("may not do this")
    await page.get_by_role("link", name="Chat").click()
    await expect(page.get_by_role("heading", name="What would you like to ask?")).to_be_visible()
    await expect(page.locator("#usage")).to_be_hidden()
