"""Administration over every database there is."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.administration import AdminServer, admin_server
from support.homes import Home, PostgresqlHome, SqliteHome
from support.postgres import postgres_server
from tellstream.storage import migrate


@pytest.fixture(scope="session")
def postgresql_home() -> Iterator[PostgresqlHome]:
    with postgres_server() as server:
        home = PostgresqlHome(server, server.database())
        migrate.upgrade(home.database())
        yield home


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "tellstream.db"
    migrate.upgrade(SqliteHome(path).database())
    return path


@pytest.fixture
def sqlite_home(tmp_path: Path, migrated_file: Path) -> SqliteHome:
    path = tmp_path / "tellstream.db"
    shutil.copy(migrated_file, path)
    return SqliteHome(path)


@pytest.fixture(params=["sqlite_home", "postgresql_home"])
def home(request: pytest.FixtureRequest) -> Home:
    found: Home = request.getfixturevalue(request.param)
    if isinstance(found, PostgresqlHome):
        found.empty()
    return found


@pytest.fixture
async def admin(tmp_path: Path, home: Home) -> AsyncIterator[AdminServer]:
    """On both, where statements must do the same."""
    async with admin_server(tmp_path, home.database()) as server:
        yield server


@pytest.fixture
async def simple(tmp_path: Path, sqlite_home: SqliteHome) -> AsyncIterator[AdminServer]:
    """On SQLite, where the database makes no difference."""
    async with admin_server(tmp_path, sqlite_home.database()) as server:
        yield server
