"""The authorization server: users, clients, sessions, consents, codes, grants, tokens, keys."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0003"
down_revision: Final = "0002"


def upgrade() -> None:
    """Create the tables."""
    _people()
    _clients()
    _grants()
    op.create_table(
        "signing_keys",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kid", sa.Text, nullable=False, unique=True),
        _text("sealed"),
        _time("signs_from"),
    )
    for table in ("login_sessions", "authorization_requests", "authorization_codes"):
        op.create_index(f"ix_{table}_expires_at", table, ["expires_at"])
    for table in ("oauth_grants", "oauth_revoked"):
        op.create_index(f"ix_{table}_expires_at", table, ["expires_at"])


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=null)


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=True)


def _time(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=null)


def _people() -> None:
    op.create_table(
        "users",
        _key("id"),
        sa.Column("email", sa.Text, nullable=False, unique=True),
        _text("password_hash"),
        sa.Column("must_change", sa.Boolean, nullable=False),
        _text("scopes"),
        _text("tenants"),
        _time("created_at"),
        _time("disabled_at", null=True),
    )
    op.create_table(
        "login_sessions", _key("hash"), _text("user_id"), _time("created_at"), _time("expires_at")
    )
    op.create_index("ix_login_sessions_user_id", "login_sessions", ["user_id"])
    op.create_table(
        "login_attempts", _key("key"), sa.Column("full_at", sa.Float(53), nullable=False)
    )
    op.create_index("ix_login_attempts_full_at", "login_attempts", ["full_at"])


def _clients() -> None:
    op.create_table(
        "oauth_clients",
        _key("client_id"),
        _text("name"),
        _text("secret_sha256", null=True),
        _text("redirect_uris"),
        _text("scopes"),
        _text("tenants"),
        _text("grant_types"),
        sa.Column("pkce_required", sa.Boolean, nullable=False),
        _time("created_at"),
        _time("disabled_at", null=True),
    )
    op.create_table(
        "consents",
        _key("user_id"),
        _key("client_id"),
        _text("scopes"),
        _text("tenants"),
        _time("granted_at"),
    )
    op.create_table(
        "authorization_requests", _key("id"), _text("session"), _text("query"), _time("expires_at")
    )


def _grants() -> None:
    op.create_table(
        "authorization_codes",
        _key("hash"),
        _text("client_id"),
        _text("user_id"),
        _text("redirect_uri"),
        _text("challenge", null=True),
        _text("scopes"),
        _text("tenants"),
        _text("resource"),
        _time("expires_at"),
        _time("used_at", null=True),
        _text("grant_id", null=True),
    )
    op.create_table(
        "oauth_grants",
        _key("id"),
        _text("client_id"),
        _text("user_id"),
        _text("tenants"),
        _text("resource"),
        _time("created_at"),
        _time("expires_at"),
        _time("revoked_at", null=True),
    )
    op.create_index("ix_oauth_grants_user_id", "oauth_grants", ["user_id"])
    op.create_table(
        "refresh_tokens",
        _key("hash"),
        _text("grant_id"),
        _text("parent", null=True),
        _text("scopes"),
        _time("expires_at"),
        _time("consumed_at", null=True),
        _text("successor", null=True),
        sa.Column("answer", sa.LargeBinary),
    )
    op.create_index("ix_refresh_tokens_grant_id", "refresh_tokens", ["grant_id"])
    answered = sa.text("answer IS NOT NULL")
    op.create_index(
        "refresh_tokens_answered",
        "refresh_tokens",
        ["consumed_at"],
        sqlite_where=answered,
        postgresql_where=answered,
    )
    op.create_table("oauth_revoked", _key("key"), _time("revoked_at"), _time("expires_at"))
    op.create_index("ix_oauth_revoked_revoked_at", "oauth_revoked", ["revoked_at"])
