"""What only PostgreSQL does: row level security, migrations by command, being away for a while."""

import asyncio
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from support.homes import PostgresqlHome, all_tables, migrated_to
from support.ledger_calls import open_row, settle_row
from support.ledgers import NOON, ctx, report, row, settled, settlement
from support.postgres import PASSWORD, ROLE, PostgresServer
from tellstream.core.errors import ServerError
from tellstream.storage import changes, migrate, reports
from tellstream.storage.base import (
    LedgerUnavailableError,
    Position,
    StoreSetupError,
    StoreUnavailableError,
)
from tellstream.storage.postgresql import PostgresqlDatabase, PostgresqlLedger
from tellstream.storage.row_security import ROLE as STEPPED_DOWN
from tellstream.storage.store import Store

DOWN_SECONDS = 5.0
BOUND_SECONDS = 15.0
"""Far above what an operation may take while the server is away."""

# A tenant's rows in each table that has some: what is inserted for tenant {0}.
ROWS = {
    "usage": "INSERT INTO usage (tenant, stream_id, subject, client, model, started_at) "
    "VALUES ({0}, 's{0}', 'ann', 'web', 'small', 1)",
    "tenants": "INSERT INTO tenants VALUES ({0}, 'A', '{{}}', 1, null)",
    "provider_credentials": "INSERT INTO provider_credentials VALUES ({0}, 'xai', '', '', '', 1)",
    "audit_events": "INSERT INTO audit_events (tenant, at, subject, client, act, object, outcome, "
    "request_id, details) VALUES ({0}, 1, '', '', '', '', '', '', '{{}}')",
}
COLUMNS = dict.fromkeys(ROWS, "tenant") | {"tenants": "id"}


@pytest.fixture
def home(postgresql_home: PostgresqlHome) -> PostgresqlHome:
    """The tests here run on PostgreSQL only."""
    return postgresql_home


def statement(text: str) -> Callable[[sa.Connection], Any]:
    """Work that executes one statement; returns its rows, or how many it wrote."""

    def work(connection: sa.Connection) -> Any:
        result = connection.exec_driver_sql(text)
        return [tuple(found) for found in result] if result.returns_rows else result.rowcount

    return work


@pytest.fixture(params=[ROLE, "postgres"], ids=["owner", "superuser"])
async def secured(home: PostgresqlHome, request: pytest.FixtureRequest) -> Any:
    """A store with rows of tenants 1 and 2 in every table, and a login event of nobody's."""
    database = PostgresqlDatabase(home.server.url(home.name, request.param))
    migrate.upgrade(database)  # a superuser needs a role to step down to
    for text in ROWS.values():
        for tenant in (1, 2):
            home.ask(text.format(tenant))
    home.ask(ROWS["audit_events"].format("null"))
    store = Store(database)
    await store.start()
    yield store
    await store.close()


# --- row level security ---------------------------------------------------------------------------


@pytest.mark.parametrize("table", ROWS)
async def test_a_statement_that_forgot_its_tenant_finds_only_the_callers_rows(
    secured: Store, table: str
) -> None:
    select = statement(f"SELECT {COLUMNS[table]} FROM {table}")
    for tenant in (1, 2):
        assert await secured.run(ctx(tenant), select) == [(tenant,)]
        assert await secured.run(ctx(tenant), select, readonly=True) == [(tenant,)]
    assert await secured.run(ctx(3), select) == []
    everyone = [found for (found,) in await secured.run(None, select)]
    assert sorted(everyone, key=str)[:2] == [1, 2]


@pytest.mark.parametrize("table", ROWS)
async def test_a_statement_that_forgot_its_tenant_changes_only_the_callers_rows(
    secured: Store, home: PostgresqlHome, table: str
) -> None:
    column = COLUMNS[table]
    before = home.ask(f"SELECT * FROM {table} WHERE {column} = 2")
    update = statement(f"UPDATE {table} SET {column} = {column}")
    assert await secured.run(ctx(1), update) == 1
    assert await secured.run(ctx(1), statement(f"DELETE FROM {table}")) == 1
    assert home.ask(f"SELECT * FROM {table} WHERE {column} = 2") == before
    assert home.ask(f"SELECT * FROM {table} WHERE {column} = 1") == []


