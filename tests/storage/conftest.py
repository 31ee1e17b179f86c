"""The databases that the tests run on: one row each."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.homes import Home, PostgresqlHome, SqliteHome
from support.postgres import PostgresServer, postgres_server
from tellstream.storage import migrate
from tellstream.storage.ledger import SqlLedger
from tellstream.storage.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "tellstream.db"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests that do it no harm."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def migrated(postgres: PostgresServer) -> PostgresqlHome:
    """A database whose schema is up to date."""
    home = PostgresqlHome(postgres, postgres.database())
    migrate.upgrade(home.database())
    return home


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose schema is up to date."""
    path = tmp_path_factory.mktemp("migrated") / "tellstream.db"
    migrate.upgrade(SqliteHome(path).database())
    return path


@pytest.fixture
def sqlite_home(path: Path, migrated_file: Path) -> SqliteHome:
    path.parent.mkdir(mode=0o700)
    shutil.copy(migrated_file, path)
    return SqliteHome(path)


@pytest.fixture
def postgresql_home(migrated: PostgresqlHome) -> PostgresqlHome:
    migrated.empty()
    return migrated


HOMES = ("sqlite_home", "postgresql_home")


@pytest.fixture(params=HOMES)
def home(request: pytest.FixtureRequest) -> Home:
    """Where nothing is kept yet."""
    found: Home = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def ledger(home: Home) -> AsyncIterator[SqlLedger]:
    ledger = home.ledger()
    await ledger.start()
    yield ledger
    await ledger.close()


@pytest.fixture
async def store(home: Home) -> AsyncIterator[Store]:
    store = Store(home.database())
    await store.start()
    yield store
    await store.close()
