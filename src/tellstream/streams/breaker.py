"""Circuit breakers: do not call what has just failed for most.

A host's breaker counts calls that got no response at all: that is the same for everybody. A
credential's breaker counts what one tenant's use of one model is answered (key refused, account
empty, 5xx, no first token), so that one tenant's or one model's trouble never stops another. Rate
limits count for neither. Pure: time is an argument.
"""

from collections import Counter, deque
from collections.abc import Hashable
from typing import Final

from tellstream.core.errors import ProviderError

WINDOW: Final = 30.0
"""Seconds of history that count."""
MIN_CALLS: Final = 20
"""Calls in the window before a share of them means anything."""
FAILURE_SHARE: Final = 0.5
OPEN_SECONDS: Final = 15.0
"""For which an open breaker refuses before it lets one probe through."""
MAX_KEYS: Final = 10_000
"""Breakers remembered; the longest unused is forgotten."""

_ANSWERED_FAILURES: Final = frozenset(
    {"provider_auth", "provider_quota", "provider_unavailable", "provider_timeout"}
)


class Breaker:
    """One breaker: closed, open, or half open while a probe is under way."""

    __slots__ = ("_calls", "_failures", "_open_until", "_probing")

    def __init__(self) -> None:
        self._calls: deque[tuple[float, bool]] = deque()
        self._failures = 0
        self._open_until: float | None = None
        self._probing = False

    def wait(self, now: float) -> float:
        """Seconds until a call may pass; 0 takes the permission to call."""
        if self._open_until is None:
            return 0.0
        if now < self._open_until:
            return self._open_until - now
        if self._probing:
            return OPEN_SECONDS
        self._probing = True
        return 0.0

    def record(self, now: float, *, failed: bool) -> None:
        """Record how a permitted call ended."""
        if self._open_until is not None:
            if not self._probing:
                return  # a call from before it opened
            self._probing = False
            if failed:
                self._open_until = now + OPEN_SECONDS
            else:
                self._open_until = None
                self._calls.clear()
                self._failures = 0
            return
        self._calls.append((now, failed))
        self._failures += failed
        while self._calls and self._calls[0][0] <= now - WINDOW:
            self._failures -= self._calls.popleft()[1]
        if len(self._calls) >= MIN_CALLS and self._failures >= FAILURE_SHARE * len(self._calls):
            self._open_until = now + OPEN_SECONDS

    def abandon(self) -> None:
        """A permitted call ended without saying anything about the provider (cancelled)."""
        self._probing = False

    @property
    def state(self) -> str:
        """``closed``, ``open`` or ``half-open``."""
        if self._open_until is None:
            return "closed"
        return "half-open" if self._probing else "open"


class Breakers:
    """All breakers of a process, by host and by credential."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, Breaker] = {}

    def check(self, host: str, credential: Hashable, now: float) -> None:
        """Take the permission for one call.

        Args:
            host: where the call goes.
            credential: tenant, provider and model.
            now: seconds.

        Raises:
            ProviderError: ``provider_unavailable``, with the time until a call may pass.
        """
        permitted: list[Breaker] = []
        for breaker in (self._get(credential), self._get(host)):
            wait = breaker.wait(now)
            if not wait:
                permitted.append(breaker)
                continue
            for other in permitted:
                other.abandon()
            raise ProviderError(
                "provider_unavailable", retry_after=wait, reason="the circuit breaker is open"
            )

    def record(
        self, host: str, credential: Hashable, now: float, error: ProviderError | None
    ) -> None:
        """Record how a permitted call ended; None is success."""
        network = error is not None and error.network
        answered = error is not None and not network and error.code in _ANSWERED_FAILURES
        self._get(host).record(now, failed=network)
        self._get(credential).record(now, failed=answered)

    def abandon(self, host: str, credential: Hashable) -> None:
        """A permitted call ended without saying anything about the provider."""
        self._get(host).abandon()
        self._get(credential).abandon()

    def states(self) -> Counter[tuple[str, str]]:
        """Count the breakers by kind (``host``, ``credential``) and state."""
        return Counter(
            ("host" if isinstance(key, str) else "credential", breaker.state)
            for key, breaker in self._by_key.items()
        )

    def _get(self, key: Hashable) -> Breaker:
        breaker = self._by_key.pop(key, None) or Breaker()
        self._by_key[key] = breaker  # now the most recently used
        if len(self._by_key) > MAX_KEYS:
            del self._by_key[next(iter(self._by_key))]
        return breaker
