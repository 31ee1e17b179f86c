"""Transactions: whole or not at all, bounded, and not torn by whoever stops waiting."""

import asyncio
import threading
import time

import pytest
import sqlalchemy as sa

from support.homes import Home, SqliteHome
from support.ledgers import ctx
from tellstream.core.errors import RequestError, ServerError
from tellstream.storage import tenants
from tellstream.storage.base import StoreUnavailableError
from tellstream.storage.store import MAX_WAITING, THREADS, Store
from tellstream.storage.tables_store import TENANTS
from tellstream.storage.tenants import StoredTenant


def insert(connection: sa.Connection, tenant: int) -> None:
    connection.execute(sa.insert(TENANTS).values(id=tenant, name="A", settings="{}", created_at=1))


def ids(home: Home) -> list[int]:
    return [number for (number,) in home.ask("SELECT id FROM tenants ORDER BY id")]


async def test_what_work_returns_is_returned_when_it_is_stored(store: Store, home: Home) -> None:
    def work(connection: sa.Connection) -> str:
        insert(connection, 1)
        insert(connection, 2)
        return "done"

    assert await store.run(None, work) == "done"
    assert ids(home) == [1, 2]


async def test_an_exception_takes_back_all_of_it_and_reaches_the_caller(
    store: Store, home: Home
) -> None:
    def work(connection: sa.Connection) -> None:
        insert(connection, 1)
        raise RequestError("conflict")

    with pytest.raises(RequestError) as caught:
        await store.run(None, work)
    assert caught.value.code == "conflict"
    assert ids(home) == []


async def test_what_the_database_refuses_is_an_error_of_ours_without_the_values(
    store: Store, home: Home
) -> None:
    def work(connection: sa.Connection) -> None:
        insert(connection, 77_777)
        insert(connection, 77_777)

    with pytest.raises(ServerError) as caught:
        await store.run(None, work)
    assert caught.value.code == "server_error"
    assert "IntegrityError" in str(caught.value.reason)
    assert "77777" not in str(caught.value.reason)
    assert ids(home) == []


async def test_work_that_goes_on_after_an_error_is_not_taken_for_stored(
    store: Store, home: Home
) -> None:
    """PostgreSQL answers such a commit with a rollback; SQLite has kept what went well."""

    def work(connection: sa.Connection) -> None:
        insert(connection, 1)
        with pytest.raises(sa.exc.IntegrityError):
            insert(connection, 1)

    try:
        await store.run(None, work)
    except RuntimeError:
        assert ids(home) == []
    else:
        assert ids(home) == [1]


async def test_a_savepoint_keeps_the_rest_of_the_transaction(store: Store, home: Home) -> None:
    def work(connection: sa.Connection) -> None:
        insert(connection, 1)
        with pytest.raises(sa.exc.IntegrityError), connection.begin_nested():
            insert(connection, 1)
        insert(connection, 2)

    await store.run(None, work)
    assert ids(home) == [1, 2]


async def test_reading_sees_one_state_and_cannot_write(store: Store, home: Home) -> None:
    def work(connection: sa.Connection) -> tuple[int, int]:
        counts = []
        for number in (1, 2):
            counts.append(connection.execute(sa.select(sa.func.count(TENANTS.c.id))).scalar_one())
            home.ask(f"INSERT INTO tenants VALUES ({number}, 'A', '{{}}', 1, null)")
        return counts[0], counts[1]

    assert await store.run(None, work, readonly=True) == (0, 0)
    with pytest.raises(ServerError):
        await store.run(None, lambda connection: insert(connection, 3), readonly=True)
    await store.run(None, lambda connection: insert(connection, 3))
    assert ids(home) == [1, 2, 3]


async def test_reading_does_not_wait_for_those_who_write(store: Store, home: Home) -> None:
    with home.blocked():
        assert await store.run(None, lambda c: tenants.listed(c, None), readonly=True) == []


