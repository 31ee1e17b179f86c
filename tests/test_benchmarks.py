"""The benchmarks give figures, judge them by the goals, and leave nothing behind."""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import psutil
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks/ is not installed

from benchmarks import gateways, goals, logs, peers, record, report, wire
from benchmarks.gateways import DIRECT, Gateway, Running, Site
from benchmarks.measure import Figures, measure, medians
from benchmarks.processes import Placement, ProcessError
from benchmarks.scenarios import SCENARIOS, Scenario

ROOT: Final = Path(__file__).parents[1]
RUNNER: Final = ROOT / "benchmarks" / "run.py"
HERE: Final = [log for log in logs.LOGS if logs.missing(log) is None]

compiled = pytest.mark.skipif(wire.missing() is not None, reason=str(wire.missing()))


# --- the command ---------------------------------------------------------------------------------


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


@compiled
def test_a_run_gives_figures_of_each_log_and_stops_what_it_started(tmp_path: Path) -> None:
    before = children()
    saved = tmp_path / "figures" / "quick.json"
    kept = tmp_path / "kept"
    kept.mkdir()
    measured = [f"tellstream-{log}" for log in HERE if log != "sqlite"]
    asked = ["--seconds", "1", "--scenario", "paced-1", "--json", str(saved)]
    done = bench(*asked, *(f"--gateway={name}" for name in measured), TMPDIR=str(kept))
    assert done.returncode == 0, done.stderr
    assert children() == before
    assert list(kept.iterdir()) == []
    told = json.loads(saved.read_text())
    assert {"commit", "cpu", "cores", "python", "uvloop", "placement"} <= told["machine"].keys()
    assert told["left_out"] == {}
    result: dict[str, Any] = told["scenarios"]["paced-1"]
    assert list(result) == ["direct", *measured]
    for name, figures in result.items():
        assert 20 < figures["deltas_per_second"] < 100
        latency = figures["latency_ms"]
        assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
        assert f"| {name} " in done.stdout
        if name == "direct":
            continue
        assert figures["added"]["latency_ms"]["p50"] > 0
        assert figures["server"]["cpu_us_per_delta"] > 0
        assert figures["server"]["cpu_us_per_request"] is None
        assert figures["server"]["rss_mb"] >= figures["server"]["rss_idle_mb"] * 0.9 > 10
        assert (figures["store"] is None) == (name != "tellstream-redis")
        assert f" {figures['server']['cpu_us_per_delta']:,.1f} |" in done.stdout


def test_a_gateway_that_cannot_be_measured_is_left_out_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "cc").symlink_to("/bin/true")  # only found, not used
    done = bench("--gateway", "tellstream-redis", PATH=str(tmp_path))
    assert done.returncode == 1
    assert "tellstream-redis is left out: redis-server is not on PATH" in done.stderr
    assert "scenario" not in done.stdout


def test_without_a_compiler_it_says_what_to_install(tmp_path: Path) -> None:
    done = bench(PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        "benchmarks: no C compiler: cc is not on PATH (Debian: gcc and libc6-dev)\n"
    )


@pytest.mark.parametrize(
    "arguments", [["--scenario", "nope"], ["--seconds", "soon"], ["--gateway", "paper"]]
)
def test_an_unknown_option_is_refused(arguments: list[str]) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr


@compiled
def test_a_scenario_that_needs_too_many_files_is_left_out_in_plain_words() -> None:
    line = [sys.executable, str(RUNNER), "--scenario", "open-4000"]
    done = subprocess.run(
        [*line, "--gateway", "tellstream-memory", "--json", os.devnull],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (4_000, 4_000)),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "left out: it needs 8500 open files, and the hard limit is 4000" in done.stdout


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_redis_runs_only_as_long_as_it_is_measured(tmp_path: Path) -> None:
    others = children()
    with logs.prepared("redis", tmp_path, frozenset()) as (url, process):
        assert url.startswith("redis://127.0.0.1:")
        assert process is not None
        assert process.sample().rss > 0
        assert (tmp_path / "appendonlydir").is_dir()
        assert len(children()) == len(others) + 1
    assert children() == others


