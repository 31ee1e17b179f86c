"""Limits for tests: counters of both kinds, with a clock that only the test moves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tellstream.limits.admission import SharedAdmission, nothing_spent
from tellstream.limits.base import Caller, Caps, History, Need
from tellstream.limits.counters import Counters, Hold, Lease
from tellstream.limits.places import Places

NOON = 1776816000.0 + 12 * 3600  # 2026-04-22, 12:00 UTC
PATIENCE = 20.0


class Clock:
    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def caller(tenant: int = 1, subject: str = "ann", **caps: Any) -> Caller:
    return Caller(tenant, subject, Caps(**caps))


def hold(
    stream_id: str = "s1",
    wanted: int = 10,
    need: Need | None = None,
    *,
    tenant: int = 1,
    subject: str = "ann",
    needed: int | None = None,
    more: bool = False,
    **caps: Any,
) -> Hold:
    """Ask for what is wanted, all of it needed unless told otherwise."""
    by_subject = "subject_concurrent_streams" in caps
    lease = Lease(tenant, subject, stream_id, by_subject)
    return Hold(lease, Caps(**caps), need or Need(5), wanted, needed or wanted, more=more)


@asynccontextmanager
async def admission(
    counters: Counters,
    *,
    places: Places | None = None,
    renew: float = 3600.0,
    history: History = nothing_spent,
) -> AsyncIterator[SharedAdmission]:
    """An admission as one worker has it."""
    made = SharedAdmission(counters, places or Places(1000, 1.0), renew, history)
    await made.start()
    try:
        yield made
    finally:
        await made.close()


async def until(check: Callable[[], object]) -> None:
    """Wait for something that is true soon."""
    async with asyncio.timeout(PATIENCE):
        while not check():  # noqa: ASYNC110 - the background changes it
            await asyncio.sleep(0.005)
