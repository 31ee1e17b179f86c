"""A connection to PostgreSQL on which nothing waits for ever.

The server bounds statements and locks; what bounds the wait for a server that says nothing at all,
since it hangs or is out of reach, is here.
"""

import time
from collections.abc import Generator
from typing import Any, Final, TypeVar

import psycopg

CONNECT_SECONDS: Final = 3
"""For which one address of the server has time to answer; whole seconds, at least 2, says libpq."""
STATEMENT_SECONDS: Final = 5
"""Which the server gives a statement that writes."""
READING_SECONDS: Final = 10
"""Which the server gives a statement that only reads, such as that of a report."""
LOCK_SECONDS: Final = 3
"""For which a statement waits for a row that another transaction writes."""
IDLE_SECONDS: Final = 30
"""For which the server keeps the locks of a transaction that asks for nothing more."""
REPLY_SECONDS: Final = 12
"""For which we wait for the server to say anything; longer than it gives any statement."""
PARAMETERS: Final[dict[str, Any]] = {
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "tellstream",
    # A lost peer is found by the system, in about REPLY_SECONDS.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": REPLY_SECONDS * 1000,
}
"""Of libpq; what an address sets itself is kept."""
LIMITS: Final = (
    f"SET statement_timeout = {STATEMENT_SECONDS * 1000}; "
    f"SET lock_timeout = {LOCK_SECONDS * 1000}; "
    f"SET idle_in_transaction_session_timeout = {IDLE_SECONDS * 1000}"
)
"""What is said first on a new connection."""

_Value = TypeVar("_Value")


class SilentServerError(psycopg.OperationalError):
    """The server did not answer in time; the connection is closed."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that gives up a server which does not answer.

    A server that hangs keeps its sockets open, and no option of libpq ends the wait for it.

    Attributes:
        reply_seconds: for which it waits.
    """

    reply_seconds: float = REPLY_SECONDS

    def wait(self, gen: Generator[Any, Any, _Value], *values: Any, **named: Any) -> _Value:
        """Drive one operation to its end.

        Raises:
            SilentServerError: the server does not answer.
        """
        try:
            return super().wait(_bounded(gen, self.reply_seconds), *values, **named)
        except SilentServerError:
            self.close()  # what the server says later would be taken for another answer
            raise


def _bounded(operation: Generator[Any, Any, _Value], seconds: float) -> Generator[Any, Any, _Value]:
    """Do what ``operation`` does, unless the server says nothing for so many seconds."""
    end = time.monotonic() + seconds
    try:
        wanted = next(operation)
        while True:
            ready = yield wanted  # zero, several times a second, while there is nothing
            if ready:
                end = time.monotonic() + seconds
            elif time.monotonic() > end:
                operation.close()
                raise SilentServerError(f"the server said nothing for {seconds:.0f} s")
            wanted = operation.send(ready)
    except StopIteration as over:
        value: _Value = over.value
        return value
