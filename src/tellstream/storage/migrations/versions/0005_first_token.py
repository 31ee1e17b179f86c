"""The time to the first token, of streams from now on; nothing is known of earlier ones."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0005"
down_revision: Final = "0004"


def upgrade() -> None:
    """Add the column; that rewrites no row, and workers that run may go on without it."""
    op.add_column("usage", sa.Column("first_token_ms", sa.BigInteger))
