"""One generation per Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07).

The event log remembers which stream a key started; of racing requests in different processes it
lets one win. Here is what it cannot do: derive the name it remembers, and make the requests of one
process wait for the one that is just asking, so that they are neither refused nor counted.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from tellstream.core.principals import Ctx
from tellstream.eventlog.base import Idempotency


def idempotency(ctx: Ctx, route: str, key: str, body: bytes) -> Idempotency:
    """Name a request: the key in the scope of its subject and route, and what its body says.

    Args:
        ctx: who asks; the tenant is part of every key of the log already.
        route: the same for all aliases of a route.
        key: the caller's.
        body: valid JSON; the order of its keys and its white space do not matter.
    """
    scope = msgspec.json.encode([ctx.subject, route, key])
    said = msgspec.json.encode(msgspec.json.decode(body), order="sorted")
    return Idempotency(hashlib.sha256(scope).hexdigest(), hashlib.sha256(said).hexdigest())


class Turnstile:
    """Lets one task at a time pass per name."""

    def __init__(self) -> None:
        self._locks: dict[tuple[int, str], tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def one_at_a_time(self, tenant: int, name: str) -> AsyncIterator[None]:
        """Wait until no other task holds the name."""
        key = tenant, name
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = lock, users - 1
