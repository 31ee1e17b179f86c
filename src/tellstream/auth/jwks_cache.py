"""The key set of one external issuer, kept: rotation, outage and floods of unknown keys survived.

Tokens are verified from memory. The set is fetched again in the background when it is ten minutes
old; while that fails, the old one serves for a day. A token with an unknown ``kid`` may bring one
further fetch forward, once in 30 s whatever comes of it, so forged tokens cost the issuer nothing.
A fetch that succeeds replaces the set: a key that is not in it any more verifies nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
from joserfc.jwk import Key

from tellstream.auth.fetching import FetchError
from tellstream.auth.issuers import NoKeysError
from tellstream.auth.jwks import KeySet, parse_key_set

FRESH_SECONDS: Final = 600.0
"""Age at which a set is fetched again."""
STALE_SECONDS: Final = 24 * 3600.0
"""Age up to which a set serves while no newer one can be had."""
REFRESH_GAP_SECONDS: Final = 30.0
"""Between two fetches for unknown keys, and between two tries in the background."""
LOAD_SECONDS: Final = 15.0
"""For one refresh: metadata at two places and the set, 5 s each."""
WAIT_SECONDS: Final = 5.0
"""A request waits so long for a refresh, then answers with what there is."""
MIN_SLEEP_SECONDS: Final = 1.0
"""Between two looks of the background at the clock: it never spins."""

log = structlog.get_logger("tellstream.auth")


class JwksCache:
    """The ``RefreshableKeySource`` of an external issuer.

    Run ``run`` as long as it is used, then ``close`` it.

    Args:
        issuer: its identifier, for the log.
        load: fetches the document.
        clock: seconds, from anywhere, never going back.
        eager: fetch before the first token asks. Not for an issuer that may have no keys at all.
    """

    def __init__(
        self,
        issuer: str,
        load: Callable[[], Awaitable[bytes]],
        clock: Callable[[], float],
        *,
        eager: bool = True,
    ) -> None:
        self._issuer = issuer
        self._load = load
        self._clock = clock
        self._wanted = eager
        self._set: KeySet | None = None
        self._loaded_at = 0.0
        self._tried_at: float | None = None
        self._asked_at: float | None = None
        self._flight: asyncio.Task[None] | None = None

    def keys(self, kid: str | None) -> Sequence[Key]:
        """Give the keys called ``kid``, or all for None, from memory.

        Raises:
            NoKeysError: there never was a set, or none for a day, or it is empty.
        """
        if self._set is None or self._clock() - self._loaded_at >= STALE_SECONDS:
            raise NoKeysError(self, REFRESH_GAP_SECONDS)
        if not self._set.published:
            raise NoKeysError(self, REFRESH_GAP_SECONDS)
        return self._set.find(kid)

    async def refresh(self) -> bool:
        """Fetch now for a token that found no key; once in 30 s, and one fetch for all who wait.

        Returns:
            Whether a fetch has ended, well or not, since the call.
        """
        if self._flight is None:
            now = self._clock()
            if self._asked_at is not None and now - self._asked_at < REFRESH_GAP_SECONDS:
                return False
            self._asked_at = now
        flight = self._fetch()
        # Not awaited itself: neither a caller that leaves nor a closing cache must end the other.
        await asyncio.wait({flight}, timeout=WAIT_SECONDS)
        return flight.done()

    async def run(self) -> None:
        """Keep the set fresh until cancelled."""
        while True:
            await self.refresh_if_due()
            await asyncio.sleep(max(self.seconds_until_due(), MIN_SLEEP_SECONDS))

    async def refresh_if_due(self) -> None:
        """Fetch in the background's turn; see ``seconds_until_due``."""
        if self.seconds_until_due() <= 0:
            await asyncio.wait({self._fetch()})

    async def close(self) -> None:
        """Stop a fetch that is under way."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait({self._flight})

    def seconds_until_due(self) -> float:
        """Tell when the background is to fetch again: a fresh set waits, a failed try less."""
        now = self._clock()
        if self._set is None and not self._wanted:
            return REFRESH_GAP_SECONDS
        due = self._loaded_at + FRESH_SECONDS if self._set is not None else now
        if self._tried_at is not None:
            due = max(due, self._tried_at + REFRESH_GAP_SECONDS)
        return due - now

    def _fetch(self) -> asyncio.Task[None]:
        """Start a fetch, or join the one that is under way."""
        if self._flight is None:
            self._tried_at = self._clock()
            self._flight = asyncio.get_running_loop().create_task(self._replace())
            self._flight.add_done_callback(self._landed)
        return self._flight

    def _landed(self, _: asyncio.Task[None]) -> None:
        self._flight = None

    async def _replace(self) -> None:
        """Fetch the set and put it in the place of the old one, if it is any good."""
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                fetched = parse_key_set(await self._load())
        except (FetchError, ValueError) as error:
            # Constant words of ours: nothing that was received gets into the log.
            log.warning("issuer.keys_failed", issuer=self._issuer, reason=str(error))
            return
        except TimeoutError:
            log.warning("issuer.keys_failed", issuer=self._issuer, reason="no answer in time")
            return
        if fetched.skipped:
            reasons = sorted(set(fetched.skipped))
            log.warning("issuer.keys_skipped", issuer=self._issuer, reasons=reasons)
        self._set = fetched
        self._wanted = True
        self._loaded_at = self._clock()
