"""What a database brings along, so that the ledger can be written once for all of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa
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

    def open(self) -> sa.Engine:
        """Open it, its schema up to date; each statement commits by itself.

        Raises:
            StoreSetupError: that is not possible.
        """

    def insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """Begin an INSERT that can say what to do on conflict."""

    def rows(self, columns: Sequence[sa.Column[Any]]) -> Rows:
        """Express the parameter ``:rows`` as rows with these columns."""
