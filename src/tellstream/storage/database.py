"""What a database brings along, so that ledger and store can be written once for all of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, NamedTuple, Protocol

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql, sqlite


class Rows(NamedTuple):
    """Rows that travel as one parameter, ``:rows``, the JSON text of an array of arrays.

    So a statement is one text and one step of the database, however many rows it writes.

    Attributes:
        table: what to select them from.
        values: their members, in the order of the columns asked for.
    """

    table: sa.FromClause
    values: Sequence[sa.ColumnElement[Any]]


class Database(Protocol):
    """A database. All of its methods block."""

    @property
    def dialect(self) -> sa.Dialect:
        """What its SQL looks like."""

    def open(self, connections: int, *, system: bool) -> sa.Engine:
        """Open it, its schema up to date; outside of transactions, statements commit themselves.

        Args:
            connections: at most.
            system: statements outside of transactions may touch the rows of all tenants; else
                those of none, where the database enforces that.

        Raises:
            StoreSetupError: that is not possible.
        """

    def upgrade(self) -> None:
        """Bring the schema up to date.

        Raises:
            StoreSetupError: that is not possible.
        """

    def transaction(
        self, connection: sa.Connection, tenant: int | None, *, readonly: bool
    ) -> AbstractContextManager[None]:
        """Begin a transaction; it is committed at the end of the context, rolled back on errors.

        Args:
            connection: of an engine that ``open`` made, and not in a transaction.
            tenant: whose rows it may touch, where the database enforces that; None: everyone's.
            readonly: it sees one state of the database throughout; writing is an error.
        """

    def insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """Begin an INSERT that can say what to do on conflict."""

    def rows(self, columns: Sequence[sa.Column[Any]]) -> Rows:
        """Express the parameter ``:rows`` as rows with these columns."""


@contextmanager
def ended(connection: sa.Connection) -> Iterator[None]:
    """Commit the transaction that has begun on ``connection``; roll it back on errors."""
    try:
        yield
        connection.commit()
    except BaseException:
        try:
            connection.rollback()
        except exc.SQLAlchemyError:
            connection.invalidate()  # nobody knows what it is in; the first error is the one told
        raise


def upserted(
    connection: sa.Connection, table: sa.Table, key: Mapping[str, Any], values: Mapping[str, Any]
) -> sa.Insert:
    """Make the statement that stores a row, or ``values`` in the row that has its primary key.

    Args:
        connection: of the database that it is for.
        table: into which.
        key: the primary key, and what only a new row takes.
        values: the other columns.
    """
    insert = _INSERTS[connection.dialect.name](table).values({**key, **values})
    return insert.on_conflict_do_update(index_elements=table.primary_key.columns, set_=values)


_INSERTS: Final[dict[str, Callable[[sa.Table], sqlite.Insert | postgresql.Insert]]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}
