"""A server under mixed load for a while is afterwards as it was before.

Visitors read, cut, resume, cancel, go away, read slowly, ask for too much; providers fail. Seeds
decide all choices. ``SOAK_MINUTES`` makes it long (``make soak``: 30), ``SOAK_LOG`` chooses the
log of streams, ``SOAK_SEED`` the choices.
"""

import os
from pathlib import Path
from typing import Final

import pytest

from soak.run import Plan, report, soak
from soak.subject import LOGS
from soak.visits import KINDS

MINUTES: Final = float(os.environ.get("SOAK_MINUTES", "0"))
MOST_MINUTES: Final = 50.0
"""The visitors' tokens are good for an hour."""
LONG: Final = MINUTES > 0
LOG: Final = os.environ.get("SOAK_LOG", LOGS[0])
PLAN: Final = Plan(
    log=LOG,
    seed=int(os.environ.get("SOAK_SEED", "0")),
    visitors=16 if LONG else 8,
    warm_up=60.0 if LONG else 6.0,
    seconds=60.0 * MINUTES if LONG else 12.0,
    retention=30.0 if LONG else 10.0,
    flood=LONG and LOG == "memory",
)
TIMEOUT: Final = 600 + PLAN.seconds * 2 if LONG else 240
TELLING: Final = 200
"""Visits, after which each kind was made, and each limit met."""


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - how it goes; shown with pytest -s


@pytest.mark.timeout(TIMEOUT)
async def test_a_server_is_after_a_load_as_it_was_before(tmp_path: Path) -> None:
    assert MINUTES <= MOST_MINUTES
    assert LOG in LOGS
    outcome = await soak(tmp_path, PLAN, say)
    told = report(PLAN, outcome)
    say(told)
    assert not outcome.problems, told
    if sum(outcome.done.get(kind.visit.__name__, 0) for kind in KINDS) >= TELLING:
        assert {kind.visit.__name__ for kind in KINDS} <= outcome.done.keys()
        assert {"2: 429", "3: 429"} <= outcome.done.keys()
