"""The file: private, checked before use, its schema brought up to date."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from support.homes import all_tables, migrated_to
from support.ledger_calls import open_row
from support.ledgers import NOON, report, row, settled, stored
from tellstream.storage import changes, migrate, reports
from tellstream.storage.base import LedgerUnavailableError, Position, StoreSetupError
from tellstream.storage.ledger import SqlLedger
from tellstream.storage.sqlite import SqliteDatabase, SqliteLedger
from tellstream.storage.store import Store


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[SqlLedger]:
    ledger = SqliteLedger(path)
    await ledger.start()
    yield ledger
    await ledger.close()


async def refused(path: Path) -> str:
    """Start on a file that cannot be used; says why."""
    ledger = SqliteLedger(path)
    with pytest.raises(StoreSetupError) as caught:
        await ledger.start()
    await ledger.close()
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


def written(path: Path, content: bytes = b"", permissions: int = 0o600) -> None:
    """Put a file in the database's place."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    path.chmod(permissions)


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_the_file_and_what_is_beside_it_are_only_the_owners(path: Path) -> None:
    umask = os.umask(0)
    try:
        ledger = SqliteLedger(path)
        await ledger.start()
        await ledger.open(row())
        beside = sorted(path.parent.iterdir())
        assert [file.name for file in beside] == [
            "tellstream.db", "tellstream.db-shm", "tellstream.db-wal",
        ]  # fmt: skip
        assert {mode(file) for file in beside} == {0o600}
        assert mode(path.parent) == 0o700
        await ledger.close()
    finally:
        os.umask(umask)


async def test_the_log_is_folded_into_the_file_when_it_is_closed(path: Path) -> None:
    ledger = SqliteLedger(path)
    await ledger.start()
    await ledger.open(row())
    await ledger.close()
    assert [file.name for file in path.parent.iterdir()] == ["tellstream.db"]


async def test_a_file_of_an_earlier_run_is_used_on(path: Path) -> None:
    for number in range(3):
        ledger = SqliteLedger(path)
        await ledger.start()
        await settled(ledger, f"str_{number}")
        await ledger.close()
    ledger = SqliteLedger(path)
    await ledger.start()
    assert (await report(ledger, "day"))[0].streams == 3
    await ledger.close()


async def test_a_file_of_the_first_version_is_brought_up_to_date(path: Path) -> None:
    migrated_to(SqliteDatabase(path), "0001")
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(
        "INSERT INTO usage VALUES (1, 's', 'ann', 'web', 'small', 1, 'xai', 'grok', "
        f"{NOON}, 'Stop', 7, 1, null, null, null, false, null)"
    )
    connection.close()
    ledger = SqliteLedger(path)
    await ledger.start()
    (day,) = await report(ledger, "day")
    assert (day.prompt_tokens, day.first_token) == (7, None)
    await ledger.close()
    store = Store(SqliteDatabase(path))
    await store.start()
    assert await store.run(None, changes.current, readonly=True) == 0
    await store.close()


async def test_a_path_with_strange_characters_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / "100% of?what#is=:memory:" / "tellstream.db"
    ledger = SqliteLedger(path)
    await ledger.start()
    await ledger.open(row())
    await ledger.close()
    assert len(stored(path)) == 1


async def test_a_file_that_others_may_read_is_refused(path: Path) -> None:
    written(path, permissions=0o644)
    assert "chmod 600" in await refused(path)
    assert content_of(path) == b""


async def test_a_pipe_in_the_files_place_is_refused(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path, 0o600)
    assert "regular file" in await refused(path)


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    await refused(tmp_path / "file" / "tellstream.db")


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    written(path, b"not a database, but something else" * 100)
    assert "not a database" in await refused(path)
    assert content_of(path).startswith(b"not a database")


async def test_a_damaged_file_is_refused(path: Path) -> None:
    ledger = SqliteLedger(path)
    await ledger.start()
    await ledger.close()
    content = bytearray(content_of(path))
    content[100:4096] = os.urandom(3996)  # the first page after its header: the schema
    written(path, bytes(content))
    await refused(path)


