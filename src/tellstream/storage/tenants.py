"""The stored tenants. Those of the configuration file are not here, and win over these.

What the settings mean is not known here: they are JSON in the form of the configuration file, which
whoever writes and reads them checks.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from tellstream.core.principals import Ctx
from tellstream.storage import changes, scope
from tellstream.storage.database import upserted
from tellstream.storage.tables_store import TENANTS

MAX_PAGE: Final = 1000
"""Tenants that are read at once."""


class StoredTenant(msgspec.Struct, frozen=True):
    """A tenant.

    Attributes:
        id: its number, 1 to 2^63-1.
        name: for people.
        settings: model, models, system, limits, as under ``[tenants.<id>]``.
        created_at: Unix seconds.
        suspended_at: Unix seconds; None: it is not suspended.
    """

    id: int
    name: str
    settings: Mapping[str, Any]
    created_at: int
    suspended_at: int | None = None


def listed(
    connection: sa.Connection, ctx: Ctx | None, after: int = 0, limit: int = MAX_PAGE
) -> list[StoredTenant]:
    """List tenants by number: of a caller its own, for the server all.

    Args:
        connection: in a transaction.
        ctx: who asks.
        after: only tenants with a higher number.
        limit: the number of tenants, at most.
    """
    selected = sa.select(TENANTS).where(scope.visible(TENANTS.c.id, ctx), TENANTS.c.id > after)
    rows = connection.execute(selected.order_by(TENANTS.c.id).limit(min(limit, MAX_PAGE)))
    return [_tenant(row) for row in rows]


def get(
    connection: sa.Connection, ctx: Ctx | None, tenant: int, *, for_update: bool = False
) -> StoredTenant | None:
    """Get a tenant.

    Args:
        connection: in a transaction.
        ctx: who asks.
        tenant: which.
        for_update: nobody else changes it until the end of the transaction.

    Returns:
        The tenant; None if there is none with this number, or it is not the caller's.
    """
    selected = sa.select(TENANTS).where(scope.visible(TENANTS.c.id, ctx), TENANTS.c.id == tenant)
    if for_update:
        selected = selected.with_for_update()
    row = connection.execute(selected).one_or_none()
    return None if row is None else _tenant(row)


def insert(connection: sa.Connection, ctx: Ctx | None, tenant: StoredTenant) -> bool:
    """Store a new tenant; returns whether its number was free.

    Raises:
        RequestError: 404 ``not_found``, it is not the caller's.
    """
    scope.require(ctx, tenant.id)
    values = msgspec.structs.asdict(tenant)
    values["settings"] = msgspec.json.encode(tenant.settings).decode()
    try:
        with connection.begin_nested():
            connection.execute(sa.insert(TENANTS).values(values))
    except sa.exc.IntegrityError:
        return False
    changes.bump(connection)
    return True


def put(connection: sa.Connection, ctx: Ctx | None, tenant: StoredTenant) -> bool:
    """Store a tenant; of one that exists, the name and the settings change, and nothing else.

    Returns:
        Whether it is new.

    Raises:
        RequestError: 404 ``not_found``, it is not the caller's.
    """
    scope.require(ctx, tenant.id)
    values = {"name": tenant.name, "settings": msgspec.json.encode(tenant.settings).decode()}
    updated = sa.update(TENANTS).where(TENANTS.c.id == tenant.id).values(values)
    is_new = connection.execute(updated).rowcount == 0
    if is_new:
        fixed = {
            "id": tenant.id,
            "created_at": tenant.created_at,
            "suspended_at": tenant.suspended_at,
        }
        # Should another transaction have stored it at this moment, this one comes after it.
        connection.execute(upserted(connection, TENANTS, fixed, values))
    changes.bump(connection)
    return is_new


def suspend(connection: sa.Connection, ctx: Ctx | None, tenant: int, at: int | None) -> bool:
    """Suspend a tenant, or let it go on.

    Args:
        connection: in a transaction that writes.
        ctx: who asks.
        tenant: which.
        at: Unix seconds; None: it is not suspended any more.

    Returns:
        Whether there is such a tenant.

    Raises:
        RequestError: 404 ``not_found``, it is not the caller's.
    """
    scope.require(ctx, tenant)
    updated = sa.update(TENANTS).where(TENANTS.c.id == tenant).values(suspended_at=at)
    found = connection.execute(updated).rowcount == 1
    if found:
        changes.bump(connection)
    return found


def _tenant(row: sa.Row[Any]) -> StoredTenant:
    settings: dict[str, Any] = msgspec.json.decode(row.settings, type=dict[str, Any])
    return StoredTenant(row.id, row.name, settings, row.created_at, row.suspended_at)
