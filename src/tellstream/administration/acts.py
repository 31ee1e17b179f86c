"""Everything an administrator can do, in one place."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, Self

from tellstream.administration.audit_log import AuditLog
from tellstream.administration.clients import Clients
from tellstream.administration.credentials import Credentials
from tellstream.administration.desk import Desk
from tellstream.administration.offer import Offer
from tellstream.administration.secrets import MasterKeyDesk
from tellstream.administration.signing_keys import KeyDesk, KeyPlace
from tellstream.administration.tenants import Tenants
from tellstream.administration.users import Users
from tellstream.auth.passwords import Passwords
from tellstream.auth.transactions import Revoked
from tellstream.storage.master_key import MasterKey
from tellstream.storage.store import Store


class Administration(NamedTuple):
    """The acts, by what they are done to."""

    tenants: Tenants
    clients: Clients
    users: Users
    credentials: Credentials
    audit: AuditLog
    keys: KeyDesk
    master_key: MasterKeyDesk

    @classmethod
    def over(
        cls,
        store: Store,
        clock: Callable[[], float],
        offer: Offer,
        passwords: Passwords,
        master_key: MasterKey,
        keys: KeyPlace | None,
        revoked: Callable[[Iterable[Revoked]], None] = lambda _revoked: None,
    ) -> Self:
        """Put them together.

        Args:
            store: open.
            clock: Unix seconds.
            offer: what the configuration has.
            passwords: the threads that hash; closed by whoever made them.
            master_key: of the data directory.
            keys: that sign; None: there is no embedded authorization server.
            revoked: told at once which access tokens are dead (``Revocations.add``).
        """
        desk = Desk(store, clock, revoked)
        return cls(
            Tenants(desk, offer),
            Clients(desk),
            Users(desk, passwords),
            Credentials(desk, offer, master_key),
            AuditLog(desk),
            KeyDesk(desk, keys),
            MasterKeyDesk(desk, master_key),
        )
