"""Ledger and store in a PostgreSQL database, which any number of machines share.

Everything that only PostgreSQL understands is here, in ``postgresql_connection`` and in
``row_security``. A row is readable only in a transaction of its tenant or of the server itself:
see ``row_security``. The schema is not changed at the start, when workers of the former version may
still run, but by ``tellstream admin migrate``.

Sessions keep settings: a pool between server and database (PgBouncer) must pool sessions, not
transactions.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from psycopg.pq import TransactionStatus
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql

from tellstream.storage import row_security
from tellstream.storage.base import StoreSetupError
from tellstream.storage.database import Rows, ended
from tellstream.storage.ledger import SqlLedger
from tellstream.storage.migrate import migrate, require_newest
from tellstream.storage.postgresql_connection import (
    LIMITS,
    PARAMETERS,
    READING_SECONDS,
    REPLY_SECONDS,
    BoundedConnection,
)

OLDEST: Final = 13_00_00
"""The first version that this is meant for: the oldest one that is not long out of support."""
MIGRATING: Final = 0x74_65_6C_6C
"""The number of the advisory lock under which the schema is changed."""


class PostgresqlLedger(SqlLedger):
    """The usage rows in a PostgreSQL database.

    Args:
        url: see ``PostgresqlDatabase``.
        reply_seconds: the same.
    """

    def __init__(self, url: str, reply_seconds: float = REPLY_SECONDS) -> None:
        super().__init__(PostgresqlDatabase(url, reply_seconds))


class PostgresqlDatabase:
    """A PostgreSQL database.

    Args:
        url: ``postgresql://user:password@host:port/database?parameters``; the parameters are those
            of libpq, such as ``sslmode``.
        reply_seconds: for which a server may say nothing.

    Raises:
        StoreSetupError: the address cannot be understood.
    """

    def __init__(self, url: str, reply_seconds: float = REPLY_SECONDS) -> None:
        self._reply_seconds = reply_seconds
        try:
            self._url = sa.make_url(url).set(drivername="postgresql+psycopg")
        except (exc.ArgumentError, ValueError):  # their texts may quote it, with the password
            raise StoreSetupError(
                "store.url: is not an address like postgresql://user:password@host/database"
            ) from None
        self.dialect: sa.Dialect = self._url.get_dialect()()

    def __repr__(self) -> str:
        return f"PostgresqlDatabase({self._name!r})"

    def open(self, connections: int, *, system: bool) -> sa.Engine:
        """Open the database; outside of transactions, each statement commits by itself.

        Args:
            connections: at most.
            system: statements outside of transactions may touch the rows of all tenants, else
                those of none.

        Raises:
            StoreSetupError: it cannot be reached, or its schema is not that of this version.
        """
        with self._setting_up() as connection:
            require_newest(connection)
        said = (LIMITS, row_security.STEP_DOWN, row_security.session(system=system))
        engine = self._engine(said, pool_size=connections, max_overflow=0, pool_timeout=1)
        try:
            with self._explained(), engine.connect() as connection:
                row_security.require_enforced(connection)
        except BaseException:
            engine.dispose()
            raise
        return engine

    def upgrade(self) -> None:
        """Bring the schema up to date, and let those who step down use it.

        Raises:
            StoreSetupError: that is not possible.
        """
        with self._setting_up() as connection:
            migrate(connection, self._exclusive(connection))
            with self._exclusive(connection):
                row_security.grant(connection)

    @contextmanager
    def transaction(
        self, connection: sa.Connection, tenant: int | None, *, readonly: bool
    ) -> Iterator[None]:
        """Begin a transaction that sees the rows of one tenant, or of all."""
        begin = f"BEGIN; SET LOCAL {row_security.setting(tenant)}"
        if readonly:
            begin = (
                f"BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; "
                f"SET LOCAL {row_security.setting(tenant)}; "
                f"SET LOCAL statement_timeout = {READING_SECONDS * 1000}"
            )
        try:
            connection.exec_driver_sql(begin)
        except exc.DBAPIError as error:
            if not error.connection_invalidated:
                raise
            # The server was restarted since this connection was last used. Nothing has happened
            # yet, so it may be tried on a new one.
            connection.rollback()
            connection.exec_driver_sql(begin)
        with ended(connection):
            yield
            if _driver(connection).info.transaction_status == TransactionStatus.INERROR:
                # Else the commit would roll back, and say nothing.
                raise RuntimeError("a statement failed, and the transaction went on regardless")

    def insert(self, table: sa.Table) -> postgresql.Insert:
        """Begin an INSERT that can say what to do on conflict."""
        return postgresql.insert(table)

    def rows(self, columns: Sequence[sa.Column[Any]]) -> Rows:
        """Express the parameter ``:rows`` as rows with these columns."""
        given = sa.cast(sa.bindparam("rows", type_=sa.Text), sa.JSON)
        table = sa.func.json_array_elements(given).table_valued("value")
        values = [
            sa.cast(table.c.value.op("->>")(sa.literal_column(str(index))), column.type)
            for index, column in enumerate(columns)
        ]
        return Rows(table, values)

    @property
    def _name(self) -> str:
        """What may be said of the address: neither the password nor the parameters."""
        return self._url.set(drivername="postgresql", query={}).render_as_string()

    def _engine(self, said: Sequence[str], **pool: Any) -> sa.Engine:
        """Make an engine that says something first on each new connection."""
        engine = sa.create_engine(
            self._url,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,  # else an error's text holds other callers' rows
            **pool,
        )

        @sa.event.listens_for(engine, "do_connect")
        def connect(
            _dialect: object, _record: object, given: list[Any], named: dict[str, Any]
        ) -> BoundedConnection:
            connection = BoundedConnection.connect(*given, **(PARAMETERS | named), autocommit=True)
            connection.reply_seconds = self._reply_seconds
            try:
                for text in said:
                    connection.execute(text.encode()).close()
            except BaseException:
                connection.close()
                raise
            return connection

        return engine

    @contextmanager
    def _setting_up(self) -> Iterator[sa.Connection]:
        """Connect for looking at the schema or changing it, which takes as long as it takes."""
        engine = self._engine((row_security.session(system=True),), poolclass=sa.NullPool)
        try:
            with self._explained(), engine.connect() as connection:
                _check_server(connection)
                yield connection
        finally:
            engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Make an error of the database one about the set-up."""
        try:
            yield
        except StoreSetupError as error:
            raise StoreSetupError(f"{self._name}: {error}") from error
        except exc.SQLAlchemyError as error:
            reason = error.orig if isinstance(error, exc.DBAPIError) else error
            line = " ".join(str(reason).split())
            raise StoreSetupError(f"{self._name}: cannot be used: {line}") from error

    @contextmanager
    def _exclusive(self, connection: sa.Connection) -> Iterator[None]:
        """Be the only one to change the schema, in a transaction."""
        with self.transaction(connection, None, readonly=False):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATING})")
            yield


def _driver(connection: sa.Connection) -> psycopg.Connection[Any]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


def _check_server(connection: sa.Connection) -> None:
    """See that the server can do what is asked of it.

    Raises:
        StoreSetupError: it cannot.
    """
    info = _driver(connection).info
    if info.server_version < OLDEST:
        raise StoreSetupError(f"PostgreSQL is too old: {info.server_version // 10_000}")
    encoding = info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreSetupError(f"the database must be encoded in UTF8, not in {encoding}")
