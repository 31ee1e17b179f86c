"""Hashing passwords with Argon2id, away from the event loop and a few at a time (rule A14).

One hash takes 64 MiB and some 50 ms of all cores, by design. So at most ``AT_ONCE`` are worked out,
a bounded number wait, and whoever comes then is told to come back: logins cannot starve streams.
"""

import asyncio
import base64
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from tellstream.auth.users import MAX_PASSWORD_CHARS, normalised_password
from tellstream.core.errors import ServerError

AT_ONCE: Final = 2
"""Threads, and so 128 MiB."""
MAX_WAITING: Final = 32
"""Hashes that are worked out or wait: about a second of work."""

T = TypeVar("T")


class Passwords:
    """Hashes and verifies passwords.

    Args:
        hasher: with its cost; by default that of RFC 9106 for small memory.
    """

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._nobody = _unmatchable(self._hasher)
        self._threads = ThreadPoolExecutor(AT_ONCE, "tellstream-passwords")
        self._waiting = 0

    def close(self) -> None:
        """Wait for what is being worked out."""
        self._threads.shutdown()

    async def hash(self, password: str) -> str:
        """Hash a password, for storing.

        Raises:
            ServerError: ``service_unavailable``, too many are waiting.
        """
        return await self._run(lambda: self._hasher.hash(normalised_password(password)))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether ``password`` is the one behind ``stored``.

        Takes as long for a user that does not exist (None) as for one that does.

        Raises:
            ServerError: ``service_unavailable``, too many are waiting.
        """
        return await self._run(lambda: self._verify(stored, password))

    def _verify(self, stored: str | None, password: str) -> bool:
        # Cut, not refused: an answer without a hash would come sooner.
        offered = normalised_password(password)[: MAX_PASSWORD_CHARS + 1]
        try:
            return self._hasher.verify(stored or self._nobody, offered) and stored is not None
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise ServerError("service_unavailable", retry_after=1, reason="password queue is full")
        self._waiting += 1
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        running.add_done_callback(self._done)
        return await asyncio.shield(running)  # a thread cannot be stopped: it counts until done

    def _done(self, running: "asyncio.Future[T]") -> None:
        self._waiting -= 1
        if not running.cancelled():
            running.exception()  # seen, should nobody wait any more


def _unmatchable(hasher: PasswordHasher) -> str:
    """Write a hash of this cost that no password has: its salt and value are random."""
    salt, value = (
        base64.b64encode(secrets.token_bytes(size)).rstrip(b"=").decode()
        for size in (hasher.salt_len, hasher.hash_len)
    )
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${cost}${salt}${value}"
