"""Lists of what belongs to no single tenant: in which order, from where on, and of whom."""

from typing import NamedTuple

import sqlalchemy as sa

from tellstream.core.principals import Ctx


class Position(NamedTuple):
    """Where a list goes on: after this row.

    Attributes:
        created_at: of the row, Unix seconds.
        id: of the row.
    """

    created_at: int
    id: str


def managed(tenants: "sa.Column[str]", ctx: Ctx | None) -> sa.ColumnElement[bool]:
    """Give the condition for rows that a caller manages: those of its own tenant and no other."""
    return sa.true() if ctx is None else tenants == str(ctx.tenant)


def paged(
    selected: "sa.Select[tuple[object, ...]]",
    created_at: "sa.Column[int]",
    row_id: "sa.Column[str]",
    after: Position | None,
    limit: int,
) -> "sa.Select[tuple[object, ...]]":
    """Order rows, oldest first, and take ``limit`` of them from a position on."""
    if after is not None:
        selected = selected.where(sa.tuple_(created_at, row_id) > sa.tuple_(*after))
    return selected.order_by(created_at, row_id).limit(limit)
