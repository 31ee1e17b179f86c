"""What the first start of an installation does: its first user, and the clients of older versions.

What comes back is shown once; the store does not have it.
"""

import secrets
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final, NamedTuple

from tellstream.auth import users
from tellstream.auth.client_store import StoredClients
from tellstream.auth.clients import ClientRegistry
from tellstream.auth.passwords import Passwords
from tellstream.auth.transactions import Audit, AuthEvent, Store, Transaction, log_event, run
from tellstream.core.principals import SCOPES

FIRST_EMAIL: Final = "admin@localhost"
_PASSWORD_GROUPS: Final = 4
_GROUP_CHARS: Final = 5
# No letters and digits that look alike: somebody may have to type it.
_PASSWORD_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # noqa: S105 - an alphabet


class FirstAdmin(NamedTuple):
    """The user that the first start makes.

    Attributes:
        email: to log in with.
        password: for the first login, which asks for another one. 99 random bits.
    """

    email: str
    password: str


class FirstStart:
    """The acts.

    Args:
        store: where everything is kept.
        clock: Unix seconds.
        audit: records the acts.
    """

    def __init__(self, store: Store, clock: Callable[[], float], audit: Audit = log_event) -> None:
        self._store = store
        self._clock = clock
        self._audit = audit

    async def import_clients(self, data_dir: Path) -> int:
        """Take over the clients that earlier versions kept in a file, which is then put aside.

        Returns:
            How many there were.

        Raises:
            PrivateFileError: the file is damaged, too open or unreachable.
            ServerError: the store cannot be used.
        """
        registry = ClientRegistry(data_dir)
        clients = registry.list()
        if not clients:
            return 0

        def work(tx: Transaction) -> None:
            for client in clients:
                if StoredClients(tx).insert(client):
                    tx.events.append(AuthEvent("client.imported", client.client_id))

        await run(self._store, self._clock, self._audit, work)
        registry.retire()
        return len(clients)

    async def first_admin(
        self, passwords: Passwords, tenants: Collection[int]
    ) -> FirstAdmin | None:
        """Create the first user, with every scope and a random password (rule A18).

        Args:
            passwords: the threads that hash.
            tenants: that the user may act for.

        Returns:
            What to show, once; None if there is a user already.

        Raises:
            ServerError: the store cannot be used.
        """
        there_is, _ = await run(self._store, self._clock, self._audit, users.any_user)
        if there_is:
            return None
        groups = (
            "".join(secrets.choice(_PASSWORD_ALPHABET) for _ in range(_GROUP_CHARS))
            for _ in range(_PASSWORD_GROUPS)
        )
        password = "-".join(groups)
        hashed = await passwords.hash(password)
        user = users.new_user(
            FIRST_EMAIL, hashed, SCOPES, tenants, must_change=True, now=self._clock()
        )

        def work(tx: Transaction) -> None:
            users.insert_user(tx, user)
            tx.events.append(AuthEvent("user.created", user=user.id))

        try:
            await run(self._store, self._clock, self._audit, work)
        except users.EmailTakenError:  # another process was faster, and shows its password
            return None
        return FirstAdmin(FIRST_EMAIL, password)
