"""What streaming through Tellstream costs, and through others: CPU, latency and memory."""

import argparse
import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import logs, report, wire
from benchmarks.gateways import DIRECT, TELLSTREAM, Gateway
from benchmarks.measure import Figures, measure, medians
from benchmarks.peers import PEERS
from benchmarks.processes import Placement, ProcessError, machine, raise_open_files
from benchmarks.scenarios import SCENARIOS

LATEST: Final = Path(__file__).parent / "results" / "latest.json"
SECONDS: Final = 10.0
QUICK_SECONDS: Final = 2.0
GATEWAYS: Final = {**PEERS, **TELLSTREAM}


def main() -> int:
    """Measure, print, save; return the exit status."""
    options = _options()
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that all processes stop
    raise_open_files()
    gateways = [GATEWAYS[name] for name in options.gateway or GATEWAYS]
    placement = Placement.choose()
    results: dict[str, dict[str, Figures]] = {}
    for name in options.scenario or SCENARIOS:
        runs: dict[str, list[Figures]] = {}
        for _ in range(options.repeat):
            for gateway in (DIRECT, *gateways):
                figures = measure(gateway, SCENARIOS[name], seconds, placement)
                runs.setdefault(gateway.name, []).append(figures)
        results[name] = {gateway: medians(each) for gateway, each in runs.items()}
        report.compare(results[name])
        print(report.table({name: results[name]}), flush=True)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="may be repeated")
    parser.add_argument("--gateway", action="append", choices=GATEWAYS, help="may be repeated")
    parser.add_argument("--seconds", type=float, help=f"to count for (default {SECONDS:g})")
    parser.add_argument("--quick", action="store_true", help=f"count for {QUICK_SECONDS:g} s only")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="show medians")
    parser.add_argument("--json", type=Path, default=LATEST, metavar="FILE", help="where to save")
    return parser.parse_args()


if __name__ == "__main__":
    started = time.monotonic()
    status = main()
    print(f"\n{time.monotonic() - started:.0f} s")
    sys.exit(status)
