"""The statements of the ledger.

Each is its own transaction: rows do not depend on each other, and first-wins is a condition of the
statement itself. So there is nothing to begin or to roll back.
"""

from collections.abc import Collection
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from tellstream.core.usage import FinishReason
from tellstream.storage import first_token
from tellstream.storage.base import By
from tellstream.storage.database import Database, Rows
from tellstream.storage.tables import OPENED, SETTLED, USAGE

SECONDS_PER_DAY: Final = 86_400
_KEY: Final = (USAGE.c.tenant, USAGE.c.stream_id)
_OPEN: Final = USAGE.c.finished_at.is_(None)


class Writes(NamedTuple):
    """The statements that write, and the columns of what they take as ``rows``.

    Attributes:
        open: opens rows: OPENED.
        settle: settles rows: tenant, stream_id, SETTLED.
        read_back: reads what is stored: tenant, stream_id.
    """

    open: str
    settle: str
    read_back: sa.Select[Any]


def writes(database: Database) -> Writes:
    """Build the statements for ``database``."""
    opened = database.rows(OPENED)
    insert = (
        database.insert(USAGE)
        .from_select(
            [column.name for column in OPENED],
            # The condition keeps SQLite's parser from reading ON CONFLICT as that of a join.
            sa.select(*opened.values).select_from(opened.table).where(sa.true()),
        )
        .on_conflict_do_nothing(index_elements=_KEY)
    )
    settled = database.rows((*_KEY, *SETTLED))
    update = (
        sa.update(USAGE)
        .values(dict(zip(SETTLED, settled.values[len(_KEY) :], strict=True)))
        .where(_OPEN, _same_key(settled))
    )
    wanted = database.rows(_KEY)
    read_back = (
        sa.select(*_KEY, *SETTLED)
        .join_from(wanted.table, USAGE, _same_key(wanted))
        .where(USAGE.c.finished_at.is_not(None))
    )
    # Compiled here: looking the text up for each execution costs as much as writing three rows.
    dialect = database.dialect
    return Writes(
        str(insert.compile(dialect=dialect)), str(update.compile(dialect=dialect)), read_back
    )


def _same_key(rows: Rows) -> sa.ColumnElement[bool]:
    return sa.and_(*(ours == theirs for ours, theirs in zip(_KEY, rows.values, strict=False)))


def unsettled(older_than: int, limit: int) -> sa.Select[Any]:
    """Select the OPENED columns of rows that wait for their settlement, oldest first."""
    oldest = (USAGE.c.started_at, *_KEY)
    waiting = sa.select(*OPENED).where(_OPEN, USAGE.c.started_at < older_than)
    return waiting.order_by(*oldest).limit(limit)


# A literal, not a parameter: PostgreSQL must see that the grouped and the selected are the same.
DAY: Final = USAGE.c.finished_at // sa.literal_column(str(SECONDS_PER_DAY), sa.BigInteger)
_GROUPS: Final[dict[By, tuple[sa.ColumnElement[Any], ...]]] = {
    "day": (DAY,),
    "model": (USAGE.c.model,),
    "client": (USAGE.c.client,),
    "subject": (USAGE.c.subject,),
    "stream": (USAGE.c.finished_at, USAGE.c.stream_id),
}


def totals(
    tenant: int,
    finished_from: int,
    finished_before: int,
    by: By,
    after: tuple[Any, ...] | None,
    without: Collection[str] = (),
) -> sa.Select[Any]:
    """Select the sums of a tenant's streams: the group's columns, then the sums.

    Args:
        tenant: whose.
        finished_from: Unix seconds.
        finished_before: Unix seconds.
        by: what to group by.
        after: only groups after this one, or None.
        without: ids of streams to leave out.
    """
    usage, group = USAGE.c, _GROUPS[by]
    selected = sa.select(
        *group,
        sa.func.count(),
        sa.func.sum(usage.prompt_tokens),
        sa.func.sum(usage.completion_tokens),
        sa.func.sum(usage.cache_read_input_tokens),
        sa.func.sum(usage.cache_write_input_tokens),
        sa.func.sum(usage.thought_tokens),
        sa.func.sum(sa.case((usage.estimated, 1), else_=0)),
        sa.func.sum(usage.cost),
        *(sa.func.count(sa.case((usage.finish_reason == each.value, 1))) for each in FinishReason),
        *first_token.sums(usage.first_token_ms),
    ).where(
        usage.tenant == tenant,
        usage.finished_at >= finished_from,
        usage.finished_at < finished_before,
    )
    if without:
        selected = selected.where(usage.stream_id.not_in(without))
    if after is not None:
        selected = selected.where(sa.tuple_(*group) > sa.tuple_(*after))
    return selected.group_by(*group).order_by(*group)
