"""Stored tenants: a caller's own, and for the server all of them."""

from functools import partial

import msgspec
import pytest

from support.homes import Home
from support.ledgers import ctx
from tellstream.core.errors import RequestError
from tellstream.storage import changes, tenants
from tellstream.storage.store import Store
from tellstream.storage.tenants import StoredTenant

SETTINGS = {
    "model": "small", "models": ["*"], "system": 'Zoë "says" 🙂', "limits": {"prompt_chars": 9}
}  # fmt: skip


def tenant(number: int = 1, **fields: object) -> StoredTenant:
    return msgspec.structs.replace(StoredTenant(number, "Acme", SETTINGS, 100), **fields)


async def put(store: Store, *given: StoredTenant) -> None:
    for one in given:
        await store.run(None, lambda c, one=one: tenants.put(c, None, one))  # type: ignore[misc]


async def counter(store: Store) -> int:
    return await store.run(None, changes.current, readonly=True)


async def test_a_tenant_is_read_as_it_was_stored(store: Store) -> None:
    await put(store, tenant(7))
    assert await store.run(None, lambda c: tenants.get(c, None, 7)) == tenant(7)
    assert await store.run(ctx(7), lambda c: tenants.get(c, ctx(7), 7)) == tenant(7)


async def test_storing_again_changes_name_and_settings_and_nothing_else(store: Store) -> None:
    assert await store.run(None, lambda c: tenants.put(c, None, tenant(suspended_at=5))) is True
    again = tenant(name="Other", settings={}, created_at=999, suspended_at=None)
    assert await store.run(None, lambda c: tenants.put(c, None, again)) is False
    found = await store.run(None, lambda c: tenants.get(c, None, 1))
    assert found == StoredTenant(1, "Other", {}, 100, 5)


async def test_the_server_sees_all_and_a_caller_its_own(store: Store) -> None:
    await put(store, *map(tenant, (3, 1, 2**63 - 1, 2)))
    listed = await store.run(None, lambda c: tenants.listed(c, None))
    assert [found.id for found in listed] == [1, 2, 3, 2**63 - 1]
    mine = await store.run(ctx(2), lambda c: tenants.listed(c, ctx(2)))
    assert mine == [tenant(2)]
    # Without the database's help, too.
    assert await store.run(None, lambda c: tenants.listed(c, ctx(2))) == [tenant(2)]
    assert await store.run(None, lambda c: tenants.get(c, ctx(2), 1)) is None


async def test_tenants_are_listed_in_pages(store: Store) -> None:
    await put(store, *map(tenant, range(1, 8)))
    for after, expected in ((0, [1, 2, 3]), (3, [4, 5, 6]), (6, [7]), (7, [])):
        page = await store.run(None, partial(tenants.listed, ctx=None, after=after, limit=3))
        assert [one.id for one in page] == expected


async def test_another_tenant_cannot_be_changed_nor_told_from_one_that_is_not(
    store: Store, home: Home
) -> None:
    await put(store, tenant(2))
    for number in (2, 3):
        for act in (
            lambda c, n=number: tenants.put(c, ctx(1), tenant(n, name="Mine")),
            lambda c, n=number: tenants.suspend(c, ctx(1), n, 5),
        ):
            with pytest.raises(RequestError) as caught:
                await store.run(None, act)
            assert (caught.value.status, str(caught.value)) == (
                404, "not_found: There is nothing at this address."
            )  # fmt: skip
    assert home.ask("SELECT id, name, suspended_at FROM tenants") == [(2, "Acme", None)]


async def test_a_tenant_is_suspended_and_goes_on(store: Store) -> None:
    await put(store, tenant(1), tenant(2))
    assert await store.run(None, lambda c: tenants.suspend(c, None, 1, 50)) is True
    found = await store.run(None, lambda c: tenants.listed(c, None))
    assert [one.suspended_at for one in found] == [50, None]
    assert await store.run(None, lambda c: tenants.suspend(c, None, 1, None)) is True
    found = await store.run(None, lambda c: tenants.listed(c, None))
    assert [one.suspended_at for one in found] == [None, None]
    assert await store.run(None, lambda c: tenants.suspend(c, None, 9, 50)) is False


async def test_every_change_is_counted_and_nothing_else_is(store: Store) -> None:
    counts = [await counter(store)]
    for act in (
        lambda c: tenants.put(c, None, tenant()),
        lambda c: tenants.put(c, None, tenant()),
        lambda c: tenants.suspend(c, None, 1, 5),
        lambda c: tenants.suspend(c, None, 9, 5),
        lambda c: tenants.listed(c, None),
    ):
        await store.run(None, act)
        counts.append(await counter(store))
    assert counts == [0, 1, 2, 3, 3, 3]
