"""The table of bookmarks: small facts of the server that are found by a name and pass away."""

from typing import Final

import sqlalchemy as sa

from tellstream.storage.tables import METADATA

BOOKMARKS: Final = sa.Table(
    "bookmarks",
    METADATA,
    sa.Column("tenant", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, primary_key=True),  # a digest: says nothing
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Index("bookmarks_expiry", "expires_at"),
)
