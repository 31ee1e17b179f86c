"""Ledger and store in an SQLite file, which the processes of one machine share.

Everything that only SQLite understands is here.

The file is in WAL mode with ``synchronous=NORMAL``: what was written survives the death of the
process, also by ``kill -9``, and a power cut never damages the file, but may cost what the system
had not yet written to the disk by itself or for a checkpoint: usually the last seconds. ``FULL``
would keep those too, for one flush of the disk per group of writes: on a fast virtual disk that is
3.7 ms instead of 0.5 before each provider call, and 17 instead of 5 at 1,000 streams a second.
"""

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import sqlite

from tellstream.storage.base import StoreSetupError
from tellstream.storage.database import Rows, ended
from tellstream.storage.ledger import SqlLedger
from tellstream.storage.migrate import migrate

BUSY_SECONDS: Final = 5.0
"""For which a statement waits for the process that writes at the moment."""
RETRY_SECONDS: Final = 0.02
"""Between two tries to switch the journal mode."""
OLDEST: Final = (3, 33)
"""The first version with UPDATE ... FROM; from 2020."""


_MAKING: Final = threading.Lock()
"""No thread may connect to a file that another one has just made and not closed yet."""


class SqliteLedger(SqlLedger):
    """The usage rows in an SQLite file.

    Args:
        path: the file; made, with its folder, if there is none. Mode 0600.
        busy_seconds: for which a write waits for that of another process.
    """

    def __init__(self, path: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        super().__init__(SqliteDatabase(path, busy_seconds))


class SqliteDatabase:
    """An SQLite file.

    Args:
        path: where.
        busy_seconds: see ``SqliteLedger``.
    """

    def __init__(self, path: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        self._path = path
        self._busy = busy_seconds
        self.dialect: sa.Dialect = sqlite.dialect()

    def open(self, connections: int, *, system: bool) -> sa.Engine:
        """Open the file, its schema up to date; outside of transactions, statements commit.

        Args:
            connections: at most.
            system: without a meaning here: whoever can open the file can read all of it.

        Raises:
            StoreSetupError: that is not possible.
        """
        del system
        if sqlite3.sqlite_version_info < OLDEST:
            raise StoreSetupError(f"SQLite is too old: {sqlite3.sqlite_version}")
        self._make_private()
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(self._path)),
            isolation_level="AUTOCOMMIT",
            connect_args={"timeout": self._busy},
            pool_size=connections,
            max_overflow=0,
            hide_parameters=True,  # else an error's text holds other callers' rows
        )
        sa.event.listen(engine, "connect", self._set_up)
        try:
            with engine.connect() as connection:
                migrate(connection, self.transaction(connection, None, readonly=False))
        except StoreSetupError as error:
            engine.dispose()
            raise StoreSetupError(f"{self._path}: {error}") from error
        except exc.SQLAlchemyError as error:
            engine.dispose()
            reason = error.orig if isinstance(error, exc.DBAPIError) else error
            raise StoreSetupError(f"{self._path}: cannot be used: {reason}") from error
        return engine

    def upgrade(self) -> None:
        """Bring the schema up to date, as ``open`` does, too.

        Raises:
            StoreSetupError: that is not possible.
        """
        self.open(1, system=True).dispose()

    @contextmanager
    def transaction(
        self, connection: sa.Connection, tenant: int | None, *, readonly: bool
    ) -> Iterator[None]:
        """Begin a transaction; one that writes waits for that of another process first."""
        del tenant  # rows have no guard here: statements name their tenant
        try:
            if readonly:
                connection.exec_driver_sql("PRAGMA query_only = ON")
            # A transaction that began to read cannot always go on to write: another wrote first.
            connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")
            with ended(connection):
                yield
        finally:
            if readonly:
                connection.exec_driver_sql("PRAGMA query_only = OFF")

    def insert(self, table: sa.Table) -> sqlite.Insert:
        """Begin an INSERT that can say what to do on conflict."""
        return sqlite.insert(table)

    def rows(self, columns: Sequence[sa.Column[Any]]) -> Rows:
        """Express the parameter ``:rows`` as rows with these columns."""
        table = sa.func.json_each(sa.bindparam("rows", type_=sa.Text)).table_valued("value")
        values = [
            sa.func.json_extract(table.c.value, sa.literal_column(f"'$[{index}]'"))
            for index in range(len(columns))
        ]
        return Rows(table, values)

    def _make_private(self) -> None:
        """See that there is a file, and that it is only its owner's.

        A file that exists is looked at but not opened: closing it would give up the locks of this
        process's other connections to it (POSIX, fcntl), and another process that then takes itself
        for the last user would delete the write-ahead log under them.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _MAKING:
                if not self._path.exists():
                    self._make()
            status = self._path.stat()
        except OSError as error:
            raise StoreSetupError(f"{self._path}: cannot be opened: {error.strerror}") from error
        if not stat.S_ISREG(status.st_mode):
            raise StoreSetupError(f"{self._path}: is not a regular file")
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise StoreSetupError(
                f"{self._path}: mode {mode:04o} lets other users in; chmod 600 it"
            )

    def _make(self) -> None:
        with suppress(FileExistsError):  # another process was faster
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))

    def _set_up(self, connection: sqlite3.Connection, _record: object) -> None:
        """Prepare a new connection."""
        give_up_at = time.monotonic() + self._busy
        while True:
            try:
                # Kept in the file. While another process switches, this fails without waiting.
                connection.execute("PRAGMA journal_mode = WAL").close()
                break
            except sqlite3.OperationalError:
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(RETRY_SECONDS)
        connection.execute("PRAGMA synchronous = NORMAL").close()
