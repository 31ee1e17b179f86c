"""What an error of the database means: it cannot be used now, or it refuses what it was given."""

from collections.abc import Callable
from typing import Final

from sqlalchemy import exc

from tellstream.core.errors import ServerError

REFUSALS: Final = (exc.IntegrityError, exc.DataError, exc.ProgrammingError)
"""The database refuses something that it was given; its other errors are about itself."""
DEADLOCK: Final = "40P01"
"""PostgreSQL's code for two transactions that wait for each other, of which one was chosen to
fail."""


def translated(
    error: Exception, what: str, unavailable: Callable[[str], ServerError]
) -> ServerError:
    """Make the error that a caller sees, caused by ``error``.

    Args:
        error: what was raised.
        what: the name of what uses the database, for the log.
        unavailable: makes the error for a database that cannot be used now.
    """
    if is_unavailable(error):
        reason = error.orig if isinstance(error, exc.DBAPIError) else error
        made = unavailable(_line(reason))
    else:
        made = ServerError("server_error", reason=f"{what}: {type(error).__name__}: {_line(error)}")
    made.__cause__ = error
    return made


def is_unavailable(error: Exception) -> bool:
    """Whether it is the database that cannot be used now, and the same may work later."""
    if isinstance(error, exc.TimeoutError):  # no connection was free
        return True
    return isinstance(error, exc.DBAPIError) and not isinstance(error, REFUSALS)


def is_deadlock(error: Exception) -> bool:
    """Whether others, who wrote the same rows in another order, were preferred."""
    original = error.orig if isinstance(error, exc.DBAPIError) else None
    return getattr(original, "sqlstate", None) == DEADLOCK


def is_lost(error: Exception) -> bool:
    """Whether the connection broke, so that another one may work at once."""
    return isinstance(error, exc.DBAPIError) and error.connection_invalidated


def _line(error: object) -> str:
    """Say what happened in one line: in further ones PostgreSQL quotes the values of the row."""
    return str(error).partition("\n")[0]
