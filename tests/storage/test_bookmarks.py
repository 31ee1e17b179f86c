"""Bookmarks: found by their name until they expire, each tenant's its own."""

import asyncio

from support.homes import Home
from tellstream.storage import bookmarks
from tellstream.storage.store import Store

NOW = 1_800_000_000.0


async def put(store: Store, tenant: int, name: str, value: str, seconds: float = 60) -> None:
    await store.run(None, lambda c: bookmarks.put(c, tenant, name, value, now=NOW, seconds=seconds))


async def find(store: Store, tenant: int, name: str, now: float = NOW) -> str | None:
    return await store.run(None, lambda c: bookmarks.find(c, tenant, name, now), readonly=True)


async def swap(store: Store, tenant: int, old: str, new: str) -> bool:
    return await store.run(None, lambda c: bookmarks.swap(c, tenant, "a", old, new))


async def test_one_is_found_by_tenant_and_name_until_it_expires(store: Store) -> None:
    await put(store, 1, "a", "first")
    await put(store, 2, "a", "another's")
    await put(store, 1, "a", "second", seconds=30)
    assert await find(store, 1, "a") == "second"
    assert await find(store, 2, "a") == "another's"
    assert await find(store, 1, "b") is None
    assert await find(store, 1, "a", NOW + 29) == "second"
    assert await find(store, 1, "a", NOW + 30) is None


async def test_of_many_who_change_one_at_once_one_succeeds(store: Store) -> None:
    await put(store, 1, "a", "fresh")
    await put(store, 2, "a", "fresh")
    changed = await asyncio.gather(*(swap(store, 1, "fresh", f"by {n}") for n in range(20)))
    assert changed.count(True) == 1
    assert await find(store, 1, "a") == f"by {changed.index(True)}"
    assert await find(store, 2, "a") == "fresh"
    assert await swap(store, 3, "fresh", "x") is False


async def test_expired_ones_do_not_pile_up(store: Store, home: Home) -> None:
    for number in range(bookmarks.SWEPT):
        await put(store, 1, f"old {number}", "x", seconds=-1)
    await put(store, 1, "new", "y")
    assert [row[0] for row in home.ask("SELECT name FROM bookmarks")] == ["new"]


async def test_a_bookmark_that_is_written_again_lives_longer(store: Store) -> None:
    await put(store, 1, "a", "x", seconds=-1)
    await put(store, 1, "a", "y", seconds=60)
    assert await find(store, 1, "a") == "y"
