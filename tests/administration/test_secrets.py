"""Provider credentials, signing keys and the master key."""

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from support.administration import OPERATOR, AdminServer, administrator
from support.canaries import contents, leaks
from support.homes import Home, PostgresqlHome
from tellstream.administration.acts import Administration
from tellstream.administration.offer import Offer
from tellstream.administration.signing_keys import KeyPlace
from tellstream.auth.stored_keys import StoredKeys
from tellstream.core.errors import RequestError
from tellstream.server.key_sealing import KeySealing
from tellstream.storage import credentials as stored_credentials
from tellstream.storage.keyring import Keyring

KEY = "sk-canary-3f9a1c77e2b8d4"


async def refused(work: object) -> RequestError:
    with pytest.raises(RequestError) as caught:
        await work  # type: ignore[misc]
    return caught.value


async def revealed(admin: AdminServer) -> dict[tuple[int, str], str]:
    keyring = admin.master_key.keyring()
    found = await admin.store.run(None, lambda c: stored_credentials.revealed(c, None, keyring))
    return {place: key.get_secret_value() if key else "" for place, key in found.items()}


async def test_a_key_goes_in_and_never_comes_out(admin: AdminServer, home: Home) -> None:
    put = admin.acts.credentials.put
    await admin.acts.tenants.create(OPERATOR, 2, {})
    before = home.ask("SELECT counter FROM changes")
    made = await put(OPERATOR, 2, "openai", "main", SecretStr(KEY))
    assert (made.last4, made.label, made.provider) == ("b8d4", "main", "openai")
    assert home.ask("SELECT counter FROM changes") > before
    assert await admin.acts.credentials.list(OPERATOR, 2) == [made]
    assert await revealed(admin) == {(2, "openai"): KEY}
    tables = ("provider_credentials", "audit_events", "changes")
    stored = {table: str(home.ask(f"SELECT * FROM {table}")) for table in tables}
    assert leaks({"key": KEY}, stored) == []
    if not isinstance(home, PostgresqlHome):
        files = contents(admin.folder.glob("tellstream.db*"))
        assert files
        assert leaks({"key": KEY}, files) == []
    await admin.acts.credentials.delete(OPERATOR, 2, "openai")
    assert await admin.acts.credentials.list(OPERATOR, 2) == []
    again = admin.acts.credentials.delete(OPERATOR, 2, "openai")
    assert (await refused(again)).code == "not_found"


async def test_keys_of_other_tenants_do_not_exist(admin: AdminServer) -> None:
    credentials, boss = admin.acts.credentials, administrator(2)
    for number in (2, 3):
        await admin.acts.tenants.create(OPERATOR, number, {})
        await credentials.put(OPERATOR, number, "openai", "", SecretStr(KEY))
    secret = SecretStr("sk-other")
    for work in (
        credentials.list(boss, 3),
        credentials.get(boss, 3, "openai"),
        credentials.put(boss, 3, "openai", "", secret),
        credentials.delete(boss, 3, "openai"),
        credentials.put(OPERATOR, 4, "openai", "", secret),  # there is no such tenant
        credentials.get(boss, 2, "xai"),
    ):
        assert (await refused(work)).code == "not_found"
    assert await revealed(admin) == {(2, "openai"): KEY, (3, "openai"): KEY}
    await credentials.put(boss, 2, "openai", "mine", secret)
    assert (await revealed(admin))[2, "openai"] == "sk-other"
    await credentials.put(OPERATOR, 1, "openai", "", secret)  # one of the file


@pytest.mark.parametrize(
    ("provider", "label", "key", "field"),
    [
        ("Open AI", "", KEY, "provider"),
        ("a/b", "", KEY, "provider"),
        ("a\0", "", KEY, "provider"),
        ("", "", KEY, "provider"),
        ("openai", "x" * 101, KEY, "label"),
        ("openai", "a\nb", KEY, "label"),
        ("openai", "", "", "key"),
        ("openai", "", "two words", "key"),
        ("openai", "", "sk-\nInjected: x", "key"),
        ("openai", "", "schlüssel", "key"),
        ("openai", "", "x" * 4097, "key"),
    ],
    ids=str,
)
async def test_a_credential_is_checked(
    simple: AdminServer, provider: str, label: str, key: str, field: str
) -> None:
    work = simple.acts.credentials.put(OPERATOR, 1, provider, label, SecretStr(key))
    error = await refused(work)
    assert error.code == "validation_error"
    assert [name for name, _ in error.details] == [field]