@pytest.mark.parametrize("table", ROWS)
async def test_rows_cannot_be_given_to_another_tenant(
    secured: Store, home: PostgresqlHome, table: str
) -> None:
    column = COLUMNS[table]
    for text in (ROWS[table].format(3), f"UPDATE {table} SET {column} = 3"):
        with pytest.raises(ServerError) as caught:
            await secured.run(ctx(1), statement(text))
        assert "row-level security" in str(caught.value.reason)
    assert home.ask(f"SELECT count(*) FROM {table} WHERE {column} = 3") == [(0,)]


async def test_a_tenant_does_not_stick_to_a_connection(secured: Store) -> None:
    select = statement("SELECT tenant FROM usage")
    found = await asyncio.gather(*(secured.run(ctx(n % 3), select) for n in range(60)))
    assert found == [[(n % 3,)] if n % 3 else [] for n in range(60)]
    assert secured._engine is not None
    with secured._engine.connect() as connection:  # outside of a transaction: nobody's
        assert connection.exec_driver_sql("SELECT tenant FROM usage").all() == []


async def test_the_server_connects_as_a_role_that_cannot_pass(secured: Store) -> None:
    select = "SELECT rolsuper OR rolbypassrls, rolname FROM pg_roles WHERE rolname = current_user"
    ((passes, name),) = await secured.run(None, statement(select))
    assert not passes
    assert name in {ROLE, STEPPED_DOWN}


def test_every_table_with_a_tenant_is_protected(home: PostgresqlHome) -> None:
    """A new table cannot be forgotten."""
    tenants = {
        table.name: "id" if table.name == "tenants" else "tenant"
        for table in all_tables().tables.values()
        if table.name == "tenants" or "tenant" in table.columns
    }
    assert set(ROWS) <= set(tenants)
    forced = home.ask(
        "SELECT relname, relrowsecurity AND relforcerowsecurity FROM pg_class "
        "WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    )
    assert {name for name, is_forced in forced if is_forced} == set(tenants)
    policies = home.ask("SELECT tablename, cmd, qual, with_check FROM pg_policies")
    assert {name for name, *_ in policies} == set(tenants)
    for name, command, using, check in policies:
        assert (command, using) == ("ALL", check)
        assert f"({tenants[name]})::text" in using  # and not another column


async def test_the_reports_of_the_ledger_are_behind_the_wall_too(home: PostgresqlHome) -> None:
    ledger = home.ledger()
    await ledger.start()
    for tenant in (1, 2):
        await settled(ledger, "s", tenant)
    everything = sa.text("SELECT tenant FROM usage").columns(tenant=sa.BigInteger).subquery()
    found = await ledger._read(1, sa.select(everything.c.tenant))
    assert [tuple(seen) for seen in found] == [(1,)]
    await ledger.close()


# --- the schema -----------------------------------------------------------------------------------


@pytest.fixture
def empty(postgres: PostgresServer) -> PostgresqlHome:
    """A database without tables."""
    return PostgresqlHome(postgres, postgres.database())


async def test_a_server_does_not_start_before_the_schema_is_up_to_date(
    empty: PostgresqlHome,
) -> None:
    with pytest.raises(StoreSetupError, match="missing: run tellstream admin migrate"):
        migrate.check(empty.database())
    migrated_to(empty.database(), "0001")
    for start in (empty.ledger().start, Store(empty.database()).start):
        with pytest.raises(StoreSetupError, match="out of date: run tellstream admin migrate"):
            await start()
    migrate.upgrade(empty.database())
    migrate.check(empty.database())
    empty.ask("UPDATE alembic_version SET version_num = '9999'")
    for use in (migrate.check, migrate.upgrade):
        with pytest.raises(StoreSetupError, match="newer version of tellstream"):
            use(empty.database())


async def test_the_rows_of_the_first_version_are_kept_and_protected(empty: PostgresqlHome) -> None:
    migrated_to(empty.database(), "0001")
    empty.ask(
        "INSERT INTO usage VALUES (1, 's', 'ann', 'web', 'small', 1, 'xai', 'grok', "
        f"{NOON}, 'Stop', 7, 1, null, null, null, false, null)"
    )
    migrate.upgrade(empty.database())
    ledger, store = empty.ledger(), Store(empty.database())
    await ledger.start()
    assert [total.prompt_tokens for total in await report(ledger, "day")] == [7]
    assert await report(ledger, "day", 2) == []
    await store.start()
    assert await store.run(ctx(2), statement("SELECT * FROM usage")) == []
    assert await store.run(None, changes.current, readonly=True) == 0
    await ledger.close()
    await store.close()


async def test_upgrades_at_the_same_time_are_one(empty: PostgresqlHome) -> None:
    await asyncio.gather(*(asyncio.to_thread(migrate.upgrade, empty.database()) for _ in range(4)))
    migrate.check(empty.database())


def test_the_migrations_lead_to_the_tables(home: PostgresqlHome) -> None:
    engine = home.database().open(1, system=True)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, all_tables()) == []
        assert context.get_current_revision() == migrate.NEWEST
    engine.dispose()


