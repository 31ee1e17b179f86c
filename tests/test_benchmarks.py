"""The benchmark measures something: a short run gives sane figures and leaves nothing behind."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

RUNNER = Path(__file__).parents[1] / "benchmarks" / "run.py"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, RUNNER, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def test_a_quick_run_gives_figures_and_stops_what_it_started(tmp_path: Path) -> None:
    before = children()
    saved = tmp_path / "figures" / "quick.json"
    done = bench("--quick", "--scenario", "paced-1", "--json", str(saved))
    assert done.returncode == 0, done.stderr
    assert children() == before
    assert "paced-1 " in done.stdout
    report = json.loads(saved.read_text())
    assert {"cpu", "cores", "python", "uvloop", "placement"} <= report["machine"].keys()
    figures: dict[str, Any] = report["scenarios"]["paced-1"]
    for way in ("direct", "tellstream"):
        assert 40 < figures[way]["deltas_per_second"] < 60
        latency = figures[way]["latency_ms"]
        assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"]
    assert figures["added"]["latency_ms"].keys() == {"p50", "p90", "p99"}
    assert figures["cpu_us_per_delta"] > 0
    assert figures["cpu_us_per_request"] is None
    assert figures["rss_idle_mib"] > 10


@pytest.mark.parametrize("arguments", [["--scenario", "nope"], ["--seconds", "soon"]])
def test_an_unknown_option_is_refused(arguments: list[str]) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr
