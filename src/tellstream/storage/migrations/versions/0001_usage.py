"""The usage ledger."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0001"
down_revision: Final = None


def upgrade() -> None:
    """Create the table of usage rows."""
    op.create_table(
        "usage",
        sa.Column("tenant", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("stream_id", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
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
    )
    settled, unsettled = sa.text("finished_at IS NOT NULL"), sa.text("finished_at IS NULL")
    op.create_index(
        "usage_finished",
        "usage",
        ["tenant", "finished_at", "stream_id"],
        sqlite_where=settled,
        postgresql_where=settled,
    )
    op.create_index(
        "usage_open", "usage", ["started_at"], sqlite_where=unsettled, postgresql_where=unsettled
    )