async def test_a_report_by_stream_is_read_from_the_index(home: PostgresqlHome) -> None:
    """Also through the policy: what a page costs must not grow with the table."""
    home.ask(
        "INSERT INTO usage SELECT n % 10, 's' || n, 'ann', 'web', 'small', 1, 'xai', 'grok', n, "
        "'Stop', 7, 1, null, null, null, false, null FROM generate_series(1, 100000) AS n"
    )
    home.ask("ANALYZE usage")
    store = Store(home.database())
    await store.start()
    selected = reports.statement(1, date.min, date.max, "stream", Position("a", 5)).limit(10)
    text = str(
        selected.compile(dialect=home.database().dialect, compile_kwargs={"literal_binds": True})
    )
    plan = await store.run(ctx(1), statement(f"EXPLAIN {text}"), readonly=True)
    assert any("using usage_finished" in step for (step,) in plan), plan
    assert not any("Sort" in step or "Seq Scan" in step for (step,) in plan), plan
    await store.close()


# --- an address that cannot be used ---------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:canary@host:notaport/db",
        "postgresql://user:canary@[::1/db",
        "canary",
    ],
)
def test_an_address_that_makes_no_sense_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(StoreSetupError) as caught:
        PostgresqlDatabase(url)
    told = caught.getrepr(style="long", chain=True)
    assert "canary" not in str(caught.value)
    assert "store.url" in str(told)


async def test_a_wrong_password_is_told_without_the_password(home: PostgresqlHome) -> None:
    database = PostgresqlDatabase(home.address.replace(PASSWORD, "canary-wrong"))
    with pytest.raises(StoreSetupError, match="password authentication failed") as caught:
        migrate.check(database)
    error: BaseException | None = caught.value
    while error is not None:
        assert "canary" not in f"{error!r} {error}"
        error = error.__cause__ or error.__context__
    assert "canary" not in f"{database!r} {database}"
    assert "\n" not in str(caught.value)


async def test_a_server_that_is_not_there_stops_the_start_soon(home: PostgresqlHome) -> None:
    began = time.monotonic()
    with pytest.raises(StoreSetupError, match="cannot be used"):
        await Store(PostgresqlDatabase("postgresql://a:b@127.0.0.1:1/c")).start()
    assert time.monotonic() - began < BOUND_SECONDS