async def test_a_cancelled_caller_neither_tears_nor_undoes_the_transaction(
    store: Store, home: Home
) -> None:
    begun, go = threading.Event(), threading.Event()

    def work(connection: sa.Connection) -> None:
        insert(connection, 1)
        begun.set()
        assert go.wait(10)
        insert(connection, 2)

    task = asyncio.ensure_future(store.run(None, work))
    assert await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ids(home) == [1, 2]


async def test_transactions_that_write_the_same_row_follow_each_other(
    store: Store, home: Home
) -> None:
    await store.run(None, lambda connection: insert(connection, 1))

    def more(connection: sa.Connection) -> None:
        found = connection.execute(sa.update(TENANTS).values(created_at=TENANTS.c.created_at + 1))
        assert found.rowcount == 1

    await asyncio.gather(*(store.run(None, more) for _ in range(100)))
    assert home.ask("SELECT created_at FROM tenants") == [(101,)]


async def test_two_that_wait_for_each_other_do_not_wait_for_ever(sqlite_home: SqliteHome) -> None:
    """On SQLite nothing is begun that must be given up: the second waits before it reads."""
    store = Store(sqlite_home.database())
    await store.start()
    await store.run(None, lambda connection: insert(connection, 1))

    def read_then_write(connection: sa.Connection) -> None:
        seen = connection.execute(sa.select(TENANTS.c.created_at)).scalar_one()
        time.sleep(0.001)
        connection.execute(sa.update(TENANTS).values(created_at=seen + 1))

    await asyncio.gather(*(store.run(None, read_then_write) for _ in range(20)))
    assert sqlite_home.ask("SELECT created_at FROM tenants") == [(21,)]
    await store.close()


async def test_a_caller_waits_for_a_bounded_time_and_what_has_not_begun_never_does(
    home: Home,
) -> None:
    store = Store(home.database(), run_seconds=0.2)
    await store.start()
    go = threading.Event()

    def slow(connection: sa.Connection) -> None:
        assert go.wait(10)
        insert(connection, 1 + int(threading.current_thread().name.rpartition("_")[2]))

    running = [store.run(None, slow, readonly=True) for _ in range(THREADS)]
    never = store.run(None, lambda connection: insert(connection, 99))
    errors = await asyncio.gather(*running, never, return_exceptions=True)
    assert [type(error) for error in errors] == [StoreUnavailableError] * (THREADS + 1)
    go.set()
    await store.close()
    assert ids(home) == []


async def test_too_much_that_waits_is_refused_at_once(store: Store, home: Home) -> None:
    go = threading.Event()
    tasks = [
        asyncio.ensure_future(store.run(None, lambda _: go.wait(10), readonly=True))
        for _ in range(MAX_WAITING)
    ]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailableError) as caught:
        await store.run(ctx(), lambda _: None)
    assert (caught.value.status, caught.value.retry_after) == (503, 1)
    go.set()
    assert all(await asyncio.gather(*tasks))
    await store.run(ctx(), lambda _: None)


async def test_a_store_that_is_not_open_is_unavailable(home: Home) -> None:
    store = Store(home.database())
    with pytest.raises(StoreUnavailableError):
        await store.run(None, lambda _: None)
    await store.start()
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailableError):
        await store.run(None, lambda _: None)


async def test_close_waits_for_what_runs(store: Store, home: Home) -> None:
    begun = threading.Event()

    def work(connection: sa.Connection) -> None:
        begun.set()
        time.sleep(0.05)
        insert(connection, 1)

    task = asyncio.ensure_future(store.run(None, work))
    assert await asyncio.to_thread(begun.wait, 10)
    await store.close()
    await task
    assert ids(home) == [1]


async def test_a_ledger_and_a_store_share_a_database(home: Home) -> None:
    ledger, store = home.ledger(), Store(home.database())
    await asyncio.gather(ledger.start(), store.start())
    tenant = StoredTenant(1, "A", {}, 1)
    await asyncio.gather(
        *(store.run(None, lambda c: tenants.put(c, None, tenant)) for _ in range(20)),
        *(ledger.unsettled(1, 1) for _ in range(20)),
    )
    assert ids(home) == [1]
    await asyncio.gather(ledger.close(), store.close())
