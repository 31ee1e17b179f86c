"""Tenants, provider credentials, the audit log, the counter of changes; row level security."""

from typing import Final

import sqlalchemy as sa
from alembic import op

from tellstream.storage.row_security import protect

revision: Final = "0002"
down_revision: Final = "0001"


def upgrade() -> None:
    """Create the tables; PostgreSQL keeps the tenants apart, also in the usage rows."""
    op.create_table(
        "tenants",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("suspended_at", sa.BigInteger),
    )
    op.create_table(
        "provider_credentials",
        sa.Column("tenant", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("provider", sa.Text, primary_key=True),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("last4", sa.Text, nullable=False),
        sa.Column("ciphertext", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "audit_events",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            sa.Identity(),
            primary_key=True,
        ),
        sa.Column("tenant", sa.BigInteger),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("client", sa.Text, nullable=False),
        sa.Column("act", sa.Text, nullable=False),
        sa.Column("object", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
    )
    op.create_index("audit_events_of_tenant", "audit_events", ["tenant", "id"])
    changes = op.create_table(
        "changes",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("counter", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(changes, [{"id": 1, "counter": 0}])
    if op.get_bind().dialect.name == "postgresql":
        for text in (
            *protect("usage"),
            *protect("tenants", "id"),
            *protect("provider_credentials"),
            *protect("audit_events"),
        ):
            op.execute(text)
