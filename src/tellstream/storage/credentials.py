"""The tenants' own keys for providers: written by them, shown to nobody, used by the server."""

from typing import Final

import msgspec
import sqlalchemy as sa
import structlog
from pydantic import SecretStr

from tellstream.core.principals import Ctx
from tellstream.storage import changes, scope
from tellstream.storage.database import upserted
from tellstream.storage.encrypted import CREDENTIAL
from tellstream.storage.keyring import Keyring, SealError
from tellstream.storage.tables_store import PROVIDER_CREDENTIALS

log = structlog.get_logger("tellstream.secrets")

SHOWN_CHARS: Final = 4
"""Of the end of a key, by which people recognise it."""
SHOWN_FROM: Final = 16
"""Characters that a key must have for its end to be shown: a fourth is little help in guessing."""


class Credential(msgspec.Struct, frozen=True):
    """What may be shown of a provider's key.

    Attributes:
        tenant: whose key it is.
        provider: the configured provider it is for.
        label: for people.
        last4: the end of the key, or empty.
        created_at: Unix seconds.
    """

    tenant: int
    provider: str
    label: str
    last4: str
    created_at: int


def put(
    connection: sa.Connection,
    ctx: Ctx | None,
    keyring: Keyring,
    tenant: int,
    provider: str,
    label: str,
    secret: SecretStr,
    *,
    now: int,
) -> Credential:
    """Store the key of a tenant for a provider, in the place of the one that was there.

    Raises:
        RequestError: 404 ``not_found``, it is not the caller's tenant.
    """
    scope.require(ctx, tenant)
    key = secret.get_secret_value()
    last4 = key[-SHOWN_CHARS:] if len(key) >= SHOWN_FROM else ""
    credential = Credential(tenant, provider, label, last4, now)
    place = CREDENTIAL.place(tenant, provider)
    values = {
        "label": label,
        "last4": last4,
        "ciphertext": keyring.encrypt(key, place),
        "created_at": now,
    }
    identity = {"tenant": tenant, "provider": provider}
    connection.execute(upserted(connection, PROVIDER_CREDENTIALS, identity, values))
    changes.bump(connection)
    return credential


def listed(connection: sa.Connection, ctx: Ctx | None, tenant: int) -> list[Credential]:
    """List what may be shown of a tenant's keys, by provider; empty if it is not the caller's."""
    c = PROVIDER_CREDENTIALS.c
    selected = sa.select(c.tenant, c.provider, c.label, c.last4, c.created_at)
    mine = selected.where(scope.visible(c.tenant, ctx), c.tenant == tenant)
    return [Credential(*row) for row in connection.execute(mine.order_by(c.provider))]


def delete(connection: sa.Connection, ctx: Ctx | None, tenant: int, provider: str) -> bool:
    """Delete a tenant's key for a provider; returns whether there was one.

    Raises:
        RequestError: 404 ``not_found``, it is not the caller's tenant.
    """
    scope.require(ctx, tenant)
    c = PROVIDER_CREDENTIALS.c
    deleted = sa.delete(PROVIDER_CREDENTIALS).where(c.tenant == tenant, c.provider == provider)
    found = connection.execute(deleted).rowcount == 1
    if found:
        changes.bump(connection)
    return found


def revealed(
    connection: sa.Connection, ctx: Ctx | None, keyring: Keyring
) -> dict[tuple[int, str], SecretStr | None]:
    """Decrypt keys for use: of a caller's tenant, for the server of all.

    Returns:
        The keys by tenant and provider. None: there is a key, but it cannot be decrypted, which is
        logged; requests with it must fail, and not be made with another one.
    """
    c = PROVIDER_CREDENTIALS.c
    selected = sa.select(c.tenant, c.provider, c.ciphertext).where(scope.visible(c.tenant, ctx))
    return {
        (tenant, provider): _revealed(keyring, tenant, provider, text)
        for tenant, provider, text in connection.execute(selected)
    }


def _revealed(keyring: Keyring, tenant: int, provider: str, text: str) -> SecretStr | None:
    place = CREDENTIAL.place(tenant, provider)
    try:
        return SecretStr(keyring.decrypt(text, place))
    except SealError as error:
        log.error("secret.unreadable", **place._asdict(), reason=str(error))  # noqa: TRY400
        return None
