"""The file: private, checked before use, its schema brought up to date."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from support.ledgers import report, row, settled, stored
from tellstream.storage import migrate
from tellstream.storage.base import StoreSetupError
from tellstream.storage.sqlite import SqliteDatabase, SqliteLedger
from tellstream.storage.tables import METADATA


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
    engine = SqliteDatabase(path).open()
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        assert context.get_current_revision() == migrate.NEWEST
    migrated = schema(engine)
    engine.dispose()
    fresh = sa.create_engine("sqlite://")
    METADATA.create_all(fresh)
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
