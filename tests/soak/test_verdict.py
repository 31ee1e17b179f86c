"""The judge of soaks, before servers that leak on purpose, and before sound ones."""

from collections.abc import Callable
from typing import Any

import pytest

from soak import verdict
from soak.gauges import Look, Sample
from soak.visits import Known
from tellstream.eventlog.memory import MAX_TOMBSTONES

TASK = "Producer.run"
STREAM = "tellstream.streams.stream.Stream"
TOMBSTONE = "tellstream.eventlog.base.LogEntry"
FILES = {"socket": 5, "tellstream.db": 2}
QUIET = Look(100 << 20, FILES, 10, 0, 0, {"Server.serve": 1}, {STREAM: 0, TOMBSTONE: 50, "dict": 9})
SOUND = QUIET._replace(
    rss=103 << 20,
    descriptors={"socket": 5, "tellstream.db": 7},
    threads=14,
    objects={STREAM: 0, TOMBSTONE: 900, "builtins.dict": 5000},
)
MIB = verdict.MIB
FULL = MAX_TOMBSTONES
"""Streams after which the log in memory keeps no more of them."""


def test_a_sound_server_passes() -> None:
    assert verdict.left_behind(QUIET, SOUND) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"descriptors": {"socket": 6}}, "descriptors of socket: 5 before, 6 after"),
        ({"descriptors": {"pipe": 2}}, "descriptors of pipe: 0 before, 2 after"),
        (
            {"descriptors": {"tellstream.db": 60}},
            "descriptors of tellstream.db: 2 before, 60 after",
        ),
        ({"clients": 1}, "0 connections of clients before, 1 after"),
        ({"upstream": 2}, "0 connections to the provider before, 2 after"),
        ({"threads": 40}, "10 threads before, 40 after"),
        ({"tasks": {"Server.serve": 1, TASK: 1}}, f"tasks of {TASK}: 0 before, 1 after"),
        ({"objects": {STREAM: 1}}, f"objects of {STREAM}: 0 before, 1 after"),
        ({"objects": {"_asyncio.Task": 7}}, "objects of _asyncio.Task: 0 before, 7 after"),
        (
            {"objects": {TOMBSTONE: FULL + 1}},
            f"objects of {TOMBSTONE}: 50 before, {FULL + 1} after",
        ),
    ],
    ids=str,
)
def test_each_thing_that_is_left_behind_is_named(changed: dict[str, Any], said: str) -> None:
    assert verdict.left_behind(QUIET, SOUND._replace(**changed)) == [said]


def samples(streams: range, bytes_of: Callable[[int], float]) -> list[Sample]:
    return [Sample(ended, int(100 * MIB + bytes_of(ended))) for ended in streams]


def judged(during: list[Sample], log: str) -> list[str]:
    return verdict.memory(during[0], during[-1], during, log)


def noise(ended: int) -> float:
    """Two MiB up and down, as sampled memory goes."""
    return (ended * 7919 % 997 / 997 - 0.5) * 4 * MIB


LONG = range(FULL, FULL + 40_000, 20)


@pytest.mark.parametrize("log", ["memory", "sqlite", "redis"])
def test_memory_may_go_up_and_down(log: str) -> None:
    assert judged(samples(LONG, noise), log) == []


def test_tombstones_are_accounted_for_in_the_log_that_keeps_them() -> None:
    filling = samples(range(0, FULL, 20), lambda ended: ended * 1900.0)
    assert judged(filling, "memory") == []
    assert "grew by 18.1 MiB" in judged(filling, "sqlite")[0]


def test_a_leak_of_a_little_per_stream_is_seen_in_a_long_load() -> None:
    leaking = samples(LONG, lambda ended: noise(ended) + 300 * (ended - FULL))
    problems = judged(leaking, "memory")
    assert any("memory grew by" in problem for problem in problems)
    assert any("bytes with each stream" in problem for problem in problems)


def test_a_leak_that_hides_below_the_noise_is_seen_by_its_slope() -> None:
    leaking = samples(LONG, lambda ended: noise(ended) + 215 * (ended - FULL))
    (problem,) = judged([*leaking[:-1], leaking[-1]._replace(rss=leaking[0].rss)], "sqlite")
    assert "bytes with each stream" in problem


def test_a_leak_of_much_is_seen_in_a_short_load() -> None:
    leaking = samples(range(0, 200, 5), lambda ended: 64_000.0 * ended)
    assert "memory grew by" in judged(leaking, "memory")[0]


USAGE = {"prompt_tokens": 3, "completion_tokens": 5}
ROW = {**USAGE, "streams": 1, "estimated_streams": 0}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([ROW], []),
        ([], ["str_1: it has 0 settled usage rows"]),
        ([ROW, ROW], ["str_1: it has 2 settled usage rows"]),
        ([{**ROW, "estimated_streams": 1}], ["str_1: its usage row counts 1 estimated"]),
        ([{**ROW, "prompt_tokens": 4}], ["str_1: its usage row says"]),
    ],
    ids=["right", "none", "twice", "estimated", "another count"],
)
def test_the_account_is_compared_stream_by_stream(
    rows: list[dict[str, Any]], said: list[str]
) -> None:
    found = verdict.account({"str_1": Known(1, USAGE, estimated=False)}, {1: {"str_1": rows}})
    assert len(found) == len(said)
    assert all(problem.startswith(start) for problem, start in zip(found, said, strict=True))
