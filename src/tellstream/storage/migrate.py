"""Bringing a database's schema up to date: the scripts in ``migrations``, run by Alembic."""

import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from tellstream.storage.base import StoreSetupError

NEWEST: Final = "0001"
"""The revision that ``tables`` describes: of the newest script."""
_SCRIPTS: Final = Path(__file__).parent / "migrations"
_ALEMBIC: Final = threading.Lock()
"""Alembic keeps the migration that runs in a global variable."""


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
            raise StoreSetupError("it was made by a newer version of tellstream; run that version")
        if found != NEWEST:
            config.attributes["connection"] = connection
            command.upgrade(config, NEWEST)


def _revision(connection: sa.Connection) -> str | None:
    """Read which script was run last; None: none was."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return found
