"""One transaction of the authorization server: its connection, its time, and what it caused.

Work is a plain function of a ``Transaction``, so that it reads from top to bottom; ``run`` does it
in the store. An exception that leaves it undoes it: a refusal that has effects, such as that of a
stolen token, is an answer and not an exception by then.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol, TypeAlias, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite

from tellstream.core.principals import Ctx

log = structlog.get_logger("tellstream.auth")

T = TypeVar("T")


class Store(Protocol):
    """Where the rows are."""

    async def run(self, ctx: Ctx | None, work: Callable[[sa.Connection], T]) -> T:
        """Do ``work`` in one transaction, in a thread.

        Raises:
            ServerError: ``service_unavailable``, the store cannot be reached.
        """
        ...


class AuthEvent(NamedTuple):
    """Something that an auditor wants to know. It holds no secret.

    Attributes:
        name: what happened, ``<thing>.<past participle>``.
        client: the OAuth client's id, or "".
        user: the user's id, or "".
        detail: more, in words.
    """

    name: str
    client: str = ""
    user: str = ""
    detail: str = ""


class Revoked(NamedTuple):
    """Access tokens that are dead before they expire.

    Attributes:
        key: ``jti:<token id>`` or ``sid:<grant id>``.
        expires_at: Unix seconds; from then on they are expired anyway.
    """

    key: str
    expires_at: int


class Transaction:
    """What work has at hand.

    Args:
        connection: in the transaction.
        now: Unix seconds, one instant for the whole transaction.
    """

    def __init__(self, connection: sa.Connection, now: float) -> None:
        self.connection = connection
        self.now = now
        self.events: list[AuthEvent] = []
        self.revoked: list[Revoked] = []

    def insert(self, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
        """Begin an INSERT that can say what to do on conflict."""
        return _INSERTS[self.connection.dialect.name](table)

    def write(self, statement: sa.UpdateBase) -> int:
        """Execute a statement; returns how many rows it wrote."""
        # Without the option the number is not kept for an INSERT by every driver.
        options = {"preserve_rowcount": True}
        return self.connection.execute(statement, execution_options=options).rowcount


_INSERTS: Final[dict[str, Callable[[sa.Table], sqlite.Insert | postgresql.Insert]]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}

Audit: TypeAlias = Callable[[Transaction, AuthEvent], None]
"""Records an event, in the transaction that caused it."""


def log_event(_tx: Transaction, event: AuthEvent) -> None:
    """Record an event in the log alone."""
    log.info("auth.event", act=event.name, client=event.client, user=event.user, why=event.detail)


async def run(
    store: Store, clock: Callable[[], float], audit: Audit, work: Callable[[Transaction], T]
) -> tuple[T, list[Revoked]]:
    """Do ``work`` in the store, and record its events with it.

    Returns:
        Its result, and which access tokens are dead from now on.

    Raises:
        ServerError: the store cannot be used.
    """

    def transact(connection: sa.Connection) -> tuple[T, list[Revoked]]:
        tx = Transaction(connection, clock())
        result = work(tx)
        for event in tx.events:
            audit(tx, event)
        return result, tx.revoked

    return await store.run(None, transact)
