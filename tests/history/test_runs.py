"""Seeded runs on real servers: workers killed, stopped and frozen, Redis too, connections cut.

Seeds decide all choices. ``HISTORY_RUNS`` says how many runs there are (a quarter as many with an
SQLite log), ``HISTORY_SEED`` which is the first.
"""

import os
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from history.cluster import cluster
from history.facts import How
from history.run import Outcome, run

RUNS: Final = int(os.environ.get("HISTORY_RUNS", "16"))
FIRST: Final = int(os.environ.get("HISTORY_SEED", "0"))
LONELY_RUNS: Final = RUNS // 4 if "HISTORY_RUNS" in os.environ else 4
BATCH: Final = 25
"""Runs on the same servers."""
TELLING: Final = 20
"""So many runs, and each of the important endings has occurred."""
BATCH_SECONDS: Final = 60 + 20 * BATCH


def batches(count: int) -> list[range]:
    return [range(n, min(n + BATCH, FIRST + count)) for n in range(FIRST, FIRST + count, BATCH)]


async def judged(folder: Path, seeds: range, expected: set[str], *, shared: bool) -> None:
    outcomes: list[Outcome] = []
    async with cluster(folder, shared=shared) as servers:
        for seed in seeds:
            outcomes.append(await run(servers, seed))
            _say(f"{_line(outcomes[-1])}\n{outcomes[-1].report}".rstrip())
    views = sum((outcome.views for outcome in outcomes), Counter())
    endings = sum((outcome.endings for outcome in outcomes), Counter())
    _say(f"{seeds}: views {dict(views)}, endings {dict(endings)}")
    failed = [outcome for outcome in outcomes if outcome.problems]
    assert not failed, "\n\n".join(outcome.report for outcome in failed)
    if len(seeds) >= TELLING:  # it went well because it is good, not because nothing happened
        assert expected <= endings.keys()
        assert {How.CLEAN, How.CUT, How.BROKEN} <= views.keys()


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - what a run did; shown with pytest -s


def _line(outcome: Outcome) -> str:
    return (
        f"seed {outcome.seed}: {outcome.views.total()} views, {outcome.seconds:.2f} s, "
        f"ended after {outcome.end_seconds:.2f} s, {len(outcome.problems)} problems"
    )


@pytest.mark.timeout(BATCH_SECONDS)
@pytest.mark.parametrize("seeds", batches(RUNS), ids=str)
async def test_workers_that_share_a_redis_keep_the_promises(tmp_path: Path, seeds: range) -> None:
    expected = {"Stop", "Cancelled", "worker_lost", "server_draining"}
    await judged(tmp_path, seeds, expected, shared=True)


@pytest.mark.timeout(BATCH_SECONDS)
@pytest.mark.parametrize("seeds", batches(LONELY_RUNS), ids=str)
async def test_a_process_with_its_own_log_keeps_the_promises(tmp_path: Path, seeds: range) -> None:
    expected = {"Stop", "Cancelled", "worker_lost", "server_draining"}
    await judged(tmp_path, seeds, expected, shared=False)