# --- other gateways ------------------------------------------------------------------------------

SHORT: Final = Scenario("short", "", 16, rate=50, ramp=0.2)


@compiled
@pytest.mark.skipif(peers.PEERS["nginx"].prepare() is not None, reason="nginx is not installed")
def test_nginx_passes_everything_on() -> None:
    others = children()
    figures = measure(peers.PEERS["nginx"], SHORT, 0.5, Placement.choose())
    assert children() == others
    assert figures["answers_per_second"] == 0
    assert figures["deltas_per_second"] > 10
    assert figures["server"]["cpu_us_per_delta"] > 0
    assert figures["server"]["rss_mb"] > 1


@compiled
def test_a_gateway_that_does_not_start_or_answer_has_failed_and_stops_nobody(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(site: Site) -> NoReturn:
        raise ProcessError("it\nsays why")

    @contextmanager
    def refusing(site: Site) -> Iterator[Running]:
        yield Running(site.provider, lambda model: wire.request(site.provider, "/", {}, {}), [])

    reasons = [
        measure(Gateway("peer", run), SHORT, 0.5, Placement())["failed"]
        for run in (broken, refusing)
    ]
    assert reasons == ["it says why", "answered HTTP/1.1 404 Not Found: {}"]
    assert "short, peer: it\nsays why\n" in capsys.readouterr().err


def test_a_peer_is_installed_once_per_version_or_says_why_not(tmp_path: Path) -> None:
    folder, pinned = tmp_path / "peer", tmp_path / "pinned"
    pinned.touch()
    os.utime(pinned, (1, 1))
    assert peers._install(folder, pinned, [["no-such-program"]]) == (
        "no-such-program: No such file or directory"
    )
    assert peers._install(folder, pinned, [["sh", "-c", "echo no such version; exit 1"]]) == (
        "sh failed: no such version"
    )
    assert peers._install(folder, pinned, [["touch", "one"]]) is None
    assert peers._install(folder, pinned, [["touch", "two"]]) is None
    assert [(folder / name).exists() for name in ("one", "two")] == [True, False]
    os.utime(pinned)
    os.utime(folder / "installed", (1, 1))
    assert peers._install(folder, pinned, [["touch", "two"]]) is None
    assert [(folder / name).exists() for name in ("one", "two")] == [False, True]


# --- medians, goals, history ---------------------------------------------------------------------


def figures(cost: float, **more: Any) -> Figures:
    server = {"cpu_us_per_delta": cost, "cpu_us_per_request": None, "waited_percent": 0.0}
    return {"server": server, "store": None, "failed": None, "invalid": None, **more}


def test_medians_are_of_valid_runs_and_tell_what_happened_in_some() -> None:
    lost = {"failed": "answered 500", "invalid": None}
    runs = [figures(30.0), figures(99.0, invalid="late"), figures(20.0), lost, figures(22.0)]
    median = medians(runs)
    assert median["server"]["cpu_us_per_delta"] == 22.0
    assert median["store"] is None
    assert (median["failed"], median["invalid"]) == (None, None)
    assert median["notes"] == ["1 of 5 runs: answered 500", "1 of 5 runs: late"]
    most = medians([figures(1.0, failed="slow"), figures(2.0), figures(4.0, failed="slower")])
    assert (most["server"]["cpu_us_per_delta"], most["failed"]) == (2.0, "slow")
    assert medians([lost, lost]) == {**lost, "notes": []}


def run_of(scenario: str, **gateways: Figures) -> report.Results:
    """One scenario with figures of some gateways, underscores for hyphens in their names."""
    measured = {DIRECT.name: figures(0.0)}
    measured |= {name.replace("_", "-"): medians([own]) for name, own in gateways.items()}
    measured[DIRECT.name] = medians([measured[DIRECT.name]])
    report.compare(measured)
    return {scenario: measured}


def verdict(results: report.Results, goal: str) -> list[str]:
    (found,) = [row for row in goals.verdicts(results) if row[0] == goal]
    return found[2:]


@pytest.mark.parametrize(
    ("cost", "more", "says"),
    [
        (15.0, {}, ["≤ 2, better 1.5", "1.50", "met, and better"]),
        (20.0, {}, ["≤ 2, better 1.5", "2.00", "met"]),
        (20.1, {}, ["≤ 2, better 1.5", "2.01", "MISSED"]),
        (9.0, {"failed": "slow"}, ["≤ 2, better 1.5", "0.90", "MISSED: tellstream-memory: slow"]),
        (
            9.0,
            {"invalid": "late"},
            ["≤ 2, better 1.5", "0.90", "not judged: tellstream-memory: late"],
        ),
    ],
)
def test_a_goal_is_judged_against_the_floor_of_the_same_run(
    cost: float, more: dict[str, Any], says: list[str]
) -> None:
    results = run_of("paced-500", nginx=figures(10.0), tellstream_memory=figures(cost, **more))
    assert verdict(results, "memory / nginx, CPU") == says
    assert verdict(results, "sqlite / nginx, CPU")[1:] == ["", "not measured"]


def test_a_peer_that_does_not_hold_is_compared_all_the_same() -> None:
    slow = figures(700.0, failed="50 answers did not end")
    results = run_of("saturation", litellm=slow, tellstream_memory=figures(10.0))
    assert verdict(results, "litellm / memory, CPU") == [
        "≥ 60",
        "70.00",
        "met; litellm did not hold",
    ]


def test_a_verdict_says_that_the_machine_was_busy() -> None:
    results = run_of("paced-500", nginx=figures(10.0), tellstream_memory=figures(20.0))
    results["paced-500"]["nginx"]["server"]["waited_percent"] = 40.0
    assert verdict(results, "memory / nginx, CPU")[2] == (
        "met; the machine was busy: nginx waited 40 %"
    )


def test_every_goal_is_about_a_scenario_and_gateways_that_there_are() -> None:
    known = {*peers.PEERS, *gateways.TELLSTREAM, *(gateway.name for gateway in gateways.WORKERS)}
    for goal in goals.GOALS:
        assert goal.scenario in SCENARIOS
        assert {goal.gateway, goal.over or goal.gateway} <= known


def test_figures_are_laid_out_in_markdown_without_empty_columns() -> None:
    results = run_of("paced-500", nginx=figures(10.0), tellstream_memory=figures(25.0, failed="no"))
    assert (
        report.table(results)
        == """\
| scenario  | gateway           | µs/delta | / nginx | waited % |                  |
| --------- | ----------------- | -------: | ------: | -------: | ---------------- |
| paced-500 | direct            |      0.0 |         |        0 |                  |
| paced-500 | nginx             |     10.0 |    1.00 |        0 |                  |
| paced-500 | tellstream-memory |     25.0 |    2.50 |        0 | **not held**: no |"""
    )


def test_recorded_runs_are_kept_newest_first(tmp_path: Path) -> None:
    file = tmp_path / "RESULTS.md"
    file.write_text(record.RESULTS.read_text().partition(record.NEWEST)[0] + record.NEWEST)
    results = run_of("paced-500", nginx=figures(10.0), tellstream_memory=figures(20.0))
    for commit in ("first", "second"):
        record.record({"commit": commit}, {"portkey": "no npm"}, results, file)
    text = file.read_text()
    assert text.startswith("# Results\n")
    assert 0 < text.index("commit second\n") < text.index("commit first\n")
    assert text.count("\nportkey was left out: no npm.\n") == 2
    assert text.count(" 2.00 |") == 4
    assert text.count("| met ") == 2
    assert "\n\n\n" not in text


def test_the_commit_is_named(tmp_path: Path) -> None:
    assert record.commit(ROOT).split()[0].isalnum()
    assert record.commit(tmp_path) == "unknown"
