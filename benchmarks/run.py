"""What streaming costs, through Tellstream and through others: CPU, latency and memory.

Run ``make bench``, ``make bench-peers`` or ``python benchmarks/run.py --help``. How it is measured,
and what the figures mean: RESULTS.md.
"""

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import goals, report, wire
from benchmarks.gateways import DIRECT, TELLSTREAM, WORKERS, Gateway
from benchmarks.measure import Figures, measure, medians
from benchmarks.peers import PEERS
from benchmarks.processes import Placement, machine, raise_open_files
from benchmarks.record import RESULTS, commit, record
from benchmarks.scenarios import SCENARIOS, Scenario

import tellstream

LATEST: Final = Path(__file__).parent / "results" / "latest.json"
SECONDS: Final = 10.0
QUICK_SECONDS: Final = 2.0
MEASURED: Final = Path(tellstream.__file__).parent
GATEWAYS: Final = {**PEERS, **TELLSTREAM}


def main() -> int:
    """Measure, print, save; return the exit status: 1 if Tellstream could not be measured."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that all processes stop
    if reason := wire.missing():
        print(f"benchmarks: {reason}", file=sys.stderr)
        return 1
    gateways, left_out = _choose(
        options.gateway or [*(PEERS if options.peers else ()), *TELLSTREAM]
    )
    for name, reason in left_out.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)
    if not gateways:
        return 1
    facts = _facts(gateways, options)
    print(report.markdown(["", "value"], [[*fact] for fact in facts.items()]), flush=True)
    results: report.Results = {}
    for name in options.scenario or SCENARIOS:
        scenario = SCENARIOS[name]
        print(f"\n{name}: {scenario.help}", flush=True)
        if measured := _measure(scenario, gateways, options):
            results[name] = measured
            print(report.table({name: measured}), flush=True)
    saved = {"machine": facts, "left_out": left_out, "scenarios": results}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(saved, indent=2) + "\n")
    print(f"\n{goals.table(results)}")
    if options.record:
        record(facts, left_out, results, RESULTS)
    ours = [own for each in results.values() for name, own in each.items() if name in TELLSTREAM]
    return int(any("server" not in own for own in ours))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="may be repeated")
    parser.add_argument("--gateway", action="append", choices=GATEWAYS, help="may be repeated")
    parser.add_argument("--peers", action="store_true", help=f"also {', '.join(PEERS)}")
    parser.add_argument("--seconds", type=float, help=f"to count for (default {SECONDS:g})")
    parser.add_argument("--quick", action="store_true", help=f"count for {QUICK_SECONDS:g} s only")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="show medians of N runs")
    parser.add_argument("--json", type=Path, default=LATEST, metavar="FILE", help="where to save")
    parser.add_argument("--record", action="store_true", help=f"put it into {RESULTS.name}")
    options = parser.parse_args()
    options.seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    return options


def _choose(names: list[str]) -> tuple[list[Gateway], dict[str, str]]:
    """Prepare gateways, each once; return those that can be measured, and why others cannot."""
    wanted = [gateway for name, gateway in GATEWAYS.items() if name in names]
    reasons = {gateway.name: gateway.prepare() for gateway in wanted}
    left_out = {name: reason for name, reason in reasons.items() if reason}
    return [gateway for gateway in wanted if gateway.name not in left_out], left_out


def _facts(gateways: list[Gateway], options: argparse.Namespace) -> dict[str, str]:
    facts = {"commit": commit(MEASURED), **machine(), "placement": str(Placement.choose())}
    for gateway in gateways:
        facts |= gateway.facts()
    return {**facts, "counted": f"{options.seconds:g} s, medians of {options.repeat}"}


def _measure(
    scenario: Scenario, gateways: list[Gateway], options: argparse.Namespace
) -> dict[str, Figures]:
    """Put one load through each gateway in turn, as often as asked for; return the medians."""
    files = raise_open_files()
    if scenario.open_files > files:
        print(f"left out: it needs {scenario.open_files} open files, and the hard limit is {files}")
        return {}
    placement = Placement.choose()
    chosen: tuple[Gateway, ...] = (DIRECT, *gateways)
    if scenario.workers:
        if goals.REDIS not in (gateway.name for gateway in gateways):
            return {}
        placement, chosen = Placement.choose(workers=2), (DIRECT, *WORKERS)
    runs: dict[str, list[Figures]] = {gateway.name: [] for gateway in chosen}
    for _ in range(options.repeat):
        for gateway in chosen:
            runs[gateway.name].append(measure(gateway, scenario, options.seconds, placement))
    measured = {name: medians(each) for name, each in runs.items()}
    report.compare(measured)
    return measured


if __name__ == "__main__":
    started = time.monotonic()
    status = main()
    print(f"\n{time.monotonic() - started:.0f} s")
    sys.exit(status)
