"""Providers' keys: shown to nobody, usable only for the tenant that stored them."""

import pytest
from pydantic import SecretStr

from support.homes import Home
from support.ledgers import ctx
from tellstream.core.errors import RequestError
from tellstream.storage import changes, credentials
from tellstream.storage.credentials import Credential
from tellstream.storage.keyring import Keyring, new_key
from tellstream.storage.store import Store

CANARY = "xai-canary-0123456789-LAST"
KEYRING = Keyring([new_key()])


async def put(store: Store, tenant: int, provider: str = "xai", key: str = CANARY) -> Credential:
    return await store.run(
        ctx(tenant),
        lambda c: credentials.put(
            c, ctx(tenant), KEYRING, tenant, provider, "main", SecretStr(key), now=100
        ),
    )


async def revealed(store: Store, tenant: int | None = None) -> dict[tuple[int, str], str | None]:
    caller = None if tenant is None else ctx(tenant)
    found = await store.run(caller, lambda c: credentials.revealed(c, caller, KEYRING))
    return {where: key.get_secret_value() if key else None for where, key in found.items()}


async def test_a_key_is_used_but_never_shown_nor_stored_as_it_is(store: Store, home: Home) -> None:
    shown = await put(store, 1)
    assert shown == Credential(1, "xai", "main", "LAST", 100)
    assert await store.run(ctx(), lambda c: credentials.listed(c, ctx(), 1)) == [shown]
    assert "canary" not in repr(shown)
    assert await revealed(store) == {(1, "xai"): CANARY}
    assert "canary" not in str(home.ask("SELECT * FROM provider_credentials"))
    found = await store.run(None, lambda c: credentials.revealed(c, None, KEYRING))
    assert "canary" not in repr(found)


async def test_the_end_of_a_short_key_is_not_shown(store: Store) -> None:
    assert (await put(store, 1, key="short-key-of-15")).last4 == ""
    assert (await put(store, 1, key="this-key-has-16c")).last4 == "-16c"


async def test_a_new_key_takes_the_place_of_the_old_one(store: Store, home: Home) -> None:
    await put(store, 1)
    await put(store, 1, key="another")
    assert await revealed(store) == {(1, "xai"): "another"}
    assert home.ask("SELECT count(*) FROM provider_credentials") == [(1,)]


async def test_a_caller_has_its_own_keys_only(store: Store) -> None:
    for tenant in (1, 2):
        await put(store, tenant, key=f"key-of-{tenant}")
    assert await revealed(store) == {(1, "xai"): "key-of-1", (2, "xai"): "key-of-2"}
    assert await revealed(store, 2) == {(2, "xai"): "key-of-2"}
    # Without the database's help, too.
    key = SecretStr("k")
    assert await store.run(None, lambda c: credentials.listed(c, ctx(1), 2)) == []
    found = await store.run(None, lambda c: credentials.revealed(c, ctx(1), KEYRING))
    assert list(found) == [(1, "xai")]
    with pytest.raises(RequestError, match="not_found"):
        await store.run(None, lambda c: credentials.delete(c, ctx(1), 2, "xai"))
    with pytest.raises(RequestError, match="not_found"):
        await store.run(
            None, lambda c: credentials.put(c, ctx(1), KEYRING, 2, "xai", "", key, now=1)
        )
    assert len(await revealed(store)) == 2


async def test_a_row_that_is_copied_to_another_tenant_or_provider_does_not_decrypt(
    store: Store, home: Home
) -> None:
    await put(store, 1)
    for tenant, provider in ((2, "xai"), (1, "openai")):
        home.ask(
            f"INSERT INTO provider_credentials SELECT {tenant}, '{provider}', label, last4, "
            "ciphertext, created_at FROM provider_credentials WHERE tenant = 1 AND provider = 'xai'"
        )
    # It is known that there is a key: nobody may take another one instead.
    assert await revealed(store) == {(1, "xai"): CANARY, (2, "xai"): None, (1, "openai"): None}


async def test_a_deleted_key_is_gone(store: Store) -> None:
    await put(store, 1)
    await put(store, 1, "openai")
    assert await store.run(ctx(), lambda c: credentials.delete(c, ctx(), 1, "xai")) is True
    assert await store.run(ctx(), lambda c: credentials.delete(c, ctx(), 1, "xai")) is False
    assert list(await revealed(store)) == [(1, "openai")]


async def test_every_change_is_counted(store: Store) -> None:
    await put(store, 1)
    await store.run(ctx(), lambda c: credentials.delete(c, ctx(), 1, "none"))
    assert await store.run(None, changes.current) == 1
    await store.run(ctx(), lambda c: credentials.delete(c, ctx(), 1, "xai"))
    assert await store.run(None, changes.current) == 2
