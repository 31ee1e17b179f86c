"""The file of the SQLite event log: private, for one process, and with the tables we know.

What is refused here is refused at the start, in one line that says what to do; the file itself is
never repaired or replaced.
"""

import fcntl
import os
import sqlite3
import stat
from pathlib import Path
from typing import Final

from tellstream.eventlog.base import LogSetupError

BUSY_SECONDS: Final = 5.0
"""For which a transaction waits for a lock, which only a tool such as a backup can hold."""
STATEMENTS: Final = 192
"""Kept compiled: an insert for each number of rows, and all others."""
WAL_BYTES: Final = 64 * 1024 * 1024
"""To which the write-ahead log is cut after a burst; it is usually emptied at 4 MiB."""
SCHEMA_VERSION: Final = 1
APPLICATION_ID: Final = 0x54_6C_73_6D
"""Marks the file as ours, so that another program's database is not written to."""

# One counter, the place, numbers the streams and the rows of ``frames``: a stream takes the next
# place when it is created, so all its rows are behind it. Rows are in the order of their arrival
# and not indexed by stream: an append then touches the one page at the end of the table, however
# many streams there are (with 500 streams, a key by stream costs five times as much CPU, and writes
# a page for each append). Where the rows of a stream are is known in memory while it runs, and is
# written down in ``streams.places`` when it ends.
SCHEMA: Final = (
    """
    CREATE TABLE streams (
        id       INTEGER PRIMARY KEY,
        tenant   INTEGER NOT NULL,
        stream   TEXT NOT NULL,
        epoch    INTEGER NOT NULL,
        ended_at REAL,                        -- Unix seconds; NULL while it runs
        head     INTEGER,                     -- NULL while it runs
        dropped  INTEGER NOT NULL DEFAULT 0,  -- 1: a tombstone, the frames are gone
        name     TEXT,                        -- the idempotency name, and
        body     TEXT,                        -- the digest of the body it stands for
        record   BLOB NOT NULL,
        places   BLOB,                        -- NULL while it runs, and in a tombstone
        UNIQUE (tenant, stream)
    )
    """,
    "CREATE UNIQUE INDEX streams_name ON streams (tenant, name) WHERE name IS NOT NULL",
    "CREATE INDEX streams_ended ON streams (dropped, ended_at)",
    "CREATE INDEX streams_kept ON streams (id) WHERE dropped = 0",
    """
    CREATE TABLE frames (
        place  INTEGER PRIMARY KEY,
        stream INTEGER NOT NULL,  -- streams.id
        first  INTEGER NOT NULL,  -- sequence number of the first frame
        count  INTEGER NOT NULL,
        data   BLOB NOT NULL      -- the frames, joined
    )
    """,
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


class FileLock:
    """The right of one process to use a file, until ``release`` or the process's end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Lock the file, and create it and its folder if they are missing.

        Raises:
            LogSetupError: another process has it, or it is not a private file.
        """
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A file of its own: SQLite locks parts of the real one.
            lock = self._path.with_name(self._path.name + ".lock")
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                self._lock(descriptor)
                _make_private(self._path)
            except BaseException:
                os.close(descriptor)
                raise
        except OSError as error:
            raise LogSetupError(f"event log {self._path}: {error.strerror}") from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Let another process have the file. May be called again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            raise LogSetupError(
                f"event log {self._path} is in use by process {holder}: stop that process, or let "
                "several share a log in Redis (eventlog.url = redis://...)"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection, for one thread at a time.

    What is committed survives the death of the process: it is in the system's page cache. Only a
    power cut or a crash of the system can take the newest commits, those since the write-ahead log
    was last moved into the database, and then always the last ones (synchronous = NORMAL).

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    connection = sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENTS,
    )
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create the tables in a new file; check that any other is ours.

    Raises:
        LogSetupError: it is not.
        sqlite3.Error: it is damaged, or cannot be read.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    new = (application, version, objects) == (0, 0, 0)
    if not new and application != APPLICATION_ID:
        raise LogSetupError(
            f"event log {path} is another program's database: name another file, or move it away"
        )
    if version > SCHEMA_VERSION:
        raise LogSetupError(
            f"event log {path} was written by a newer version (schema {version}, known is "
            f"{SCHEMA_VERSION}): run that version, or move the file away to begin an empty log"
        )
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise LogSetupError(
            f"event log {path}: this file system does not support write-ahead logging; keep "
            "data_dir on a local disk"
        )
    if new:
        connection.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA:
            connection.execute(statement)
        connection.execute("COMMIT")


def setup_error(path: Path, error: Exception) -> LogSetupError:
    """Say in one line what an error at the start means: SQLite's, or of values that cannot be."""
    if isinstance(error, sqlite3.OperationalError):  # of the system, not of the content
        return LogSetupError(f"event log {path} cannot be used: {error}")
    return LogSetupError(
        f"event log {path} is damaged ({error}): restore it, or move it away to begin an empty log"
    )


def _make_private(path: Path) -> None:
    # SQLite gives the files beside it the same mode. Non-blocking: a pipe must not hang the start.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o600)
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise LogSetupError(f"event log {path} is not a regular file")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise LogSetupError(f"event log {path}: mode {mode:04o} lets other users in; chmod 600 it")
