"""RESULTS.md: a section per recorded run, the newest first."""

import subprocess
from datetime import date
from pathlib import Path
from typing import Final

from benchmarks import goals, report

RESULTS: Final = Path(__file__).parent / "RESULTS.md"
_NEWEST: Final = "<!-- recorded runs, newest first -->\n"


def commit() -> str:
    """Name the commit that is measured, and whether files differ from it."""
    folder = Path(__file__).parent

    def git(*words: str) -> str:
        line = ["git", "-C", str(folder), *words]
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()

    try:
        name = git("rev-parse", "--short=12", "HEAD")
        return f"{name} with changes" if git("status", "--porcelain", "-uno") else name
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def record(
    facts: dict[str, str], left_out: dict[str, str], results: report.Results, file: Path = RESULTS
) -> None:
    """Put a run before the others."""
    missing = [f"{name} was left out: {reason}." for name, reason in left_out.items()]
    parts = [
        f"## {date.today().isoformat()}, commit {facts['commit']}",
        report.markdown(["", "value"], [[name, value] for name, value in facts.items()]),
        *missing,
        report.table(results),
        goals.table(results),
    ]
    before, marker, after = file.read_text().partition(_NEWEST)
    section = "\n\n".join(part for part in parts if part)
    file.write_text(f"{before}{marker}\n{section}\n{after}")
