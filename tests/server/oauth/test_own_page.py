"""The pages of the server are an OAuth client without registration, and nothing more than that."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.authorization import (
    Application,
    AuthServer,
    answer,
    authorization_server,
    browser,
    claims,
)
from support.homes import SqliteHome
from tellstream.auth.own_page import PAGE_CLIENT_ID, OwnPage

URL = "https://chat.example"


@pytest.fixture
async def site(tmp_path: Path, sqlite_home: SqliteHome) -> AsyncIterator[AuthServer]:
    async with authorization_server(tmp_path, sqlite_home.database(), URL) as made:
        yield made


def own_page(site: AuthServer, *tenants: int) -> Application:
    page = OwnPage(URL, lambda: tenants)
    site.server._page = page
    return Application(site, page.client, None)


async def test_a_person_signs_in_for_what_both_have(site: AuthServer) -> None:
    page = own_page(site, 1, 3)
    await site.user(scopes=["chat", "usage", "admin", "streams:all"], tenants=[1, 2])
    async with browser(site) as person:
        person.http.base_url = URL  # its cookie is for https only
        code = await person.code(page, scope="chat usage")
        again = answer(await person.open(page.query(scope="chat usage")))
        assert "code" in again  # agreed to once
    tokens = (await page.redeem(code)).json()
    said = claims(tokens["access_token"])
    assert said["client_id"] == PAGE_CLIENT_ID
    assert (said["tenants"], said["scope"]) == ([1], "chat usage")
    renewed = await page.refresh(tokens["refresh_token"])
    assert renewed.status_code == 200
    assert (await page.revoke(renewed.json()["refresh_token"])).status_code == 200
    assert not site.is_good(renewed.json()["access_token"])


async def test_tenants_are_those_there_are_now(site: AuthServer) -> None:
    tenants = [1]
    site.server._page = OwnPage(URL, lambda: tenants)
    page = Application(site, site.server._page.client, None)
    await site.user(tenants=[1, 2])
    async with browser(site) as person:
        person.http.base_url = URL
        code = await person.code(page)
    first = (await page.redeem(code)).json()
    assert claims(first["access_token"])["tenants"] == [1]
    tenants.append(2)
    async with browser(site) as person:
        person.http.base_url = URL
        code = await person.code(page)
    assert claims((await page.redeem(code)).json()["access_token"])["tenants"] == [1, 2]


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": f"{URL}/usage"},
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": "http://127.0.0.1:1/"},
        {"redirect_uri": URL},
    ],
)
async def test_codes_go_to_the_chat_page_and_nowhere_else(
    site: AuthServer, changes: dict[str, str]
) -> None:
    page = own_page(site, 1)
    async with browser(site) as person:
        shown = await person.open(page.query(**changes))
    assert shown.status_code == 400
    assert "location" not in shown.headers


async def test_it_can_ask_for_no_more_than_pages_need_and_must_prove_itself(
    site: AuthServer,
) -> None:
    page = own_page(site, 1)
    async with browser(site) as person:
        for changes in ({"scope": "chat admin"}, {"code_challenge": None}):
            told = answer(await person.open(page.query(**changes)))
            assert "error" in told
    assert (await page.token(grant_type="client_credentials")).status_code == 400


async def test_without_the_embedded_pages_it_does_not_exist(site: AuthServer) -> None:
    page = own_page(site, 1)
    site.server._page = None
    async with browser(site) as person:
        assert (await person.open(page.query())).status_code == 400


async def test_logging_out_ends_the_login_of_this_browser_only(site: AuthServer) -> None:
    page = own_page(site, 1)
    await site.user()
    async with browser(site) as one, browser(site) as other:
        for person in (one, other):
            person.http.base_url = URL
            await person.code(page)
        assert (await one.http.post("/oauth/logout")).status_code == 200
        assert 'value="login"' in (await one.open(page.query())).text
        assert "code" in answer(await other.open(page.query()))
    async with browser(site) as nobody:
        assert (await nobody.http.post("/oauth/logout")).status_code == 200
