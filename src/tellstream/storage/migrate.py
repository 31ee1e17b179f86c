"""Bringing a database's schema up to date: the scripts in ``migrations``, run by Alembic."""

import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from tellstream.storage.base import StoreSetupError
from tellstream.storage.database import Database

_SCRIPTS: Final = Path(__file__).parent / "migrations"
NEWEST: Final = max(script.name[:4] for script in _SCRIPTS.glob("versions/[0-9]*_*.py"))
"""The revision that the tables files describe: of the newest script."""
_TOO_NEW: Final = "it was made by a newer version of tellstream; run that version"
_ALEMBIC: Final = threading.Lock()
"""Alembic keeps the migration that runs in a global variable."""


def upgrade(database: Database) -> None:
    """Bring the schema of a database up to date.

    Raises:
        StoreSetupError: it cannot be used, or a newer version of this program made the schema.
    """
    database.upgrade()


def check(database: Database) -> None:
    """See that a server can start on a database; SQLite is brought up to date for that.

    Raises:
        StoreSetupError: it cannot; for PostgreSQL also since its schema is not up to date.
    """
    database.open(1, system=False).dispose()


def require_newest(connection: sa.Connection) -> None:
    """See that the schema is that of this version.

    Raises:
        StoreSetupError: it is not.
    """
    found = _revision(connection)
    if found is None or found < NEWEST:
        raise StoreSetupError(
            f"its schema is {'missing' if found is None else 'out of date'}: "
            "run tellstream admin migrate"
        )
    if found > NEWEST:
        raise StoreSetupError(_TOO_NEW)


def migrate(connection: sa.Connection, exclusive: AbstractContextManager[None]) -> None:
    """Bring the schema up to date, in one transaction; usually it is, and nothing happens.

    Args:
        connection: to the database.
        exclusive: a transaction on it that keeps other processes from doing the same meanwhile.

    Raises:
        StoreSetupError: a newer version of this program made the schema.
    """
    if _revision(connection) == NEWEST:
        return
    # Imported when there is something to do: 10 MB that a running server has no use for; and before
    # the transaction, since it takes a while.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with _ALEMBIC, exclusive:
        found = _revision(connection)  # again: the process that was first may have done it
        if found is not None and found not in known:
            raise StoreSetupError(_TOO_NEW)
        if found != NEWEST:
            config.attributes["connection"] = connection
            command.upgrade(config, NEWEST)


def _revision(connection: sa.Connection) -> str | None:
    """Read which script was run last; None: none was."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return found
