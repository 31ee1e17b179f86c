"""Bookmarks: small facts that are found by a name and pass away."""

from typing import Final

import sqlalchemy as sa
from alembic import op

from tellstream.storage.row_security import protect

revision: Final = "0004"
down_revision: Final = "0003"


def upgrade() -> None:
    """Create the table; PostgreSQL keeps the tenants apart."""
    op.create_table(
        "bookmarks",
        sa.Column("tenant", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("bookmarks_expiry", "bookmarks", ["expires_at"])
    if op.get_bind().dialect.name == "postgresql":
        for text in protect("bookmarks"):
            op.execute(text)
