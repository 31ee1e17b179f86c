"""The tables as they are now; how they came to be is in ``migrations``.

Only types that every database has. Free text has no length: a limit would be an error at the moment
when a stream has to be accounted for.
"""

from typing import Final

import sqlalchemy as sa

METADATA: Final = sa.MetaData()

USAGE: Final = sa.Table(
    "usage",
    METADATA,
    # The tenant comes first in every key: no statement can forget it and still use an index.
    sa.Column("tenant", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("stream_id", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("client", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    # From here on null until the row is settled, which is when finished_at is set.
    sa.Column("provider", sa.Text),
    sa.Column("provider_model", sa.Text),
    sa.Column("finished_at", sa.BigInteger),
    sa.Column("finish_reason", sa.Text),
    sa.Column("prompt_tokens", sa.BigInteger),
    sa.Column("completion_tokens", sa.BigInteger),
    sa.Column("cache_write_input_tokens", sa.BigInteger),
    sa.Column("cache_read_input_tokens", sa.BigInteger),
    sa.Column("thought_tokens", sa.BigInteger),
    sa.Column("estimated", sa.Boolean),
    sa.Column("cost", sa.BigInteger),
    sa.Column("first_token_ms", sa.BigInteger),
)
OPENED: Final = tuple(USAGE.columns)[:6]
"""What is written when a row is opened."""
SETTLED: Final = tuple(USAGE.columns)[6:]
"""What is written when it is settled."""

_IS_SETTLED: Final = USAGE.c.finished_at.is_not(None)
_IS_OPEN: Final = USAGE.c.finished_at.is_(None)

sa.Index(
    "usage_finished",
    USAGE.c.tenant,
    USAGE.c.finished_at,
    USAGE.c.stream_id,
    sqlite_where=_IS_SETTLED,
    postgresql_where=_IS_SETTLED,
)
# Holds the few rows that wait for their settlement, whatever the size of the table.
sa.Index(
    "usage_open",
    USAGE.c.started_at,
    sqlite_where=_IS_OPEN,
    postgresql_where=_IS_OPEN,
)