async def test_a_new_master_key_encrypts_everything_anew(admin: AdminServer, home: Home) -> None:
    for number in range(1, 4):
        if number > 1:
            await admin.acts.tenants.create(OPERATOR, number, {})
        await admin.acts.credentials.put(OPERATOR, number, "openai", "", SecretStr(KEY))
    old = admin.master_key.keyring().kids
    done = await admin.acts.master_key.rotate(OPERATOR)
    assert done == (True, 3, 0, True)
    (new,) = admin.master_key.keyring().kids
    assert new not in old
    rows = home.ask("SELECT ciphertext FROM provider_credentials")
    assert all(text.startswith(f"v1:{new}:") for (text,) in rows)
    assert set((await revealed(admin)).values()) == {KEY}


async def test_machines_rotate_step_by_step(admin: AdminServer) -> None:
    await admin.acts.credentials.put(OPERATOR, 1, "openai", "", SecretStr(KEY))
    rotate = admin.acts.master_key.rotate
    assert await rotate(OPERATOR, "add") == (True, 0, 1, False)
    assert await rotate(OPERATOR, "drop") == (False, 0, 1, False)  # still needed
    assert len(admin.master_key.keyring().kids) == 2
    assert await rotate(OPERATOR, "encrypt") == (False, 1, 0, False)
    assert await rotate(OPERATOR, "drop") == (False, 0, 0, True)
    assert len(admin.master_key.keyring().kids) == 1
    assert await revealed(admin) == {(1, "openai"): KEY}


async def test_keys_that_are_put_in_meanwhile_stay_readable(admin: AdminServer) -> None:
    put = admin.acts.credentials.put

    async def keep_putting(provider: str) -> None:
        for number in range(15):
            await put(OPERATOR, 1, provider, str(number), SecretStr(KEY))

    async def keep_rotating() -> None:
        for _ in range(3):
            await admin.acts.master_key.rotate(OPERATOR)

    await asyncio.gather(keep_putting("a"), keep_putting("b"), keep_rotating())
    assert await revealed(admin) == {(1, "a"): KEY, (1, "b"): KEY}


async def test_a_key_that_is_needed_is_never_dropped(admin: AdminServer, home: Home) -> None:
    await admin.acts.credentials.put(OPERATOR, 1, "openai", "", SecretStr(KEY))
    home.ask("UPDATE provider_credentials SET provider = 'moved'")  # so it cannot be decrypted
    done = await admin.acts.master_key.rotate(OPERATOR)
    assert done == (True, 0, 1, False)
    assert len(admin.master_key.keyring().kids) == 2
    home.ask("UPDATE provider_credentials SET provider = 'openai'")
    assert await revealed(admin) == {(1, "openai"): KEY}


async def test_signing_keys_in_the_store_survive_a_new_master_key(
    admin: AdminServer, tmp_path: Path
) -> None:
    stored = StoredKeys(admin.store, KeySealing(admin.master_key), admin.clock)
    keys = await stored.load_or_create(tmp_path)
    acts = Administration.over(
        admin.store, admin.clock, Offer([], [], [1], []), admin.passwords, admin.master_key,
        KeyPlace(keys, stored, tmp_path),
    )  # fmt: skip
    rotation = await acts.keys.rotate(OPERATOR)
    listed = await acts.keys.list(OPERATOR)
    assert [key.signs for key in listed] == [True, False]
    assert listed[1].kid == rotation.kid
    await acts.master_key.rotate(OPERATOR)
    await stored.refresh()  # raises if a key cannot be decrypted
    assert await acts.keys.list(OPERATOR) == listed


async def test_signing_keys_in_a_file_are_rotated(simple: AdminServer) -> None:
    simple.freeze()
    (old,) = await simple.acts.keys.list(OPERATOR)
    rotation = await simple.acts.keys.rotate(OPERATOR)
    simple.offset += 2  # until the file is looked at again
    assert [key.kid for key in await simple.acts.keys.list(OPERATOR)] == [old.kid, rotation.kid]
    simple.offset = rotation.signs_from - simple.frozen
    assert [key.signs for key in await simple.acts.keys.list(OPERATOR)] == [False, True]
    (event,), _ = await simple.acts.audit.page(OPERATOR, None, None, 10)
    assert (event.act, event.object, event.subject) == (
        "signing_key.rotated", rotation.kid, "cli:test",
    )  # fmt: skip


async def test_what_belongs_to_the_installation_is_the_operators(simple: AdminServer) -> None:
    before: Keyring = simple.master_key.keyring()
    for work in (
        simple.acts.keys.list(administrator(2)),
        simple.acts.keys.rotate(administrator(2)),
        simple.acts.master_key.rotate(administrator(2)),
    ):
        assert (await refused(work)).code == "forbidden"
    assert simple.master_key.keyring().kids == before.kids
    assert len(await simple.acts.keys.list(OPERATOR)) == 1
