"""The store: everything kept in SQL except the usage rows, read and written in transactions.

Work on the store is a plain function of a connection. It runs in a thread, in one transaction, and
is bounded in number and in time. What a function says in SQL is in the files beside this one; this
one knows no table.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Final, TypeVar

import sqlalchemy as sa

from tellstream.core.principals import Ctx
from tellstream.storage import failures
from tellstream.storage.base import StoreUnavailableError
from tellstream.storage.database import Database
from tellstream.storage.outcome import Outcome, in_thread

THREADS: Final = 4
"""Transactions that run at once in one worker, each on a connection of its own. They are short:
four make some thousands a second, and ten workers take 40 connections of PostgreSQL's usual 100."""
MAX_WAITING: Final = 512
"""Transactions that run or wait for a thread; more are refused at once. A tenth of a second's
work."""
RUN_SECONDS: Final = 10.0
"""For which a caller waits: twice what a database gives one statement that writes."""

_Value = TypeVar("_Value")


class Store:
    """Transactions on a database.

    Args:
        database: which; a ledger may use it at the same time.
        run_seconds: for which a caller waits.
    """

    def __init__(self, database: Database, run_seconds: float = RUN_SECONDS) -> None:
        self._database = database
        self._run_seconds = run_seconds
        self._engine: sa.Engine | None = None
        self._threads = ThreadPoolExecutor(THREADS, "tellstream-store")
        self._waiting = 0

    async def start(self) -> None:
        """Open the database.

        Raises:
            StoreSetupError: it cannot be opened, or its schema is not that of this version.
        """
        self._engine = await in_thread(self._database.open, THREADS, system=False)

    async def close(self) -> None:
        """Finish what runs and close the database. May be called again."""
        engine, self._engine = self._engine, None  # from here on, work is refused
        await in_thread(self._threads.shutdown)
        if engine is not None:
            await in_thread(engine.dispose)

    async def run(
        self,
        ctx: Ctx | None,
        work: Callable[[sa.Connection], _Value],
        *,
        readonly: bool = False,
    ) -> _Value:
        """Run ``work`` in a thread, in one transaction: all of it happens, or nothing.

        An exception of ``work`` rolls the transaction back and reaches the caller. A caller that is
        cancelled gets its ``CancelledError`` when the transaction is over.

        Args:
            ctx: whose rows the transaction may touch, where the database enforces that; None: the
                server's own work, on the rows of all tenants.
            work: called with the connection, which it must not keep, commit or roll back; it may
                use savepoints. It blocks, and waits for nothing but the database.
            readonly: it only reads. Then it does not wait for those who write, and sees one state
                of the database throughout; writing is an error.

        Returns:
            What ``work`` returned.

        Raises:
            StoreUnavailableError: the database cannot be used now, or did not answer in
                time. It is not known whether a write happened.
            ServerError: ``server_error``, the database refused what ``work`` asked of it.
        """
        if self._engine is None:
            raise StoreUnavailableError("the store is not open")
        if self._waiting >= MAX_WAITING:
            raise StoreUnavailableError(f"{MAX_WAITING} transactions run or wait")
        loop = asyncio.get_running_loop()
        outcome: Outcome[_Value] = Outcome(loop=loop)
        tenant = None if ctx is None else ctx.tenant
        running = self._threads.submit(self._transact, self._engine, tenant, work, readonly)
        self._waiting += 1
        running.add_done_callback(
            lambda done: loop.call_soon_threadsafe(self._deliver, done, outcome)
        )
        late = loop.call_later(self._run_seconds, _give_up, running, outcome)
        try:
            return await outcome
        finally:
            late.cancel()

    def _deliver(self, done: "Future[_Value]", outcome: Outcome[_Value]) -> None:
        """Give a transaction's outcome to its caller, unless that has stopped waiting."""
        self._waiting -= 1
        try:
            error = done.exception()
        except CancelledError:  # it was given up before it began
            return
        if outcome.done():
            return
        if error is None:
            outcome.set_result(done.result())
        else:
            outcome.set_exception(error)

    # In a thread from here on.

    def _transact(
        self,
        engine: sa.Engine,
        tenant: int | None,
        work: Callable[[sa.Connection], _Value],
        readonly: bool,
    ) -> _Value:
        try:
            with (
                engine.connect() as connection,
                self._database.transaction(connection, tenant, readonly=readonly),
            ):
                return work(connection)
        except sa.exc.SQLAlchemyError as error:
            raise failures.translated(error, "store", StoreUnavailableError) from error


def _give_up(running: "Future[_Value]", outcome: Outcome[_Value]) -> None:
    """Tell a caller that it has waited long enough; what has not begun never will."""
    what = "did not begin" if running.cancel() else "is not over"
    if not outcome.done():
        outcome.set_exception(
            StoreUnavailableError(f"a transaction {what} after its caller has waited long enough")
        )
