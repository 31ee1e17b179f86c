"""The tables of tenants, their provider credentials, the audit log and the counter of changes.

What is known of a stream when its log is gone has no table of its own: every stream has a usage row
before its provider is called, and that row is never deleted (see ``streams_index``).
"""

from typing import Final

import sqlalchemy as sa

from tellstream.storage.tables import METADATA

TENANTS: Final = sa.Table(
    "tenants",
    METADATA,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("settings", sa.Text, nullable=False),  # JSON; read and written whole
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("suspended_at", sa.BigInteger),
)

PROVIDER_CREDENTIALS: Final = sa.Table(
    "provider_credentials",
    METADATA,
    sa.Column("tenant", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("last4", sa.Text, nullable=False),
    sa.Column("ciphertext", sa.Text, nullable=False),  # of keyring; it names its key
    sa.Column("created_at", sa.BigInteger, nullable=False),
)

AUDIT_EVENTS: Final = sa.Table(
    "audit_events",
    METADATA,
    # SQLite numbers rows by itself only in a column of exactly this type.
    sa.Column(
        "id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity(), primary_key=True
    ),
    sa.Column("tenant", sa.BigInteger),  # null: no tenant's, such as a login
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("client", sa.Text, nullable=False),
    sa.Column("act", sa.Text, nullable=False),
    sa.Column("object", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("details", sa.Text, nullable=False),  # JSON
    sa.Index("audit_events_of_tenant", "tenant", "id"),
)

# One row; its counter rises in every transaction that changes what workers keep in memory.
CHANGES: Final = sa.Table(
    "changes",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("counter", sa.BigInteger, nullable=False),
)
