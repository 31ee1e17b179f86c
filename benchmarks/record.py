"""RESULTS.md: a section per recorded run, the newest first."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks import goals, report

RESULTS: Final = Path(__file__).parent / "RESULTS.md"
NEWEST: Final = "<!-- recorded runs, newest first -->\n"
"""In RESULTS.md, before the first section."""


def commit(folder: Path) -> str:
    """Name the commit of a folder, and whether files differ from it."""

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
        f"## {datetime.now(UTC).date().isoformat()}, commit {facts['commit']}",
        report.markdown(["", "value"], [[name, value] for name, value in facts.items()]),
        *missing,
        report.table(results),
        goals.table(results),
    ]
    before, marker, after = file.read_text().partition(NEWEST)
    section = "\n\n".join(part for part in parts if part)
    file.write_text(f"{before}{marker}\n{section}\n{after}")
