"""The databases that ledger and store are tested on: one class each, alike to the tests."""

import pkgutil
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from support.postgres import PostgresServer
from tellstream import storage
from tellstream.storage import migrate
from tellstream.storage.database import Database
from tellstream.storage.ledger import SqlLedger
from tellstream.storage.postgresql import PostgresqlDatabase, PostgresqlLedger
from tellstream.storage.sqlite import SqliteDatabase, SqliteLedger
from tellstream.storage.tables import METADATA


class Home(Protocol):
    """Where rows are kept."""

    @property
    def address(self) -> str:
        """Where it is, for another process: see ``processes_worker``."""

    def database(self) -> Database:
        """The database, as the product uses it."""

    def ledger(self) -> SqlLedger:
        """Another ledger on it."""

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Execute a statement past the product, on all rows there are."""

    def stored(self, columns: str = "*") -> list[tuple[Any, ...]]:
        """Look at the usage rows."""

    def blocked(self) -> AbstractContextManager[None]:
        """Let nobody else write usage rows meanwhile."""

    def refuse(self, subject: str) -> None:
        """Let the database refuse the rows of a subject."""


class SqliteHome:
    """A file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def address(self) -> str:
        return f"sqlite:{self.path}"

    def database(self) -> Database:
        return SqliteDatabase(self.path)

    def ledger(self) -> SqlLedger:
        return SqliteLedger(self.path)

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.path, isolation_level=None)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def stored(self, columns: str = "*") -> list[tuple[Any, ...]]:
        return self.ask(f"SELECT {columns} FROM usage ORDER BY 1")

    @contextmanager
    def blocked(self) -> Iterator[None]:
        blocker = sqlite3.connect(self.path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            blocker.execute("ROLLBACK")
            blocker.close()

    def refuse(self, subject: str) -> None:
        self.ask(
            f"CREATE TRIGGER refuse BEFORE INSERT ON usage WHEN new.subject = '{subject}' "
            "BEGIN SELECT raise(ABORT, 'no'); END"
        )


class PostgresqlHome:
    """A database of a server."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server = server
        self.name = name

    @property
    def address(self) -> str:
        return self.server.url(self.name)

    def database(self) -> Database:
        return PostgresqlDatabase(self.address)

    def ledger(self) -> SqlLedger:
        return PostgresqlLedger(self.address)

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        return self.server.ask(statement, self.name)

    def stored(self, columns: str = "*") -> list[tuple[Any, ...]]:
        return self.ask(f"SELECT {columns} FROM usage ORDER BY 1")

    @contextmanager
    def blocked(self) -> Iterator[None]:
        with psycopg.connect(self.server.url(self.name, "postgres")) as blocker:
            blocker.execute("LOCK TABLE usage IN EXCLUSIVE MODE")
            yield

    def refuse(self, subject: str) -> None:
        self.ask(f"ALTER TABLE usage ADD CONSTRAINT refuse CHECK (subject <> '{subject}')")

    def empty(self) -> None:
        """Leave the tables as the migrations made them."""
        kept = ("alembic_version", "changes")
        names = ", ".join(name for name in all_tables().tables if name not in kept)
        self.ask(
            f"TRUNCATE {names} RESTART IDENTITY; UPDATE changes SET counter = 0; "
            "ALTER TABLE usage DROP CONSTRAINT IF EXISTS refuse"
        )


def all_tables() -> sa.MetaData:
    """The tables of the product, those of all files."""
    for module in pkgutil.iter_modules(storage.__path__):
        if module.name.startswith("tables"):
            import_module(f"tellstream.storage.{module.name}")
    return METADATA


def migrated_to(database: Database, revision: str) -> None:
    """Make an empty database as it was at a revision."""
    if isinstance(database, PostgresqlDatabase):
        url = database._url
    else:
        assert isinstance(database, SqliteDatabase)
        database._make_private()
        url = sa.URL.create("sqlite", database=str(database._path))
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(migrate._SCRIPTS))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()
