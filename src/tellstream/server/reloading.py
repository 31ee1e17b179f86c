"""Loading again what the store says of tenants, when it was changed."""

from functools import partial

from pydantic import SecretStr

from tellstream.server.tenancy import Tenancy
from tellstream.storage import credentials, tenants
from tellstream.storage.master_key import MasterKey
from tellstream.storage.store import Store
from tellstream.storage.tenants import MAX_PAGE, StoredTenant


class Reloading:
    """Brings a ``Tenancy`` up to date.

    Args:
        store: where tenants and their keys are.
        master_key: of these keys.
        tenancy: what requests see.
    """

    def __init__(self, store: Store, master_key: MasterKey, tenancy: Tenancy) -> None:
        self._store = store
        self._master_key = master_key
        self._tenancy = tenancy

    async def __call__(self) -> None:
        """Load everything.

        Raises:
            StoreUnavailableError: the store cannot be read.
            StoreSetupError: the master key cannot be used.
        """
        stored: list[StoredTenant] = []
        while True:
            after = stored[-1].id if stored else 0
            work = partial(tenants.listed, ctx=None, after=after)
            page = await self._store.run(None, work, readonly=True)
            stored += page
            if len(page) < MAX_PAGE:
                break
        keys: dict[tuple[int, str], SecretStr | None] = await self._store.run(
            None,
            lambda c: credentials.revealed(c, None, self._master_key.keyring()),
            readonly=True,
        )
        self._tenancy.update(stored, keys)
