"""Is every place free again? Taking them all is the only proof that needs no look inside.

A stream has two: one of its process, and one of its tenant, which is a lease in the limits' store.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import aiohttp

from soak.subject import CAP, CAPPED, FREE, PLACES, Subject
from soak.visits import START


async def still_taken(subject: Subject) -> list[str]:
    """Take all places of the capped tenant, then all that are left; say which cannot be had."""
    problems = []
    url = subject.server.url + START
    async with AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        headers = {tenant: subject.processes.headers(tenant) for tenant in (FREE, CAPPED)}

        async def take(tenant: int) -> int:
            """Start a stream that lasts; it is left when all of them are."""
            response = await stack.enter_async_context(
                session.post(url, json={"prompt": "x", "model": "lasting"}, headers=headers[tenant])
            )
            return response.status

        of_tenant = await asyncio.gather(*(take(CAPPED) for _ in range(CAP)))
        problems += _refused(f"tenant {CAPPED}", of_tenant)
        if (status := await take(CAPPED)) != 429:
            problems.append(f"tenant {CAPPED} may have more streams than {CAP}: {status}")
        others = await asyncio.gather(*(take(FREE) for _ in range(PLACES - CAP)))
        problems += _refused("the process", others)
        if (status := await take(FREE)) != 503:
            problems.append(f"the process has more places than {PLACES}: {status}")
    return problems


def _refused(whose: str, statuses: Sequence[int]) -> list[str]:
    taken = len(statuses) - statuses.count(200)
    return [f"{taken} places of {whose} are taken by nobody"] if taken else []
