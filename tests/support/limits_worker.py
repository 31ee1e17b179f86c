"""A worker process for tests of the limits: ``URL LEASE COMMAND NAME COUNT``.

Commands: ``burst`` makes COUNT requests and COUNT admissions at once, when a line arrives, and
prints how many passed; ``hold`` admits COUNT streams, prints ``held`` and keeps them.
"""

import asyncio
import sys

from support.admissions import caller
from tellstream.limits.admission import SharedAdmission
from tellstream.limits.base import Need
from tellstream.limits.places import Places
from tellstream.limits.redis import RedisCounters


async def burst(limits: SharedAdmission, name: str, count: int) -> None:
    who = caller(requests_per_minute=20, concurrent_streams=20)
    print("ready", flush=True)  # noqa: T201 - how it talks to the test
    await asyncio.to_thread(sys.stdin.readline)
    requests = await asyncio.gather(*(limits.take_request(who) for _ in range(count)))
    passed = sum(decision.refusal is None for decision in requests)
    streams = await asyncio.gather(
        *(limits.admit(who, f"{name}-{n}", Need(1)) for n in range(count)), return_exceptions=True
    )
    grants = [one for one in streams if not isinstance(one, BaseException)]
    print(passed, len(grants), flush=True)  # noqa: T201
    await asyncio.to_thread(sys.stdin.readline)
    for grant in grants:
        grant.release()


async def main(url: str, lease: float, command: str, name: str, count: int) -> None:
    counters = RedisCounters(url, lease)
    limits = SharedAdmission(counters, Places(10_000, 1.0), lease / 3)
    await limits.start()
    try:
        if command == "burst":
            await burst(limits, name, count)
        else:
            who = caller(concurrent_streams=100, tokens_per_day=10_000)
            for n in range(count):
                await limits.admit(who, f"{name}-{n}", Need(10, 90))
            print("held", flush=True)  # noqa: T201
            await asyncio.Event().wait()
    finally:
        await limits.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])))
