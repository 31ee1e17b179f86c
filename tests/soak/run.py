"""One soak: a warm-up, a load, and what the server looks like before and after it."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp

from history.run import tells_of_a_bug
from soak import verdict
from soak.gauges import Gauges, Look, Sample
from soak.places import still_taken
from soak.subject import CAPPED, FREE, HURRIED, Subject, subject
from soak.visits import Visitors, visitors
from tellstream.eventlog.memory import MAX_TOMBSTONES

SAMPLE_SECONDS: Final = 1.0
SWEEP_SECONDS: Final = 2.0
"""For the log to be swept, after its retention."""
FLOOD_AT_ONCE: Final = 20
"""Of the shortest streams, until the log in memory has all the tombstones it may have."""
SHOWN: Final = 30
"""Problems; the first tell most."""


class Plan(NamedTuple):
    """How a server is soaked.

    Attributes:
        log: of streams.
        seed: of what visitors do.
        visitors: at once.
        warm_up: seconds, until whatever is made once was made.
        seconds: of the load.
        retention: seconds for which finished streams are kept.
        flood: fill the log's tombstones first, so that memory must be flat and not only explained.
    """

    log: str
    seed: int
    visitors: int
    warm_up: float
    seconds: float
    retention: float
    flood: bool


class Outcome(NamedTuple):
    """What came of it: problems, what was done, and memory before, during and after the load."""

    problems: list[str]
    done: dict[str, int]
    before: Sample
    during: list[Sample]
    after: Sample


async def soak(folder: Path, plan: Plan, say: Callable[[str], None]) -> Outcome:
    """Soak a server."""
    async with (
        subject(folder, plan.log, plan.retention) as server,
        visitors(server, plan.seed) as visiting,
    ):
        gauges = Gauges(server)
        problems: list[str] = []
        at_rest = plan.retention + SWEEP_SECONDS
        began = time.monotonic()

        def tell(phase: str, sample: Sample) -> None:
            minutes, seconds = divmod(int(time.monotonic() - began), 60)
            say(
                f"{minutes:3}:{seconds:02} {phase}: {sample.ended} streams ended, "
                f"{sample.rss / verdict.MIB:.1f} MiB"
            )

        async def settled(phase: str) -> tuple[Sample, Look]:
            problems.extend(f"{phase}: {left}" for left in await gauges.quiet(at_rest))
            look = await gauges.look()
            sample = Sample((await gauges.sample()).ended, look.rss)
            tell(phase, sample)
            return sample, look

        if plan.flood:
            await _flood(visiting)
            tell("flooded", await gauges.sample())
        await visiting.try_everything()
        await visiting.come(plan.visitors, plan.warm_up, "warm-up")
        tell("warm", await gauges.sample())
        before, look_before = await settled("before")
        during: list[Sample] = []
        sampling = asyncio.create_task(_sample(gauges, during, tell))
        try:
            await visiting.come(plan.visitors, plan.seconds, "load")
        finally:
            sampling.cancel()
            await asyncio.wait({sampling})
        tell("loaded", await gauges.sample())
        after, look_after = await settled("after")
        problems += visiting.problems
        problems += verdict.left_behind(look_before, look_after)
        problems += verdict.memory(before, after, during, plan.log)
        problems += verdict.account(visiting.known, await _report(server))
        problems += await still_taken(server)
        said = server.server.errors.splitlines()
        problems += [f"the server said: {line}" for line in said if tells_of_a_bug(line)]
        return Outcome(problems, dict(visiting.done), before, during, after)


async def _flood(visiting: Visitors) -> None:
    """Make as many streams end as the log in memory remembers."""

    async def one_after_the_other() -> None:
        for _ in range(MAX_TOMBSTONES // FLOOD_AT_ONCE + 1):
            await visiting.quick()

    await asyncio.gather(*(one_after_the_other() for _ in range(FLOOD_AT_ONCE)))


async def _sample(
    gauges: Gauges, samples: list[Sample], tell: Callable[[str, Sample], None]
) -> None:
    """Note memory until cancelled; tell it once a minute."""
    while True:
        samples.append(await gauges.sample())
        if not len(samples) % 60:
            tell("during", samples[-1])
        await asyncio.sleep(SAMPLE_SECONDS)


async def _report(server: Subject) -> dict[int, dict[str, list[dict[str, Any]]]]:
    """Read the whole usage report of each tenant."""
    report = {}
    async with aiohttp.ClientSession() as session:
        for tenant in (FREE, CAPPED, HURRIED):
            rows: dict[str, list[dict[str, Any]]] = {}
            headers = server.processes.headers(tenant)
            query: str | None = "by=stream&limit=1000"
            while query is not None:
                address = f"{server.server.url}/v1/usage?{query}"
                async with session.get(address, headers=headers) as response:
                    answer = await response.json()
                assert response.status == 200, json.dumps(answer)
                for row in answer["data"]:
                    rows.setdefault(row["stream"], []).append(row)
                cursor = answer["meta"]["cursor"]
                query = f"by=stream&limit=1000&cursor={cursor}" if cursor else None
            report[tenant] = rows
    return report


def report(plan: Plan, outcome: Outcome) -> str:
    """Tell a soak in some lines."""
    grown = (outcome.after.rss - outcome.before.rss) / verdict.MIB
    streams = outcome.after.ended - outcome.before.ended
    half = outcome.during[len(outcome.during) // 2 :]
    rise = f", {verdict.slope(half):+.0f} bytes per stream in the second half" if half else ""
    lines = [
        f"{plan}",
        f"{streams} streams, memory {grown:+.1f} MiB{rise}",
        f"done: {', '.join(f'{name} {count}' for name, count in sorted(outcome.done.items()))}",
        f"{len(outcome.problems)} problems",
        *outcome.problems[:SHOWN],
    ]
    return "\n".join(lines)
