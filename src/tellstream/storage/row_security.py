"""Row level security: PostgreSQL itself refuses the rows of other tenants.

The setting ``tellstream.tenant`` says whose rows may be touched: a tenant's number, or ``system``,
the server's own work on the rows of all. Each transaction sets it for itself; where it is not set,
there are no rows. So a statement that forgot its condition cannot show or change another tenant's
rows. It is a second wall, not the first: who can run any SQL can set the setting.

Owners of tables pass row level security unless it is forced, and superusers always do. So it is
forced, and whoever may pass it steps down to a role that may not.
"""

from typing import Final

import sqlalchemy as sa

from tellstream.storage.base import StoreSetupError

SETTING: Final = "tellstream.tenant"
SYSTEM: Final = "system"
ROLE: Final = "tellstream_rows"
"""What superusers step down to."""
POLICY: Final = "of_the_tenant"
_PASSES: Final = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
STEP_DOWN: Final = f"DO $$ BEGIN IF ({_PASSES}) THEN SET ROLE {ROLE}; END IF; END $$"
"""Said on each new connection."""


def protect(table: str, column: str = "tenant") -> list[str]:
    """Say what makes PostgreSQL keep the tenants of a table apart; for migrations.

    A row whose column is null is the server's own.
    """
    # As a subquery, the setting is read once for a statement and not for each row.
    allowed = f"(SELECT current_setting('{SETTING}', true)) IN ('{SYSTEM}', {column}::text)"
    return [
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY {POLICY} ON {table} USING ({allowed}) WITH CHECK ({allowed})",
    ]


def setting(tenant: int | None) -> str:
    """Say whose rows may be touched, as ``SET`` takes it; None: everyone's."""
    return f"{SETTING} = '{SYSTEM if tenant is None else int(tenant)}'"


def session(*, system: bool) -> str:
    """Say whose rows may be touched outside of transactions: everyone's, or nobody's."""
    return f"SET {setting(None)}" if system else f"SET {SETTING} = ''"


def grant(connection: sa.Connection) -> None:
    """Make the role that superusers step down to, if who is connected needs one."""
    if not connection.exec_driver_sql(_PASSES).scalar():
        return
    # Roles belong to all databases of a server: another may have made it, also at this moment.
    connection.exec_driver_sql(
        f"DO $$ BEGIN CREATE ROLE {ROLE} NOLOGIN NOSUPERUSER NOBYPASSRLS; "
        "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
    )
    schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar()
    for text in (
        f"GRANT {ROLE} TO CURRENT_USER",
        f"GRANT USAGE ON SCHEMA {schema} TO {ROLE}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {ROLE}",
    ):
        connection.exec_driver_sql(text)


def require_enforced(connection: sa.Connection) -> None:
    """Check that the role of a connection is subject to row level security.

    Raises:
        StoreSetupError: it is not.
    """
    if connection.exec_driver_sql(_PASSES).scalar():
        raise StoreSetupError(
            f"row level security does not hold for its role, and stepping down to {ROLE} failed; "
            "use a role without SUPERUSER and BYPASSRLS"
        )
