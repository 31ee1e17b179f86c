"""The counters of many workers, in Redis; see redis_scripts.py for the keys."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from tellstream.limits.counters import LAPSED_SECONDS, Hold, Lease, Outcome, Seed
from tellstream.limits.rates import Policy
from tellstream.limits.redis_calls import Calls, Word
from tellstream.limits.redis_scripts import RENEW, RESERVE, SETTLE, TAKE

RENEWED_AT_ONCE: Final = 500
"""Leases in one call: Redis is busy with them for about a millisecond."""
_NO_CAP: Final = -1


class RedisCounters:
    """The counters of a Redis; see ``Counters``.

    Args:
        url: ``redis://[user:password@]host[:port][/db]`` or ``rediss://…``.
        lease: seconds until a lease that is not renewed runs out.
        lapsed: seconds after that until its reservation is given back.
        clock: Unix seconds, for tests; None: the clock of Redis, one for all workers.

    Raises:
        ValueError: the address cannot be understood.
    """

    def __init__(
        self,
        url: str,
        lease: float = 10.0,
        lapsed: float = LAPSED_SECONDS,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._calls = Calls(url)
        self.local = False
        self._lease = lease
        self._lapsed = lapsed
        self._clock = clock

    async def start(self) -> None:
        """Get ready; Redis need not be there."""
        self._calls.start()

    async def close(self) -> None:
        """Stop."""
        await self._calls.close()

    async def take(
        self, tenant: int, subject: str, rules: Sequence[Policy], *, look: bool = False
    ) -> tuple[list[float | None], float]:
        """See ``Counters.take``."""
        keys = [
            _subject_key(tenant, subject, "rate")
            if rule.name == "subject"
            else _key(tenant, "rate")
            for rule in rules
        ]
        limits = [rule.limit for rule in rules]
        now, *states = await self._calls.run(TAKE, keys, self._now(), int(not look), *limits)
        return [float(state) if state else None for state in states], float(now)

    async def reserve(self, hold: Hold) -> Outcome:
        """See ``Counters.reserve``."""
        caps, need, seed = hold.caps, hold.need, hold.seed
        most = (
            caps.concurrent_streams,
            caps.subject_concurrent_streams,
            caps.tokens_per_day,
            caps.budget_per_month,
        )
        reply = await self._calls.run(
            RESERVE,
            _keys(hold.lease),
            self._now(),
            hold.lease.stream_id,
            self._lease,
            self._lapsed,
            int(hold.more),
            int(hold.lease.by_subject),
            *(_NO_CAP if cap is None else cap for cap in most),
            need.prompt_tokens,
            need.prompt_cost,
            need.token_cost,
            hold.output_tokens,
            hold.needed,
            *(("", 0, 0) if seed is None else (seed.version, *_spent(seed))),
        )
        status, now, granted, version, swept, *held = reply
        return Outcome(status.decode(), float(now), int(granted), int(version), _ids(held), swept)

    async def settle(self, lease: Lease, tokens: int, cost: int, *, used: bool = True) -> None:
        """See ``Counters.settle``."""
        arguments = (self._now(), lease.stream_id, tokens, cost, int(used))
        await self._calls.run(SETTLE, _keys(lease), *arguments)

    async def renew(self, leases: Sequence[Lease]) -> None:
        """See ``Counters.renew``."""
        by_keys: dict[tuple[str, ...], list[str]] = {}
        for lease in leases:
            tenant, subject, stream_id, by_subject = lease
            by_keys.setdefault((_key(tenant, "leases"), _key(tenant, "held")), []).append(stream_id)
            if by_subject:
                own = (_subject_key(tenant, subject, "leases"),)
                by_keys.setdefault(own, []).append(stream_id)
        calls = []
        for keys, streams in by_keys.items():
            rest = iter(streams)
            while portion := list(islice(rest, RENEWED_AT_ONCE)):
                arguments = (self._now(), self._lease, self._lapsed, *portion)
                calls.append(self._calls.run(RENEW, keys, *arguments))
        for reply in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(reply, BaseException):
                raise reply

    def _now(self) -> Word:
        return "" if self._clock is None else repr(self._clock())


def _ids(held: list[list[bytes]]) -> tuple[str, ...]:
    return tuple(name.decode() for names in held for name in names if not name.startswith(b"#"))


def _spent(seed: Seed) -> tuple[int, int]:
    return seed.spent.tokens, seed.spent.cost


def _key(tenant: int, what: str) -> str:
    return f"tellstream:{{t:{tenant}}}:{what}"


def _subject_key(tenant: int, subject: str, what: str) -> str:
    # Subjects are chosen by issuers: of any length, and with any characters.
    digest = hashlib.blake2b(subject.encode(errors="backslashreplace"), digest_size=16)
    return _key(tenant, f"u:{digest.hexdigest()}:{what}")


def _keys(lease: Lease) -> tuple[str, str, str, str]:
    tenant = lease.tenant
    return (
        _key(tenant, "leases"),
        _subject_key(tenant, lease.subject, "leases"),
        _key(tenant, "held"),
        _key(tenant, "spent"),
    )