async def test_a_foreign_database_is_refused_and_left_alone(path: Path) -> None:
    written(path)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE usage (mine)")
    connection.close()
    assert "already exists" in await refused(path)
    assert stored(path) == []
    connection = sqlite3.connect(path)
    tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    assert tables == [("usage",)]  # nothing half done


async def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    ledger = SqliteLedger(path)
    await ledger.start()
    await ledger.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    assert "newer version of tellstream" in await refused(path)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    connection.close()


def test_the_migrations_lead_to_the_tables(path: Path) -> None:
    engine = SqliteDatabase(path).open(1, system=True)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, all_tables()) == []
        assert context.get_current_revision() == migrate.NEWEST
    migrated = schema(engine)
    engine.dispose()
    fresh = sa.create_engine("sqlite://")
    all_tables().create_all(fresh)
    # Reflection does not see everything, such as the conditions of indexes; the text does.
    assert {name: text for name, text in migrated.items() if name != "alembic_version"} == schema(
        fresh
    )
    fresh.dispose()


def schema(engine: sa.Engine) -> dict[str, str]:
    with engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
        )
        return {name: " ".join(sql.split()) for name, sql in found}


def test_the_newest_revision_is_the_head_of_the_scripts() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate._SCRIPTS))
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.NEWEST]


async def test_a_file_that_stays_locked_makes_it_unavailable_until_it_is_free(path: Path) -> None:
    ledger = SqliteLedger(path, busy_seconds=0.05)
    await ledger.start()
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailableError) as caught:
        await ledger.open(row())
    assert caught.value.reason == "database is locked"
    assert await report(ledger, "day") == []  # reading goes on
    blocker.execute("ROLLBACK")
    blocker.close()
    await ledger.open(row())
    assert len(stored(path)) == 1
    await ledger.close()


async def test_a_broken_table_makes_it_unavailable_and_it_recovers(
    ledger: SqlLedger, path: Path
) -> None:
    """Every caller of the group is told, with an error of its own."""
    other = sqlite3.connect(path)
    other.execute("ALTER TABLE usage RENAME TO away")
    opening = [open_row(ledger, row(f"str_{n}")) for n in range(3)]
    errors = await asyncio.gather(*opening, return_exceptions=True)
    assert [type(error) for error in errors] == [LedgerUnavailableError] * 3
    assert len(set(map(id, errors))) == 3
    with pytest.raises(LedgerUnavailableError):
        await report(ledger, "day")
    other.execute("ALTER TABLE away RENAME TO usage")
    other.close()
    await ledger.open(row())
    assert len(stored(path)) == 1


async def test_a_report_by_stream_is_read_from_the_index(ledger: SqlLedger) -> None:
    """What a page costs must not grow with the table."""
    assert ledger._engine is not None
    statement = reports.statement(1, date.min, date.max, "stream", Position("a", NOON))
    text = statement.limit(10).compile(ledger._engine, compile_kwargs={"literal_binds": True})
    with ledger._engine.connect() as connection:
        plan = [step[3] for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
    assert plan[0].startswith("SEARCH usage USING INDEX usage_finished (tenant=?")
    assert not any("TEMP B-TREE" in step for step in plan)


def test_opening_the_file_again_gives_up_no_lock(tmp_path: Path) -> None:
    """Else the last connection of another process deletes the log that these two still write."""
    path = tmp_path / "tellstream.db"
    first = SqliteDatabase(path).open(1, system=True)
    second = SqliteDatabase(path).open(1, system=True)
    log = path.with_name("tellstream.db-wal")
    before = log.stat().st_ino
    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT 1 FROM usage')"
    )
    subprocess.run([sys.executable, "-c", f"{script}; c.close()", str(path)], check=True)
    assert log.stat().st_ino == before
    first.dispose()
    second.dispose()
