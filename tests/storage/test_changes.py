"""Changes reach every worker: counted with the change, seen soon, not forgotten."""

import asyncio
import threading
import time

import pytest
import sqlalchemy as sa
import structlog

from support.homes import Home
from tellstream.core.errors import RequestError
from tellstream.storage import changes, tenants
from tellstream.storage.changes import ChangeWatcher
from tellstream.storage.store import Store
from tellstream.storage.tenants import StoredTenant

DEADLINE_SECONDS = 10.0


class Cache:
    """What a worker keeps: the names of the tenants; fails as often as it is told to."""

    def __init__(self, store: Store) -> None:
        self.names: list[str] | None = None
        self.loads = 0
        self.failing = 0
        self._store = store

    async def load(self) -> None:
        self.loads += 1
        if self.failing:
            self.failing -= 1
            raise ValueError("cannot be loaded")
        found = await self._store.run(None, lambda c: tenants.listed(c, None), readonly=True)
        self.names = [one.name for one in found]


def put(connection: sa.Connection, name: str) -> None:
    tenants.put(connection, None, StoredTenant(1, name, {}, 1))


async def until(cache: Cache, names: list[str]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while cache.names != names:
        assert time.monotonic() < deadline, cache.names
        await asyncio.sleep(0.01)


async def test_the_counter_rises_with_the_change_or_not_at_all(store: Store) -> None:
    def fail(connection: sa.Connection) -> None:
        put(connection, "A")
        raise RequestError("conflict")

    with pytest.raises(RequestError):
        await store.run(None, fail)
    assert await store.run(None, changes.current) == 0
    await store.run(None, lambda c: put(c, "A"))
    assert await store.run(None, changes.current) == 1


async def test_the_counter_is_not_seen_before_the_change_is(home: Home, store: Store) -> None:
    other = Store(home.database())
    await other.start()
    begun, go = threading.Event(), threading.Event()

    def slow(connection: sa.Connection) -> None:
        put(connection, "A")
        begun.set()
        assert go.wait(10)

    task = asyncio.ensure_future(other.run(None, slow))
    assert await asyncio.to_thread(begun.wait, 10)
    assert await store.run(None, changes.current, readonly=True) == 0
    go.set()
    await task
    assert await store.run(None, changes.current, readonly=True) == 1
    await other.close()


async def test_changes_at_the_same_time_are_all_counted(store: Store) -> None:
    await asyncio.gather(*(store.run(None, changes.bump) for _ in range(50)))
    assert await store.run(None, changes.current) == 50


async def test_a_worker_loads_at_its_start_and_after_each_change(store: Store) -> None:
    cache = Cache(store)
    watcher = ChangeWatcher(store, cache.load)
    assert await watcher.look() is True
    assert await watcher.look() is False
    await store.run(None, lambda c: put(c, "A"))
    assert await watcher.look() is True
    assert cache.names == ["A"]
    assert await watcher.look() is False
    assert cache.loads == 2


async def test_looks_at_the_same_time_load_once(store: Store) -> None:
    cache = Cache(store)
    watcher = ChangeWatcher(store, cache.load)
    assert sorted(await asyncio.gather(*(watcher.look() for _ in range(5)))) == [False] * 4 + [True]
    assert cache.loads == 1


async def test_another_worker_sees_a_change(home: Home, store: Store) -> None:
    other = Store(home.database())
    await other.start()
    cache = Cache(other)
    watcher = ChangeWatcher(other, cache.load, seconds=0.01)
    await watcher.look()
    running = asyncio.ensure_future(watcher.run())
    try:
        for name in ("A", "B"):
            await store.run(None, lambda c, n=name: put(c, n))  # type: ignore[misc]
            await until(cache, [name])
    finally:
        running.cancel()
        await asyncio.wait({running})
        await other.close()


async def test_what_could_not_be_loaded_is_loaded_later_and_told_once(store: Store) -> None:
    cache = Cache(store)
    watcher = ChangeWatcher(store, cache.load, seconds=0.01)
    await watcher.look()
    cache.failing = 3
    with structlog.testing.capture_logs() as logs:
        running = asyncio.ensure_future(watcher.run())
        await store.run(None, lambda c: put(c, "A"))
        await until(cache, ["A"])
        running.cancel()
        await asyncio.wait({running})
    assert [entry["event"] for entry in logs] == ["changes.not_loaded"]
    assert cache.loads == 5


async def test_the_watching_outlives_a_store_that_cannot_be_used(home: Home) -> None:
    store = Store(home.database())
    cache = Cache(store)
    watcher = ChangeWatcher(store, cache.load, seconds=0.01)
    with structlog.testing.capture_logs() as logs:
        running = asyncio.ensure_future(watcher.run())
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not logs:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        await store.start()
        await store.run(None, lambda c: put(c, "A"))
        await until(cache, ["A"])
        running.cancel()
        await asyncio.wait({running})
    await store.close()
