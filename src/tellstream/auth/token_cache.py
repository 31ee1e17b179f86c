"""Tokens that were verified a moment ago, so that a burst of requests costs one signature check.

Keyed by the SHA-256 of the token, so that a memory dump holds no token; bounded in time and count.
It remembers what a token says, never that it is still good: expiry is checked by the caller.
"""

from typing import Final, Generic, TypeVar

T = TypeVar("T")

# A removed key or a changed issuer row takes effect this late at most.
MAX_AGE_SECONDS: Final = 30
# About 2 MB; beyond it the oldest go first.
MAX_ENTRIES: Final = 4096


class TokenCache(Generic[T]):
    """A bounded map from token fingerprints to what the tokens say, first in, first out."""

    def __init__(self) -> None:
        self._entries: dict[bytes, tuple[float, T]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, fingerprint: bytes, now: float) -> T | None:
        """Give what was put under ``fingerprint`` at most 30 s before ``now``, Unix seconds.

        An entry from the future (the clock stepped back) does not count either.
        """
        verified_at, said = self._entries.get(fingerprint, (now, None))
        return said if 0 <= now - verified_at < MAX_AGE_SECONDS else None

    def put(self, fingerprint: bytes, said: T, now: float) -> None:
        """Remember what a token verified at ``now`` says; when full, the oldest entry goes."""
        self._entries.pop(fingerprint, None)  # re-inserted at the end, as the newest
        if len(self._entries) >= MAX_ENTRIES:
            del self._entries[next(iter(self._entries))]
        self._entries[fingerprint] = (now, said)
