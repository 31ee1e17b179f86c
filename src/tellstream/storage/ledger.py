"""The usage ledger over any SQL database: see ``base`` for what it guarantees.

Writes are grouped and done by one thread; reports are worked out in others.
"""

import asyncio
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import exc

from tellstream.core.errors import ServerError
from tellstream.core.principals import Ctx
from tellstream.storage import failures, reports, statements
from tellstream.storage.base import (
    By,
    LedgerUnavailableError,
    NotOpenedError,
    Position,
    Settlement,
    Totals,
    UsageRow,
)
from tellstream.storage.database import Database
from tellstream.storage.entries import Entry, joined, key_json, opening, settling, stored
from tellstream.storage.group_commit import GroupCommit
from tellstream.storage.outcome import in_thread

FEW: Final = 8
"""Streams that run: so many write their rows at once, more wait for each other for a moment."""
READERS: Final = 2
"""Reports that are worked out at once; a third waits."""
MAX_READS: Final = 64
"""Reports that are worked out or wait; more are refused."""
READ_SECONDS: Final = 10.0
"""For which a caller waits for a report."""


class SqlLedger:
    """The usage rows in an SQL database.

    Args:
        database: which.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._statements = statements.writes(database)
        self._engine: sa.Engine | None = None
        self._connection: sa.Connection | None = None  # of the writing thread
        self._group = GroupCommit(self._write, _translate, self._disconnect)
        self._readers = ThreadPoolExecutor(READERS, "tellstream-usage")
        self._reads = 0
        self._running = 0  # streams opened here and not settled, about

    async def start(self) -> None:
        """Open the database and start writing."""
        await in_thread(self._open)
        self._group.start()

    async def close(self) -> None:
        """Finish what is being written and close the database."""
        await self._group.close()
        await in_thread(self._close)

    def open(self, row: UsageRow) -> "asyncio.Future[None]":
        """Open the row of a stream, unless it is open already."""
        self._running += 1
        return self._group.submit(opening(row), at_once=self._running <= FEW)

    def settle(
        self, tenant: int, stream_id: str, settlement: Settlement, *, row: UsageRow | None = None
    ) -> "asyncio.Future[Settlement]":
        """Settle the row of a stream, unless it is settled already."""
        few = self._running <= FEW
        self._running = max(0, self._running - 1)
        return self._group.submit(settling(tenant, stream_id, settlement, row), at_once=few)

    async def unsettled(self, older_than: int, limit: int) -> list[UsageRow]:
        """Return rows that were opened long ago and not settled, oldest first."""
        rows = await self._read(None, statements.unsettled(older_than, limit))
        return [
            UsageRow(row.stream_id, row.tenant, row.subject, row.client, row.model, row.started_at)
            for row in rows
        ]

    async def totals(
        self,
        ctx: Ctx,
        from_day: date,
        to_day: date,
        by: By,
        cursor: Position | None,
        limit: int,
        without: Collection[str] = (),
    ) -> tuple[list[Totals], Position | None]:
        """Sum up the streams of the caller's tenant that finished in a range of days."""
        selected = reports.statement(ctx.tenant, from_day, to_day, by, cursor, without)
        rows = await self._read(ctx.tenant, selected.limit(limit + 1))
        return reports.page(by, rows, limit)

    async def _read(self, tenant: int | None, statement: sa.Select[Any]) -> list[sa.Row[Any]]:
        """Run a query in a reading thread, on the rows of a tenant or of all."""
        if self._engine is None:
            raise LedgerUnavailableError("the ledger is not open")
        if self._reads >= MAX_READS:
            raise LedgerUnavailableError(f"{MAX_READS} reports are being worked out")
        self._reads += 1
        loop = asyncio.get_running_loop()
        reading = loop.run_in_executor(self._readers, self._fetch, self._engine, tenant, statement)
        reading.add_done_callback(self._read_done)
        try:
            # Shielded, since the thread cannot be stopped: it counts until it is done.
            # Not wait_for: in Python 3.11 it can swallow a cancellation.
            async with asyncio.timeout(READ_SECONDS):
                return await asyncio.shield(reading)
        except TimeoutError as error:
            raise LedgerUnavailableError(f"a report takes over {READ_SECONDS:.0f} s") from error
        except exc.SQLAlchemyError as error:
            raise _translate(error) from error

    def _read_done(self, reading: "asyncio.Future[Any]") -> None:
        self._reads -= 1
        if not reading.cancelled():
            reading.exception()  # seen, should nobody wait any more

    # In threads from here on.

    def _open(self) -> None:
        # The thread that writes does so for all tenants, each statement by itself.
        self._engine = self._database.open(READERS + 1, system=True)

    def _close(self) -> None:
        engine, self._engine = self._engine, None  # from here on, reads are refused
        self._readers.shutdown()
        if engine is not None:
            engine.dispose()

    def _fetch(
        self, engine: sa.Engine, tenant: int | None, statement: sa.Select[Any]
    ) -> list[sa.Row[Any]]:
        with (
            engine.connect() as connection,
            self._database.transaction(connection, tenant, readonly=True),
        ):
            return list(connection.execute(statement))

    def _write(self, entries: list[Entry]) -> list[Settlement | ServerError | None]:
        """Write a group, again if the connection turns out to be lost since the last one.

        Nothing happens twice: a row that is open or settled stays as it is.
        """
        connected = self._connection is not None
        try:
            return self._write_once(entries)
        except exc.DBAPIError as error:
            if not (connected and failures.is_lost(error)):
                raise
        return self._write_once(entries)

    def _write_once(self, entries: list[Entry]) -> list[Settlement | ServerError | None]:
        """Write a group: first all openings in one statement, then all settlements in another."""
        openings = {e.key: e.opened for e in entries if e.opened is not None}
        # Of several settlements of a row the first one counts, so it must be the one that is left.
        settlements = {e.key: e.settled for e in reversed(entries) if e.settled is not None}
        settlers = sum(entry.settled is not None for entry in entries)
        try:
            connection = self._connect()
            if openings:
                self._run(connection, self._statements.open, openings.values())
            if settlements:
                settled = self._run(connection, self._statements.settle, settlements.values())
                if settled != settlers:  # somebody was first: tell what is stored
                    return self._read_back(connection, entries)
        except BaseException:
            self._disconnect()  # the next group gets a connection without a past
            raise
        return [entry.settlement for entry in entries]

    def _run(self, connection: sa.Connection, statement: str, rows: Iterable[bytes]) -> int:
        """Run a statement; returns how many rows it wrote."""
        json = joined(rows)
        named = not connection.dialect.positional
        return connection.exec_driver_sql(statement, {"rows": json} if named else (json,)).rowcount

    def _read_back(
        self, connection: sa.Connection, entries: list[Entry]
    ) -> list[Settlement | ServerError | None]:
        keys = {entry.key for entry in entries if entry.settled is not None}
        given = {"rows": joined(map(key_json, keys))}
        rows = connection.execute(self._statements.read_back, given)
        found = {(tenant, stream_id): stored(columns) for tenant, stream_id, *columns in rows}
        return [
            None
            if entry.settled is None
            else found.get(entry.key) or NotOpenedError(entry.stream_id)
            for entry in entries
        ]

    def _connect(self) -> sa.Connection:
        if self._connection is None:
            assert self._engine is not None, "the thread starts after the database was opened"
            self._connection = self._engine.connect()
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _translate(error: Exception) -> ServerError:
    """Tell a database that cannot be used now from one that refuses a row, and from a bug."""
    if failures.is_deadlock(error):  # which rows that are written one by one cannot have
        return ServerError("server_error", reason="usage ledger: deadlock")
    return failures.translated(error, "usage ledger", LedgerUnavailableError)
