"""Has the way of an answer through the server become dearer? Instructions, against committed ones.

What is counted is in `answer_path.py`, how in `counting.py`: instructions per event, from the
provider's bytes to the reader's, of three recordings in two ways of arriving. Two counts of the
same code differ by a tenth of a percent at most, so 5 % are the code's doing.

`instructions.json` holds the committed figures, a set for each kind of interpreter. The exit status
says what came out:

- 0: all figures are within 5 % of the committed ones. Also without the recordings, which are not
  part of the repository: then nothing is counted, and it says so, as the tests do.
- 1: a figure is more than 5 % above, or below. A gain fails too: while the old figure stands, what
  was gained may be lost again and nobody is told. `make bench-check UPDATE=1` counts, and writes
  the new figures; they are committed with the change that they belong to.
- 2: there is nothing to compare with, because no figures are committed for this kind of
  interpreter, or nothing can be counted, because valgrind is missing. It prints what it counted, if
  it could. That is no success: a check that passes where it knows nothing would stop checking with
  the next Python.

How many instructions an interpreter needs depends on how it was built, and on the libraries in C.
Each set of figures says what it was counted with; what differs here is printed.
"""

import argparse
import json
import os
import platform
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import counting

ROOT: Final = Path(__file__).resolve().parents[1]
FIGURES: Final = ROOT / "benchmarks" / "instructions.json"
RECORDINGS: Final = Path(os.environ.get("TELLSTREAM_RECORDINGS") or ROOT.parent / "shared/streams")
TOLERANCE: Final = 5.0
"""Percent."""
WITHIN: Final = 0
MOVED: Final = 1
UNKNOWN: Final = 2
_PROGRAM: Final = "benchmarks.answer_path"
_LIBRARIES: Final = ("msgspec", "uvicorn", "uvloop")
_KEPT: Final = ("PATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR")
"""Of the environment; more would only move addresses about."""

Counts: TypeAlias = Mapping[str, int]
"""Instructions per event, by case."""


class Verdict(NamedTuple):
    """What came of comparing: the exit status, and lines that say why."""

    status: int
    lines: list[str]


def main() -> int:
    """Count, then compare or write; returns the exit status."""
    options = _options()
    if not (options.recordings / "MANIFEST.json").exists():
        print(f"skipped: no recordings at {options.recordings} (set TELLSTREAM_RECORDINGS)")
        return WITHIN
    reason = counting.missing()
    if reason is not None:
        print(f"cannot count: {reason}", file=sys.stderr)
        return UNKNOWN
    try:
        counted = count(options.recordings, options.case or [])
    except counting.CountError as error:
        print(f"cannot count: {error}", file=sys.stderr)
        return UNKNOWN
    kind, here = interpreter(), facts()
    sets: dict[str, Any] = json.loads(options.figures.read_text())
    if options.update:
        sets[kind] = {"counted_with": here, "instructions_per_event": dict(counted)}
        options.figures.write_text(json.dumps(dict(sorted(sets.items())), indent=2) + "\n")
        print("\n".join(judge(counted, {}).lines))
        print(f"\n{kind}: written to {options.figures}; commit it")
        return WITHIN
    committed = sets.get(kind, {})
    verdict = judge(counted, committed.get("instructions_per_event", {}))
    print("\n".join(verdict.lines))
    print("\n" + "\n".join(explain(kind, verdict.status, here, committed.get("counted_with"))))
    return verdict.status


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--update", action="store_true", help="write the figures, to be committed")
    parser.add_argument("--case", action="append", help="only this one; may be repeated")
    parser.add_argument("--figures", type=Path, default=FIGURES, metavar="FILE")
    parser.add_argument("--recordings", type=Path, default=RECORDINGS, metavar="FOLDER")
    return parser.parse_args()


def count(recordings: Path, cases: list[str]) -> Counts:
    """Count the instructions per event of some cases; of all, if none is named.

    Raises:
        counting.CountError: it could not be done.
    """
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = dict.fromkeys(path for path in (*given, str(ROOT / "src"), str(ROOT)) if path)
    environment |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-m", _PROGRAM, str(recordings), *cases]
    with tempfile.TemporaryDirectory(prefix="tellstream-check-") as folder:
        parts, output = counting.count(command, environment, Path(folder))
    events: dict[str, int] = json.loads(output)
    marked = parts[1::2]  # the others are what came before each case
    return {
        case: round(part / number)
        for (case, number), part in zip(events.items(), marked, strict=True)
    }


def judge(counted: Counts, committed: Counts, tolerance: float = TOLERANCE) -> Verdict:
    """Compare counts with committed ones, a line each."""
    status, lines = WITHIN, []
    width = max(map(len, counted))
    for case, new in counted.items():
        old = committed.get(case)
        line = f"{case:{width}}  {new:>9,} instructions per event"
        if old is None:
            status = UNKNOWN
            lines.append(line)
            continue
        change = 100 * (new / old - 1)
        if abs(change) > tolerance:
            status = status or MOVED
        word = "" if abs(change) <= tolerance else "  DEARER" if change > 0 else "  cheaper"
        lines.append(f"{line}, committed {old:>9,}: {change:+.2f} %{word}")
    return Verdict(status, lines)


def explain(
    kind: str, status: int, here: Mapping[str, str], then: Mapping[str, str] | None
) -> list[str]:
    """Say what a status means and what to do."""
    update = "`make bench-check UPDATE=1` writes what was counted into benchmarks/instructions.json"
    other = [
        f"  {name}: counted with {then.get(name, 'none')}, here {value}"
        for name, value in here.items()
        if then is not None and then.get(name) != value
    ]
    if status == UNKNOWN:
        return [f"{kind}: no committed figure to compare with; {update}. Commit it."]
    if status == WITHIN:
        return [f"{kind}: within {TOLERANCE:g} % of the committed figures", *other]
    lines = [f"{kind}: more than {TOLERANCE:g} % from the committed figures"]
    if other:
        lines += ["Not only the code differs:", *other]
    return [*lines, f"If that is as it should be, {update}; commit it with the change."]


def interpreter() -> str:
    """Name the kind of interpreter that figures belong to."""
    major, minor, *_ = sys.version_info
    return f"{sys.implementation.name} {major}.{minor} {platform.machine()}"


def facts() -> dict[str, str]:
    """Name what the figures depend on besides."""
    configured = str(sysconfig.get_config_var("CONFIG_ARGS") or "").replace("'", "").split()
    build = [word for word in configured if word.startswith(("--enable-optim", "--with-lto"))]
    return {
        "python": f"{platform.python_version()}, {platform.python_compiler()}",
        "build": " ".join(build) or "plain",
        "libc": " ".join(platform.libc_ver()),
        **{name: version(name) for name in _LIBRARIES},
        "valgrind": counting.version(),
    }


if __name__ == "__main__":
    started = time.monotonic()
    ended = main()
    print(f"{time.monotonic() - started:.0f} s")
    sys.exit(ended)
