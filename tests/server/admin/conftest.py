"""Administration over HTTP, on SQLite."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.administration import AdminServer, admin_server
from support.homes import SqliteHome
from tellstream.storage import migrate


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "tellstream.db"
    migrate.upgrade(SqliteHome(path).database())
    return path


@pytest.fixture
def home(tmp_path: Path, migrated_file: Path) -> SqliteHome:
    path = tmp_path / "tellstream.db"
    shutil.copy(migrated_file, path)
    return SqliteHome(path)


@pytest.fixture
async def admin(tmp_path: Path, home: SqliteHome) -> AsyncIterator[AdminServer]:
    async with admin_server(tmp_path, home.database()) as server:
        yield server
