"""The tables of the authorization server.

No secret is stored that could be used: of passwords Argon2id hashes, of everything that is 256
random bits its SHA-256 in hexadecimal. Times are Unix seconds. Sets of words and of tenant numbers
are text with single spaces: they are read and written whole and never searched.

These rows belong to the server, not to a tenant: a user or a client may act for several.
"""

from typing import Final

import sqlalchemy as sa

from tellstream.storage.tables import METADATA

USERS: Final = sa.Table(
    "users",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("email", sa.Text, nullable=False, unique=True),
    sa.Column("password_hash", sa.Text, nullable=False),
    sa.Column("must_change", sa.Boolean, nullable=False),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("tenants", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("disabled_at", sa.BigInteger),
)

OAUTH_CLIENTS: Final = sa.Table(
    "oauth_clients",
    METADATA,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("secret_sha256", sa.Text),  # null: a public client
    sa.Column("redirect_uris", sa.Text, nullable=False),  # separated by spaces, which they lack
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("tenants", sa.Text, nullable=False),
    sa.Column("grant_types", sa.Text, nullable=False),
    sa.Column("pkce_required", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("disabled_at", sa.BigInteger),
)

LOGIN_SESSIONS: Final = sa.Table(
    "login_sessions",
    METADATA,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, nullable=False, index=True),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
)

# How many logins an account or an address has tried: the state of a rate limit.
LOGIN_ATTEMPTS: Final = sa.Table(
    "login_attempts",
    METADATA,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("full_at", sa.Float(53), nullable=False, index=True),
)

CONSENTS: Final = sa.Table(
    "consents",
    METADATA,
    sa.Column("user_id", sa.Text, primary_key=True),
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("tenants", sa.Text, nullable=False),
    sa.Column("granted_at", sa.BigInteger, nullable=False),
)

# What a person has been asked, and in which browser session.
AUTHORIZATION_REQUESTS: Final = sa.Table(
    "authorization_requests",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("session", sa.Text, nullable=False),
    sa.Column("query", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
)

AUTHORIZATION_CODES: Final = sa.Table(
    "authorization_codes",
    METADATA,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("client_id", sa.Text, nullable=False),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("redirect_uri", sa.Text, nullable=False),
    sa.Column("challenge", sa.Text),  # null only for clients that need no PKCE
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("tenants", sa.Text, nullable=False),
    sa.Column("resource", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("used_at", sa.BigInteger),
    sa.Column("grant_id", sa.Text),  # what it was redeemed for
)

# One consent put to use: all refresh and access tokens that go back to one code.
OAUTH_GRANTS: Final = sa.Table(
    "oauth_grants",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),  # the "sid" of its access tokens
    sa.Column("client_id", sa.Text, nullable=False),
    sa.Column("user_id", sa.Text, nullable=False, index=True),
    sa.Column("tenants", sa.Text, nullable=False),
    sa.Column("resource", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("revoked_at", sa.BigInteger),
)

REFRESH_TOKENS: Final = sa.Table(
    "refresh_tokens",
    METADATA,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("grant_id", sa.Text, nullable=False, index=True),
    sa.Column("parent", sa.Text),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("consumed_at", sa.BigInteger),
    sa.Column("successor", sa.Text),
    # The answer that held the successor, readable with this token only, and only for seconds.
    sa.Column("answer", sa.LargeBinary),
)

# Access tokens that are dead before they expire: "jti:<id>", or "sid:<grant>" for all of a grant.
OAUTH_REVOKED: Final = sa.Table(
    "oauth_revoked",
    METADATA,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("revoked_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
)

# The keys that sign access tokens, where machines share the store; else they are in a file.
SIGNING_KEYS: Final = sa.Table(
    "signing_keys",
    METADATA,
    # Of two machines that add the key with the next number, one is told that it was too late.
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kid", sa.Text, nullable=False, unique=True),
    sa.Column("sealed", sa.Text, nullable=False),  # a private JWK; see encrypted
    sa.Column("signs_from", sa.BigInteger, nullable=False),
)

_ANSWERED: Final = REFRESH_TOKENS.c.answer.is_not(None)
# Holds the few answers that are waiting to be erased, whatever the size of the table.
sa.Index(
    "refresh_tokens_answered",
    REFRESH_TOKENS.c.consumed_at,
    sqlite_where=_ANSWERED,
    postgresql_where=_ANSWERED,
)
