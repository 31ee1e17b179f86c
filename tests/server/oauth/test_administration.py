"""What operators do, and what is swept away: rules A8, A16 and A18, on every database."""

import asyncio
from pathlib import Path

import pytest
from argon2 import extract_parameters
from pydantic import SecretStr

from support.authorization import CALLBACK, OPERATOR, AuthServer, browser, grant
from support.homes import Home
from tellstream.auth.clients import ClientRegistry, OAuthClient
from tellstream.auth.private_files import PrivateFileError
from tellstream.auth.sweep import sweep
from tellstream.auth.transactions import Transaction
from tellstream.core.errors import RequestError

DAY = 86_400


async def clients(stored: AuthServer) -> list[OAuthClient]:
    found, more = await stored.acts.clients.list(OPERATOR, None, 100)
    assert more is None
    return found


async def test_a18_the_first_start_makes_one_admin_with_a_random_password(
    stored: AuthServer, home: Home
) -> None:
    made = await stored.first_start.first_admin(stored.passwords, [1, 2])
    assert made is not None
    assert len(made.password) == 23
    (row,) = home.ask("SELECT email, must_change, scopes, tenants, password_hash FROM users")
    assert row[:4] == ("admin@localhost", True, "admin chat streams:all usage", "1 2")
    assert extract_parameters(row[4])
    assert made.password not in row[4]
    assert await stored.first_start.first_admin(stored.passwords, [1, 2]) is None


async def test_a18_of_many_processes_that_start_one_makes_it(
    stored: AuthServer, home: Home
) -> None:
    made = await asyncio.gather(
        *(stored.first_start.first_admin(stored.passwords, [1]) for _ in range(8))
    )
    assert len([one for one in made if one is not None]) == 1
    assert home.ask("SELECT count(*) FROM users") == [(1,)]


async def test_a18_passwords_differ(auth: AuthServer) -> None:
    first = await auth.first_start.first_admin(auth.passwords, [1])
    await auth.store.run(None, lambda c: c.exec_driver_sql("DELETE FROM users").close())
    second = await auth.first_start.first_admin(auth.passwords, [1])
    assert first is not None
    assert second is not None
    assert first.password != second.password


async def test_an_email_belongs_to_one_user(stored: AuthServer) -> None:
    await stored.user("ann@acme.example")
    with pytest.raises(RequestError) as refused:
        await stored.user("ANN@acme.example ")
    assert refused.value.code == "conflict"
    assert "ann" not in refused.value.message.lower()


async def test_a_user_needs_a_good_password(auth: AuthServer) -> None:
    for email, password, field, text in (
        ("a@b", "short", "password", "at least 12"),
        ("no", "correct horse battery", "email", "email"),
    ):
        with pytest.raises(RequestError) as refused:
            await auth.acts.users.create(OPERATOR, email, SecretStr(password), [1])
        assert refused.value.code == "validation_error"
        ((named, said),) = refused.value.details
        assert named == field
        assert text in said


async def test_a8_a_client_is_stored_without_its_secret(stored: AuthServer, home: Home) -> None:
    created, secret = await stored.acts.clients.create(
        OPERATOR, "Shop", [CALLBACK, "http://127.0.0.1/cb"], ["usage", "chat"], [2, 1]
    )
    assert secret is not None
    assert len(secret) == 43
    assert await clients(stored) == [created]
    assert secret not in str(home.ask("SELECT * FROM oauth_clients"))
    assert created.redirect_uris == (CALLBACK, "http://127.0.0.1/cb")
    public, none = await stored.acts.clients.create(
        OPERATOR, "Cli", ["http://[::1]/"], ["chat"], [1], public=True
    )
    assert (none, public.public) == (None, True)
    assert "client_credentials" not in public.grant_types
    assert {c.client_id for c in await clients(stored)} == {
        created.client_id, public.client_id,
    }  # fmt: skip


async def test_a16_a_stored_client_gets_a_token_for_itself(stored: AuthServer) -> None:
    application = await stored.client(tenants=(2,), scope="usage")
    response = await application.token(grant_type="client_credentials")
    assert response.status_code == 200
    principal = stored.verify(response.json()["access_token"])
    assert principal.subject == application.client.client_id
    assert (set(principal.tenants), set(principal.scopes)) == ({2}, {"usage"})
    assert "refresh_token" not in response.json()
    public = await stored.client(public=True)
    response = await public.token(grant_type="client_credentials")
    assert response.json()["error"] == "unauthorized_client"


async def test_a_disabled_client_is_unknown(stored: AuthServer, home: Home) -> None:
    application, _ = await stored.client(), await stored.user()
    tokens = await grant(application)
    home.ask("UPDATE oauth_clients SET disabled_at = 1")
    response = await application.refresh(tokens["refresh_token"])
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    async with browser(stored) as person:
        assert (await person.open(application.query())).status_code == 400
    assert await clients(stored) == []


async def test_clients_of_earlier_versions_are_taken_over_once(
    stored: AuthServer, tmp_path: Path
) -> None:
    folder = tmp_path / "old"
    registry = ClientRegistry(folder)
    old, secret = registry.create("Bot", [CALLBACK], ["chat"], [1], public=False)
    registry.create("App", [CALLBACK], ["chat"], [1], public=True)
    imports = (stored.first_start.import_clients(folder) for _ in range(4))
    assert 2 in await asyncio.gather(*imports)  # as workers that start together do
    found = {client.name: client for client in await clients(stored)}
    assert found["Bot"] == old
    assert found["App"].public
    assert await stored.first_start.import_clients(folder) == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "oauth_clients.json.imported", "oauth_clients.json.lock",
    ]  # fmt: skip
    response = await stored.http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials", "client_id": old.client_id,
              "client_secret": str(secret)},
    )  # fmt: skip
    assert response.status_code == 200


async def test_a_damaged_client_file_is_not_put_aside(auth: AuthServer, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    ClientRegistry(folder).create("Bot", [], ["chat"], [1], public=False)
    (folder / "oauth_clients.json").write_text("{")
    with pytest.raises(PrivateFileError, match="damaged"):
        await auth.first_start.import_clients(folder)
    assert (folder / "oauth_clients.json").read_text() == "{"


TABLES = (
    "login_sessions", "login_attempts", "authorization_requests", "authorization_codes",
    "oauth_grants", "refresh_tokens", "oauth_revoked",
)  # fmt: skip


async def test_what_has_expired_is_swept_away_and_nothing_else(
    stored: AuthServer, home: Home
) -> None:
    application, _ = await stored.client(), await stored.user()
    tokens = await grant(application)
    async with browser(stored) as person:
        await person.code(application, scope="chat usage")
        await person.open(application.query())
    await application.revoke(tokens["access_token"])

    async def left(after: float) -> dict[str, int]:
        stored.offset += after
        await stored.store.run(None, lambda c: sweep(Transaction(c, stored.clock())))
        return {table: home.ask(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}

    everything = await left(0)
    assert await left(0) == everything
    assert everything["authorization_codes"] == 3
    assert (everything["oauth_grants"], everything["refresh_tokens"]) == (1, 1)
    # After a day only what can still be used or replayed is there.
    assert await left(DAY) == dict.fromkeys(TABLES, 0) | {
        "authorization_codes": 1, "oauth_grants": 1, "refresh_tokens": 1,
    }  # fmt: skip
    assert await left(30 * DAY) == dict.fromkeys(TABLES, 0)
    assert home.ask("SELECT count(*) FROM users") == [(1,)]
    assert home.ask("SELECT count(*) FROM consents") == [(1,)]
