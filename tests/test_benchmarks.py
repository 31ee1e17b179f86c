"""The benchmark measures something: a short run gives sane figures and leaves nothing behind."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks/ is not installed

from benchmarks import logs, report

RUNNER = Path(__file__).parents[1] / "benchmarks" / "run.py"
HERE = [log for log in logs.LOGS if logs.missing(log) is None]


def bench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, RUNNER, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def test_a_quick_run_gives_figures_of_each_log_and_stops_what_it_started(tmp_path: Path) -> None:
    before = children()
    saved = tmp_path / "figures" / "quick.json"
    kept = tmp_path / "kept"
    kept.mkdir()
    done = bench("--quick", "--scenario", "paced-1", "--json", str(saved), TMPDIR=str(kept))
    assert done.returncode == 0, done.stderr
    assert children() == before
    assert list(kept.iterdir()) == []
    saved_report = json.loads(saved.read_text())
    facts = saved_report["machine"]
    assert {"cpu", "cores", "python", "uvloop", "placement", "sqlite", "disk"} <= facts.keys()
    assert saved_report["left_out"].keys() == set(logs.LOGS) - set(HERE)
    result: dict[str, Any] = saved_report["scenarios"]["paced-1"]
    assert list(result["logs"]) == HERE
    check_arrivals(result["direct"])
    _, _, table = done.stdout.partition("\nscenario ")
    lines = table.splitlines()
    for log, figures in result["logs"].items():
        check_arrivals(figures["tellstream"])
        assert figures["added"]["latency_ms"].keys() == {"p50", "p90", "p99"}
        assert figures["cpu_us_per_delta"] > 0
        assert figures["cpu_us_per_request"] is None
        assert figures["rss_mib"] > 10
        assert (figures["over_memory"] is None) == (log == "memory")
        assert (figures["store"] is None) == (log != "redis")
        line = next(x for x in lines if x.split()[:1] == [log])
        assert f"{figures['cpu_us_per_delta']:.1f}" in line.split()
    if "redis" in HERE:
        assert result["logs"]["redis"]["store"]["cpu_us_per_delta"] > 0
    assert "more than memory:" in done.stdout


def check_arrivals(figures: dict[str, Any]) -> None:
    assert 40 < figures["deltas_per_second"] < 60
    latency = figures["latency_ms"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"]


def test_a_log_that_cannot_be_measured_is_left_out_in_plain_words(tmp_path: Path) -> None:
    done = bench("--log", "redis", PATH=str(tmp_path))
    assert done.returncode == 1
    assert "event log redis is left out: redis-server is not on PATH" in done.stderr
    assert "scenario" not in done.stdout


@pytest.mark.parametrize(
    "arguments", [["--scenario", "nope"], ["--seconds", "soon"], ["--log", "paper"]]
)
def test_an_unknown_option_is_refused(arguments: list[str]) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_logs_are_measured_once_each_and_memory_first() -> None:
    assert logs.choose(["sqlite", "memory", "sqlite"])[0] == ["memory", "sqlite"]
    assert logs.choose(None)[0] == HERE


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_redis_runs_only_as_long_as_it_is_measured(tmp_path: Path) -> None:
    others = children()
    with logs.prepared("redis", tmp_path, None) as (url, process):
        assert url.startswith("redis://127.0.0.1:")
        assert process is not None
        assert process.sample().rss > 0
        assert (tmp_path / "appendonlydir").is_dir()
        assert len(children()) == len(others) + 1
    assert children() == others


DIRECT = {"deltas_per_second": 25_000.0}


def measured(cpu: float, latency: float | None) -> dict[str, Any]:
    """One log's figures; the median of the latency, all else being the same."""
    quantiles = None if latency is None else dict.fromkeys(("p50", "p90", "p99"), latency)
    return {
        "tellstream": {
            "latency_ms": quantiles,
            "first_delta_ms": None,
            "deltas_per_second": DIRECT["deltas_per_second"],
        },
        "cpu_us_per_delta": cpu,
        "cpu_us_per_request": None,
        "rss_mib": 70.0,
        "waited_percent": 0.0,
    }


@pytest.mark.parametrize(
    ("cpu", "latency", "says"),
    [
        (60.0, 6.0, "goal met: sqlite at paced-500 adds 10.0 µs CPU per delta (at most 10) and 5"),
        (50.0, 1.0, "goal met: sqlite at paced-500 adds 0.0 µs"),
        (60.1, 1.0, "goal MISSED: sqlite at paced-500 adds 10.1 µs"),
        (50.0, 6.1, "goal MISSED: sqlite at paced-500 adds 0.0 µs CPU per delta (at most 10) and"),
    ],
)
def test_a_goal_is_judged_by_the_difference_to_memory(
    cpu: float, latency: float, says: str
) -> None:
    compared = {"memory": measured(50.0, 1.0), "sqlite": measured(cpu, latency)}
    report.compare(compared)
    (verdict,) = report.verdicts({"paced-500": {"direct": DIRECT, "logs": compared}})
    assert verdict.startswith(says)


def test_a_verdict_says_why_it_should_not_be_trusted() -> None:
    compared = {"memory": measured(50.0, 1.0), "sqlite": measured(50.0, 1.0)}
    compared["memory"]["waited_percent"] = 40.0
    compared["sqlite"]["tellstream"]["deltas_per_second"] = 20_000.0
    report.compare(compared)
    (verdict,) = report.verdicts({"paced-500": {"direct": DIRECT, "logs": compared}})
    busy = "; the machine was busy (40 % waited)"
    assert verdict.endswith(f"{busy}; the server did not keep up (80 % of the deltas)")


@pytest.mark.parametrize(
    "compared",
    [
        {"sqlite": measured(50.0, 1.0)},
        {"memory": measured(50.0, 1.0)},
        {"memory": measured(50.0, None), "sqlite": measured(50.0, None)},
    ],
    ids=["without memory", "without sqlite", "without latencies"],
)
def test_a_goal_that_was_not_measured_is_not_judged(compared: dict[str, Any]) -> None:
    report.compare(compared)
    assert report.verdicts({"paced-500": {"direct": DIRECT, "logs": compared}}) == []
