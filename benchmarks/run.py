"""What streaming through Tellstream costs: CPU, latency and memory, against the same load without.

Each scenario (scenarios.py) runs straight at a provider simulator once, and then with every event
log (logs.py) through Tellstream in front of the same simulator, with the same client code. What
Tellstream *adds* is the difference to the direct measurement, percentile by percentile; what an
event log costs is the difference to the one in memory.

How it is measured:

- Three processes on loopback: simulator, server, and this one, which is the load (load.py); a
  fourth, redis-server, with the log that needs it. With two processors or more each is pinned, the
  server alone on its own (processes.py). The simulator is started afresh for each scenario, the
  server for each log, with an empty data folder in the folder for temporary files.
- Latency of a delta: paced scenarios ask for stamped words (``stamp=1``): the simulator writes each
  word as the time, in microseconds of the system-wide monotonic clock, at which it hands the word
  to the kernel. The arrival here minus the stamp is exact and needs no assumption about schedules.
- CPU: user and system time of all threads of the server process between the two edges of the
  counted interval, divided by the text deltas (or answers) that arrived here in that interval.
  Streams start before the first edge and end after the second, except where answers are meant to
  follow each other. The same of redis-server, which is not part of the server's figure.
- Memory: resident size of the server after its first answers (idle), when all streams have just
  opened, and at the second edge; its growth per delta is what stays in the process until a stream
  expires.
- "waited" is the share of time in which the server's main thread was ready to run but its processor
  was taken: by a writing thread of the server itself, or by others. Far from zero with the log in
  memory, the machine was busy with other things and latencies say little.
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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import load, logs, report
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
eventlog.url = "{log}"
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
    measured, left_out = logs.choose(options.log)
    for log, reason in left_out.items():
        print(f"event log {log} is left out: {reason}", file=sys.stderr)
    if not measured:
        return 1
    placement = Placement.choose()
    pin(0, placement.load)
    facts = {
        **machine(),
        "placement": str(placement),
        **logs.facts(measured, Path(tempfile.gettempdir())),
    }
    print("\n".join(f"{name:12}{value}" for name, value in facts.items()), end="\n\n", flush=True)
    results = {}
    try:
        for name in options.scenario or SCENARIOS:
            print(f"{name}: {SCENARIOS[name].help} ...", flush=True)
            counted = seconds * SCENARIOS[name].share
            results[name] = measure(SCENARIOS[name], counted, placement, measured)
    except (load.LoadError, ProcessError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    options.json.parent.mkdir(parents=True, exist_ok=True)
    saved = {"machine": facts, "left_out": left_out, "seconds": seconds, "scenarios": results}
    options.json.write_text(json.dumps(saved, indent=2) + "\n")
    parts = [report.table(results), report.comparison(results), *report.verdicts(results)]
    print("".join(f"\n{part}\n" for part in parts if part), end="")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenario", action="append", choices=SCENARIOS, help="may be repeated")
    parser.add_argument(
        "--log", action="append", choices=logs.LOGS, help="event log; may be repeated (default all)"
    )
    parser.add_argument("--seconds", type=float, help=f"to count for (default {SECONDS:g})")
    parser.add_argument("--quick", action="store_true", help=f"count for {QUICK_SECONDS:g} s only")
    parser.add_argument("--json", type=Path, default=LATEST, metavar="FILE", help="where to save")
    return parser.parse_args()


def measure(
    scenario: Scenario, seconds: float, placement: Placement, measured: list[str]
) -> report.Figures:
    """Run one scenario directly, and with each event log; fresh processes."""
    with _folder() as folder:
        port = free_port()
        line = command("simulate", "--port", str(port))
        with running(line, "simulate", port, folder, placement.simulator):
            direct = report.arrived(_put(load.simulator(port), scenario, seconds))
            through = {
                log: _through(log, scenario, seconds, placement, port, direct) for log in measured
            }
    report.compare(through)
    return {"streams": scenario.streams, "direct": direct, "logs": through}


def _through(
    log: str,
    scenario: Scenario,
    seconds: float,
    placement: Placement,
    provider_port: int,
    direct: report.Figures,
) -> report.Figures:
    """Run one scenario through a server with one event log."""
    with ExitStack() as stack:
        folder = stack.enter_context(_folder())
        url, store = stack.enter_context(logs.prepared(log, folder, placement.redis))
        port = free_port()
        config = _configure(folder, port, provider_port, url, scenario.model(seconds))
        token = _token(config, folder)
        line = command("serve", "--config", str(config), "--port", str(port))
        server = stack.enter_context(running(line, "serve", port, folder, placement.server))
        target = load.tellstream(port, token)
        _put(target, WARM_UP, WARM_UP.ramp)
        watched = [server] if store is None else [server, store]
        edges = [_samples(watched)]
        loaded = _put(target, scenario, seconds, lambda: edges.append(_samples(watched)))
    seen = [report.Watched(*samples) for samples in zip(*edges, strict=True)]
    return report.figures(scenario, direct, loaded, seen[0], seen[1] if store else None)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tellstream-bench-") as name:
        yield Path(name)


def _samples(watched: list[Process]) -> list[Sample]:
    return [process.sample() for process in watched]


def _put(
    target: load.Target, scenario: Scenario, seconds: float, edge: Callable[[], None] = lambda: None
) -> load.Load:
    return uvloop.run(load.run(target, scenario, seconds, edge))


def _configure(folder: Path, port: int, provider_port: int, log: str, model: str) -> Path:
    provider = f"http://{load.HOST}:{provider_port}/v1"
    config = _CONFIG.format(host=load.HOST, port=port, provider=provider, log=log)
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
