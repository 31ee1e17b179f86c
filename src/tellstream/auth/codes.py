"""Authorization codes: rules A4 and A5.

A code is a credential for a minute and for one use. It is used up by whatever comes first, right or
wrong: a guess at the verifier costs the code.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

import sqlalchemy as sa

from tellstream.auth.authorization_request import AuthorizationRequest
from tellstream.auth.grants import Grant, lock_grant, revoke_grant
from tellstream.auth.opaque import digest, looks_like_secret, new_secret
from tellstream.auth.transactions import AuthEvent, Transaction
from tellstream.auth.words import joined, numbers, words
from tellstream.storage.tables_oauth import AUTHORIZATION_CODES

CODE_SECONDS: Final = 60
"""A4: a redirect and a request take less than one."""


class Code(NamedTuple):
    """What a code stands for.

    Attributes:
        client_id: the client it was issued to.
        user_id: the person who agreed.
        redirect_uri: where it was sent.
        challenge: of PKCE, or None.
        scopes: agreed to.
        tenants: agreed to.
        resource: what the tokens are for.
    """

    client_id: str
    user_id: str
    redirect_uri: str
    challenge: str | None
    scopes: frozenset[str]
    tenants: frozenset[int]
    resource: str


def issue_code(
    tx: Transaction,
    request: AuthorizationRequest,
    user_id: str,
    scopes: Collection[str],
    tenants: Collection[int],
) -> str:
    """Store a new code for what a person agreed to; returns it."""
    code = new_secret()
    tx.connection.execute(
        sa.insert(AUTHORIZATION_CODES).values(
            hash=digest(code),
            client_id=request.client.client_id,
            user_id=user_id,
            redirect_uri=request.redirect_uri,
            challenge=request.challenge,
            scopes=joined(scopes),
            tenants=joined(tenants),
            resource=request.resource,
            expires_at=int(tx.now) + CODE_SECONDS,
        )
    )
    return code


def redeem_code(tx: Transaction, code: str) -> Code | None:
    """Use a code up (A5).

    Returns:
        What it stands for; None if it is unknown, expired or was used before. In the last case
        everything that was issued for it is revoked: one of the two users of it is a thief.
    """
    if not looks_like_secret(code):
        return None
    column = AUTHORIZATION_CODES.c
    found = column.hash == digest(code)
    used = tx.write(
        sa.update(AUTHORIZATION_CODES)
        .where(found, column.used_at.is_(None), column.expires_at > tx.now)
        .values(used_at=int(tx.now))
    )
    row = tx.connection.execute(sa.select(AUTHORIZATION_CODES).where(found)).first()
    if row is None:
        return None
    if used == 0:
        grant = None if row.grant_id is None else lock_grant(tx, row.grant_id)
        if grant is not None:
            event = AuthEvent("code.replayed", grant.client_id, grant.user_id)
            revoke_grant(tx, grant, event)
        return None
    return Code(
        row.client_id,
        row.user_id,
        row.redirect_uri,
        row.challenge,
        words(row.scopes),
        numbers(row.tenants),
        row.resource,
    )


def note_grant(tx: Transaction, code: str, grant: Grant) -> None:
    """Remember what a code was redeemed for, should it come again."""
    tx.connection.execute(
        sa.update(AUTHORIZATION_CODES)
        .where(AUTHORIZATION_CODES.c.hash == digest(code))
        .values(grant_id=grant.id)
    )
