"""Acts on clients and users: whose they are, and what ends with them."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from support.administration import OPERATOR, AdminServer, administrator
from support.authorization import CALLBACK, EMAIL, PASSWORD, browser, claims, grant
from support.homes import Home
from tellstream.auth.positions import Position
from tellstream.core.errors import RequestError

Act = Callable[..., Awaitable[Any]]


async def refused(work: Awaitable[Any]) -> RequestError:
    with pytest.raises(RequestError) as caught:
        await work
    return caught.value


async def test_a_list_is_read_page_by_page(admin: AdminServer) -> None:
    admin.freeze()
    for number in range(7):
        admin.offset += number % 2  # several of one second
        await admin.client(tenants=(2,))
        await admin.user(f"u{number}@b", tenants=[2])
    for act, key in ((admin.acts.clients.list, "client_id"), (admin.acts.users.list, "id")):
        listing: Act = act
        everything, end = await listing(OPERATOR, None, 7)
        assert (len(everything), end) == (7, None)
        found, after = [], None
        while True:
            rows, after = await listing(OPERATOR, after, 2)
            found += rows
            assert after is None or isinstance(after, Position)
            if after is None:
                break
        assert found == everything
        assert len({getattr(row, key) for row in found}) == 7


async def test_an_administrator_has_those_of_one_tenant_alone(admin: AdminServer) -> None:
    clients, users, boss = admin.acts.clients, admin.acts.users, administrator(2)
    made = {t: (await admin.client(tenants=t)).client.client_id for t in ((2,), (3,), (2, 3))}
    people = {t: (await admin.user(f"{len(t)}{t[0]}@b", tenants=t)).id for t in made}
    assert [c.client_id for c in (await clients.list(boss, None, 9))[0]] == [made[2,]]
    assert [u.id for u in (await users.list(boss, None, 9))[0]] == [people[2,]]
    for t in ((3,), (2, 3)):
        for act, thing in (
            (clients.get, made[t]),
            (clients.delete, made[t]),
            (users.get, people[t]),
            (users.delete, people[t]),
        ):
            assert (await refused(act(boss, thing))).code == "not_found"
        password = SecretStr("another good one")
        error = await refused(users.set_password(boss, people[t], password))
        assert error.code == "not_found"
        assert (await refused(users.find(boss, f"{len(t)}{t[0]}@b"))).code == "not_found"
    assert len((await clients.list(OPERATOR, None, 9))[0]) == 3
    assert len((await users.list(OPERATOR, None, 9))[0]) == 3
    assert (await users.get(boss, people[2,])).id == people[2,]
    await clients.delete(boss, made[2,])
    await users.delete(boss, people[2,])


@pytest.mark.parametrize("tenants", [[3], [2, 3], [99], []], ids=str)
async def test_nobody_gives_what_is_beyond_their_own_tenant(
    simple: AdminServer, tenants: list[int]
) -> None:
    boss = administrator(2)
    error = await refused(simple.acts.clients.create(boss, "N", [CALLBACK], ["chat"], tenants))
    assert error.code == "forbidden"
    error = await refused(simple.acts.users.create(boss, "a@b", SecretStr(PASSWORD), tenants))
    assert error.code == "forbidden"
    assert (await simple.acts.clients.list(OPERATOR, None, 9))[0] == []
    assert (await simple.acts.users.list(OPERATOR, None, 9))[0] == []


@pytest.mark.parametrize("scopes", [[], ["root"], ["chat", "chat.stream"]], ids=str)
async def test_only_scopes_that_exist_are_given(simple: AdminServer, scopes: list[str]) -> None:
    error = await refused(simple.acts.clients.create(OPERATOR, "N", [CALLBACK], scopes, [1]))
    assert error.code == "validation_error"
    error = await refused(
        simple.acts.users.create(OPERATOR, "a@b", SecretStr(PASSWORD), [1], scopes)
    )
    assert error.code == "validation_error"


@pytest.mark.parametrize("act", ["client deleted", "user deleted", "password set"])
async def test_what_ends_takes_its_tokens_along(admin: AdminServer, home: Home, act: str) -> None:
    application, user = await admin.client(), await admin.user()
    others = await admin.client()
    await admin.user("bob@acme.example")
    tokens = await grant(application)
    async with browser(admin) as person:
        code = await person.code(application)  # on its way
        if act == "client deleted":
            await admin.acts.clients.delete(OPERATOR, application.client.client_id)
        elif act == "user deleted":
            await admin.acts.users.delete(OPERATOR, user.id)
        else:
            secret = SecretStr("another good one")
            await admin.acts.users.set_password(OPERATOR, user.id, secret)
        assert not admin.is_good(tokens["access_token"])  # here at once
        sid = claims(tokens["access_token"])["sid"]
        dead = home.ask("SELECT key FROM oauth_revoked")
        assert (f"sid:{sid}",) in dead  # and on other workers with their next look
        expected = 401 if act == "client deleted" else 400
        assert (await application.refresh(tokens["refresh_token"])).status_code == expected
        assert (await application.redeem(code)).status_code == expected
        if act != "client deleted":  # the browser is logged out
            await person.open(application.query())
            assert 'value="login"' in person.page.text
    details = home.ask("SELECT details FROM audit_events ORDER BY id DESC LIMIT 1")
    assert '"grants":1' in details[0][0]
    async with browser(admin) as person:  # others go on
        await person.open(others.query())
        await person.log_in("bob@acme.example")
        assert 'value="approve"' in person.page.text


async def test_a_deleted_clients_own_tokens_are_revoked_by_its_id(admin: AdminServer) -> None:
    application = await admin.client()
    is_revoked = admin.server.revocations.is_revoked
    assert not is_revoked("any", application.client.client_id)
    await admin.acts.clients.delete(OPERATOR, application.client.client_id)
    assert is_revoked("any", application.client.client_id)


async def test_only_the_new_password_is_good(admin: AdminServer, home: Home) -> None:
    user, application = await admin.user(), await admin.client()
    new = "another good one"
    await admin.acts.users.set_password(OPERATOR, user.id, SecretStr(new), must_change=True)
    async with browser(admin) as person:
        await person.open(application.query())
        assert (await person.log_in(EMAIL, PASSWORD)).status_code == 403
        await person.log_in(EMAIL, new)
        assert 'value="password"' in person.page.text  # somebody else chose it
    assert new not in str(home.ask("SELECT * FROM users"))


async def test_an_email_is_free_again_when_its_user_is_deleted(admin: AdminServer) -> None:
    first = await admin.user()
    assert (await refused(admin.user())).code == "conflict"
    await admin.acts.users.delete(OPERATOR, first.id)
    assert (await refused(admin.acts.users.delete(OPERATOR, first.id))).code == "not_found"
    assert (await admin.user()).id != first.id


@pytest.mark.parametrize("thing", ["", "x", "usr_", "usr_\0", "usr_" + "x" * 23, "a\0b", "ü"])
async def test_what_is_no_id_is_not_found(admin: AdminServer, thing: str) -> None:
    for act in (admin.acts.users.get, admin.acts.users.delete, admin.acts.clients.get):
        assert (await refused(act(OPERATOR, thing))).code == "not_found"


@pytest.mark.parametrize("password", ["short", "x" * 300, "correct\0horse battery", "\udc80" * 20])
async def test_a_password_is_checked_and_never_repeated(simple: AdminServer, password: str) -> None:
    error = await refused(simple.acts.users.create(OPERATOR, "a@b", SecretStr(password), [1]))
    assert error.code == "validation_error"
    assert [name for name, _ in error.details] == ["password"]
    assert password not in str(error.details)
