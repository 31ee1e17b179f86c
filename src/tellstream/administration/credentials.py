"""The tenants' own keys for providers: put in and taken away, never shown."""

import re
from typing import Final

from pydantic import SecretStr

from tellstream.administration.actor import Actor
from tellstream.administration.desk import Act, Desk
from tellstream.administration.offer import Offer
from tellstream.administration.problems import invalid
from tellstream.core.errors import RequestError
from tellstream.storage import changes, scope, tenants
from tellstream.storage import credentials as stored_credentials
from tellstream.storage.credentials import Credential
from tellstream.storage.master_key import MasterKey

MAX_KEY_CHARS: Final = 4096
"""Of a provider's key; the longest are signed tokens of some 2,000."""
MAX_LABEL_CHARS: Final = 100
_PROVIDER: Final = re.compile("[a-z0-9][a-z0-9._-]{0,63}")
_KEY: Final = re.compile(rf"[!-~]{{1,{MAX_KEY_CHARS}}}")


class Credentials:
    """Acts on provider credentials.

    Args:
        desk: where they are done.
        offer: what the configuration has.
        master_key: encrypts the keys.
    """

    def __init__(self, desk: Desk, offer: Offer, master_key: MasterKey) -> None:
        self._desk = desk
        self._offer = offer
        self._master_key = master_key

    async def list(self, actor: Actor, tenant: int) -> list[Credential]:
        """List what may be shown of a tenant's keys, by provider.

        Raises:
            RequestError: ``not_found``, it is not the actor's tenant.
            ServerError: the store cannot be used.
        """

        def work(act: Act) -> list[Credential]:
            scope.require(actor.ctx, tenant)
            return stored_credentials.listed(act.connection, actor.ctx, tenant)

        return await self._desk.read(actor, work)

    async def get(self, actor: Actor, tenant: int, provider: str) -> Credential:
        """Show what may be shown of one key.

        Raises:
            RequestError: ``not_found``.
            ServerError: the store cannot be used.
        """
        for credential in await self.list(actor, tenant):
            if credential.provider == provider:
                return credential
        raise RequestError("not_found")

    async def put(
        self, actor: Actor, tenant: int, provider: str, label: str, key: SecretStr
    ) -> Credential:
        """Store a tenant's key for a provider, in the place of the one that was there.

        Raises:
            RequestError: ``not_found``, there is no such tenant, or it is not the actor's;
                ``validation_error``.
            ServerError: the store cannot be used.
            StoreSetupError: the master key cannot be used.
        """
        if not _PROVIDER.fullmatch(provider):
            raise invalid("provider", "must be lower-case letters, digits, '.', '_' and '-'")
        if len(label) > MAX_LABEL_CHARS or not label.isprintable():
            raise invalid("label", f"must have at most {MAX_LABEL_CHARS} printable characters")
        if not _KEY.fullmatch(key.get_secret_value()):
            raise invalid("key", f"must be 1 to {MAX_KEY_CHARS} visible ASCII characters")

        def work(act: Act) -> Credential:
            scope.require(actor.ctx, tenant)
            is_stored = tenants.get(act.connection, actor.ctx, tenant) is not None
            if not is_stored and tenant not in self._offer.tenants:
                raise RequestError("not_found")
            # First of all, so that the keyring that is read now is still the one in use when this
            # transaction ends: see ``secrets``.
            changes.bump(act.connection)
            credential = stored_credentials.put(
                act.connection,
                actor.ctx,
                self._master_key.keyring(),
                tenant,
                provider,
                label,
                key,
                now=int(act.now),
            )
            act.record("credential.put", provider, tenant, label=label)
            return credential

        return await self._desk.act(actor, work)

    async def delete(self, actor: Actor, tenant: int, provider: str) -> None:
        """Delete a tenant's key for a provider.

        Raises:
            RequestError: ``not_found``.
            ServerError: the store cannot be used.
        """

        def work(act: Act) -> None:
            well_formed = _PROVIDER.fullmatch(provider) is not None
            if not (
                well_formed
                and stored_credentials.delete(act.connection, actor.ctx, tenant, provider)
            ):
                raise RequestError("not_found")
            act.record("credential.deleted", provider, tenant)

        await self._desk.act(actor, work)

    def is_configured(self, provider: str) -> bool:
        """Whether some model has a target at this provider."""
        return provider in self._offer.providers
