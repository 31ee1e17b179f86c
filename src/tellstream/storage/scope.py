"""Whose rows a caller may touch.

The functions of the store take ``Ctx | None`` after the connection; None is the server's own work,
such as its start or a command of the operator.

This is the first wall between tenants, and SQLite's only one; see ``row_security`` for the second.
"""

import sqlalchemy as sa

from tellstream.core.errors import RequestError
from tellstream.core.principals import Ctx


def visible(column: "sa.Column[int]", ctx: Ctx | None) -> sa.ColumnElement[bool]:
    """Give the condition that every statement on a tenant's rows carries."""
    return sa.true() if ctx is None else column == ctx.tenant


def require(ctx: Ctx | None, tenant: int | None) -> None:
    """Return if rows of ``tenant`` may be written.

    Args:
        ctx: who asks.
        tenant: whose rows; None: the server's own.

    Raises:
        RequestError: 404 ``not_found``, as if there were no such tenant.
    """
    if ctx is not None and ctx.tenant != tenant:
        raise RequestError("not_found", reason=f"tenant {ctx.tenant} asks for tenant {tenant}")