def test_a_database_that_cannot_hold_every_text_is_refused(postgres: PostgresServer) -> None:
    postgres.ask(
        f"CREATE DATABASE latin OWNER {ROLE} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    )
    with pytest.raises(StoreSetupError, match="UTF8"):
        migrate.upgrade(PostgresqlDatabase(postgres.url("latin")))


# --- a server that goes away ----------------------------------------------------------------------


async def test_while_the_server_is_away_operations_fail_soon_and_afterwards_they_work(
    home: PostgresqlHome,
) -> None:
    ledger, store = home.ledger(), Store(home.database())
    await ledger.start()
    await store.start()
    await ledger.open(row())
    count = statement("SELECT count(*) FROM usage")
    assert await store.run(None, count) == [(1,)]
    home.server.stop()
    try:
        stopped = time.monotonic()
        refused = 0
        while time.monotonic() - stopped < DOWN_SECONDS:
            began = time.monotonic()
            results = await asyncio.gather(
                open_row(ledger, row("str_2")),
                settle_row(ledger, 1, "str_1", settlement()),
                report(ledger, "day"),
                store.run(ctx(), count),
                store.run(None, count, readonly=True),
                return_exceptions=True,
            )
            assert [type(result) for result in results] == [
                *[LedgerUnavailableError] * 3, *[StoreUnavailableError] * 2
            ]  # fmt: skip
            assert all(PASSWORD not in f"{r!r} {getattr(r, 'reason', '')}" for r in results)
            assert time.monotonic() - began < BOUND_SECONDS
            refused += 1
            await asyncio.sleep(0.25)
        assert refused > 1
    finally:
        home.server.start()
    assert await ledger.settle(1, "str_1", settlement(7)) == settlement(7)
    await ledger.open(row("str_2"))
    assert await store.run(None, count) == [(2,)]
    assert (await report(ledger, "day"))[0].prompt_tokens == 7
    await ledger.close()
    await store.close()


async def test_after_a_crash_the_first_operations_work_and_nothing_is_lost(
    home: PostgresqlHome,
) -> None:
    """Old connections are found to be dead before anything was done with them."""
    ledger, store = home.ledger(), Store(home.database())
    await ledger.start()
    await store.start()
    await asyncio.gather(*(settled(ledger, f"str_{n}") for n in range(20)))
    await asyncio.gather(*(store.run(None, changes.bump) for _ in range(20)))
    home.server.kill()
    home.server.start()
    assert (
        await asyncio.gather(
            *(settle_row(ledger, 1, f"str_{n}", settlement(99)) for n in range(20))
        )
        == [settlement()] * 20
    )
    counters = await asyncio.gather(*(store.run(None, changes.current) for _ in range(8)))
    assert counters == [20] * 8
    assert (await report(ledger, "day"))[0].streams == 20
    await ledger.close()
    await store.close()


async def test_a_server_that_hangs_is_given_up_and_used_again(home: PostgresqlHome) -> None:
    ledger = PostgresqlLedger(home.address, reply_seconds=0.5)
    store = Store(PostgresqlDatabase(home.address, reply_seconds=0.5))
    await ledger.start()
    await store.start()
    await ledger.open(row())
    count = statement("SELECT count(*) FROM usage")
    assert await store.run(None, count) == [(1,)]
    home.server.pause()
    try:
        began = time.monotonic()
        results = await asyncio.gather(
            open_row(ledger, row("str_2")), store.run(None, count), return_exceptions=True
        )
        assert time.monotonic() - began < BOUND_SECONDS
    finally:
        home.server.resume()
    assert [type(result) for result in results] == [LedgerUnavailableError, StoreUnavailableError]
    await ledger.open(row("str_3"))
    assert await store.run(None, statement("SELECT stream_id FROM usage ORDER BY 1 DESC LIMIT 1"))
    await ledger.close()
    await store.close()


async def test_a_row_that_another_keeps_locked_is_given_up(home: PostgresqlHome) -> None:
    store = Store(home.database())
    await store.start()
    with home.blocked():
        with pytest.raises(StoreUnavailableError) as caught:
            await store.run(None, statement("DELETE FROM usage"))
        assert "lock timeout" in str(caught.value.reason)
    assert await store.run(None, statement("DELETE FROM usage")) == 0
    await store.close()


async def test_groups_that_settle_the_same_rows_in_another_order_agree(
    home: PostgresqlHome,
) -> None:
    """The database lets one of two that wait for each other fail; nobody is told of it."""
    one, two = home.ledger(), home.ledger()
    await asyncio.gather(one.start(), two.start())
    names = [f"str_{n:03}" for n in range(200)]
    await asyncio.gather(*(one.open(row(name)) for name in names))
    for _ in range(3):
        told = await asyncio.gather(
            *(one.settle(1, name, settlement(1)) for name in names),
            *(two.settle(1, name, settlement(2)) for name in reversed(names)),
        )
        assert told[:200] == told[:199:-1]
        home.ask("UPDATE usage SET finished_at = null")
    await asyncio.gather(one.close(), two.close())
