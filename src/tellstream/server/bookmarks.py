"""Bookmarks as handlers use them; what they are is said in ``storage/bookmarks.py``."""

import hashlib
from collections.abc import Callable

from tellstream.storage import bookmarks
from tellstream.storage.store import Store


class Bookmarks:
    """Small facts that every worker can find.

    Args:
        store: where they are.
        clock: Unix seconds.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def put(self, tenant: int, name: str, value: str, seconds: float) -> None:
        """Write one, in the place of an earlier one with this name.

        Raises:
            StoreUnavailableError: the store cannot be used.
        """
        now = self._clock()
        await self._store.run(
            None, lambda c: bookmarks.put(c, tenant, name, value, now=now, seconds=seconds)
        )

    async def find(self, tenant: int, name: str) -> str | None:
        """Read one; None: there is none, or none any more.

        Raises:
            StoreUnavailableError: the store cannot be used.
        """
        now = self._clock()
        return await self._store.run(
            None, lambda c: bookmarks.find(c, tenant, name, now), readonly=True
        )

    async def swap(self, tenant: int, name: str, old: str, new: str) -> bool:
        """Change one that still says ``old``; of several who try, one succeeds.

        Raises:
            StoreUnavailableError: the store cannot be used.
        """
        return await self._store.run(None, lambda c: bookmarks.swap(c, tenant, name, old, new))


def digest(*words: str) -> str:
    """Make the name of a bookmark; it tells nothing of the words."""
    framed = "".join(f"{len(word)}:{word}" for word in words)
    return hashlib.sha256(framed.encode()).hexdigest()
