"""What streaming through Tellstream costs: CPU, latency and memory, against the same load without.

Each scenario (scenarios.py) runs twice: straight at a provider simulator, and through Tellstream in
front of the same simulator, with the same client code. What Tellstream *adds* is the difference of
the two measurements, percentile by percentile.

How it is measured:

- Three processes on loopback: simulator, server, and this one, which is the load (load.py). With
  two processors or more each is pinned, the server alone on its own (processes.py). The server and
  the simulator are started afresh for each scenario.
- Latency of a delta: paced scenarios ask for stamped words (``stamp=1``): the simulator writes each
  word as the time, in microseconds of the system-wide monotonic clock, at which it hands the word
  to the kernel. The arrival here minus the stamp is exact and needs no assumption about schedules.
- CPU: user and system time of the server process between the two edges of the counted interval,
  divided by the text deltas (or answers) that arrived here in that interval. Streams start before
  the first edge and end after the second, except where answers are meant to follow each other.
- Memory: resident size of the server after its first answers (idle), and when all streams have just
  opened; its growth per delta is what the in-memory event log keeps until a stream expires.
- "waited" is the share of time in which the server was ready to run but its processor was taken.
  Far from zero, the machine was busy with other things and latencies say little.
- Machines differ, and virtual ones from hour to hour: "reference" is what decoding one chunk of a
  provider costs here and now. Compare figures of different runs by it.

Run ``make bench``, or ``python benchmarks/run.py --help``. Figures go to the terminal and, as JSON,
to benchmarks/results/latest.json.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import load, report
from benchmarks.processes import (
    Placement,
    Process,
    ProcessError,
    Sample,
    command,
    environment,
    free_port,
    machine,
    pin,
    running,
)
from benchmarks.scenarios import SCENARIOS, WARM_UP, Scenario

LATEST: Final = Path(__file__).parent / "results" / "latest.json"
SECONDS: Final = 10.0
QUICK_SECONDS: Final = 2.0

_CONFIG: Final = """\
public_url = "http://{host}:{port}"
data_dir = "data"
eventlog.url = "memory"
streams.on_disconnect = "cancel"
providers.simulator = {{ dialect = "openai-chat", base_url = "{provider}", api_key = "none" }}
tenants.1.limits = {{ requests_per_minute = 10000000, concurrent_streams = 1000000 }}
"""
_MODEL: Final = 'models."{model}".targets = ["simulator/{model}"]\n'


def main() -> int:
    """Measure, print, save; return the exit status."""
    options = _options()
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # unwinds, so that all processes stop
    placement = Placement.choose()
    pin(0, placement.load)
    facts = machine() | {"placement": str(placement)}
    print("\n".join(f"{name:12}{value}" for name, value in facts.items()), end="\n\n", flush=True)
    results = {}
    try:
        for name in options.scenario or SCENARIOS:
            print(f"{name}: {SCENARIOS[name].help} ...", flush=True)
            results[name] = measure(SCENARIOS[name], seconds * SCENARIOS[name].share, placement)
    except (load.LoadError, ProcessError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    options.json.parent.mkdir(parents=True, exist_ok=True)
    saved = {"machine": facts, "seconds": seconds, "scenarios": results}
    options.json.write_text(json.dumps(saved, indent=2) + "\n")
    print("\n" + report.table(results))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="may be repeated")
    parser.add_argument("--seconds", type=float, help=f"to count for (default {SECONDS:g})")
    parser.add_argument("--quick", action="store_true", help=f"count for {QUICK_SECONDS:g} s only")
    parser.add_argument("--json", type=Path, default=LATEST, metavar="FILE", help="where to save")
    return parser.parse_args()


def measure(scenario: Scenario, seconds: float, placement: Placement) -> report.Figures:
    """Run one scenario both ways, with fresh processes."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tellstream-bench-")))
        port = free_port()
        arguments = ["simulate", "--port", str(port)]
        stack.enter_context(running(arguments, port, folder, placement.simulator))
        direct = _put(load.simulator(port), scenario, seconds)
        server_port = free_port()
        config = _configure(folder, server_port, port, scenario.model(seconds))
        token = _token(config, folder)
        arguments = ["serve", "--config", str(config), "--port", str(server_port)]
        server = stack.enter_context(running(arguments, server_port, folder, placement.server))
        target = load.tellstream(server_port, token)
        _put(target, WARM_UP, WARM_UP.ramp)
        edges = [server.sample()]
        through = _put(target, scenario, seconds, server, edges)
    return report.figures(scenario, direct, through, edges)


def _put(
    target: load.Target,
    scenario: Scenario,
    seconds: float,
    server: Process | None = None,
    edges: list[Sample] | None = None,
) -> load.Load:
    def edge() -> None:
        if server is not None and edges is not None:
            edges.append(server.sample())

    return uvloop.run(load.run(target, scenario, seconds, edge))


def _configure(folder: Path, port: int, provider_port: int, model: str) -> Path:
    provider = f"http://{load.HOST}:{provider_port}/v1"
    config = _CONFIG.format(host=load.HOST, port=port, provider=provider)
    models = dict.fromkeys((model, WARM_UP.model(0)))
    path = folder / "tellstream.toml"
    path.write_text(config + "".join(_MODEL.format(model=name) for name in models))
    return path


def _token(config: Path, folder: Path) -> str:
    arguments = command("token", "--config", str(config), "--tenant", "1")
    made = subprocess.run(
        arguments, cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise ProcessError(f"no token: {made.stderr.strip()}")
    return made.stdout.strip()


if __name__ == "__main__":
    started = time.monotonic()
    status = main()
    print(f"\n{time.monotonic() - started:.0f} s")
    sys.exit(status)
