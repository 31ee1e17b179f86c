"""`make bench-check` sees what it is for: code that became dearer, and that it cannot see."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))  # benchmarks/ is not installed

from benchmarks import answer_path, check, counting

from conformance.expected import ROOT as RECORDINGS

CHECK = Path(check.__file__)
CASE = "anthropic thinking, 4 KiB per read"
COUNTED = {"text": 100_000, "tools": 50_000}
SLOWER = """
from tellstream.providers.anthropic_messages import AnthropicMessagesDecoder as Decoder
feed = Decoder.feed
def slower(self, chunk):
    for _ in range(2 * len(chunk)):
        pass
    return feed(self, chunk)
Decoder.feed = slower
"""

recordings = pytest.mark.skipif(
    not (RECORDINGS / "MANIFEST.json").exists(),
    reason=f"no recorded provider streams at {RECORDINGS} (set TELLSTREAM_RECORDINGS)",
)
valgrind = pytest.mark.skipif(counting.missing() is not None, reason=str(counting.missing()))


async def bench_check(*arguments: Any, **environment: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, CHECK, *map(str, arguments),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return process.returncode, said.decode()


@pytest.mark.parametrize(
    ("percent", "status", "word"),
    [
        (0.0, check.WITHIN, ""),
        (4.9, check.WITHIN, ""),
        (-4.9, check.WITHIN, ""),
        (6.0, check.MOVED, "DEARER"),
        (-6.0, check.MOVED, "cheaper"),
    ],
)
def test_a_figure_may_move_by_five_percent(percent: float, status: int, word: str) -> None:
    committed = COUNTED | {"tools": round(COUNTED["tools"] / (1 + percent / 100))}
    verdict = check.judge(COUNTED, committed)
    assert verdict.status == status
    steady, moved = verdict.lines
    assert f"committed   100,000: {0:+.2f} %" in steady
    assert f"{percent:+.2f} %" in moved
    assert moved.endswith(word or "%")


def test_a_figure_without_a_committed_one_is_no_success() -> None:
    assert check.judge(COUNTED, {}).status == check.UNKNOWN
    dearer = check.judge(COUNTED, {"text": 50_000})  # and the other one is unknown
    assert dearer.status == check.UNKNOWN
    assert "DEARER" in dearer.lines[0]


def test_a_failure_names_what_else_differs() -> None:
    here, then = {"python": "3.11.9", "libc": "2.36"}, {"python": "3.11.2", "libc": "2.36"}
    lines = check.explain("cpython 3.11 x86_64", check.MOVED, here, then)
    assert "  python: counted with 3.11.2, here 3.11.9" in lines
    assert not any("libc" in line for line in lines)
    assert "make bench-check UPDATE=1" in lines[-1]


def test_figures_are_committed_for_each_case() -> None:
    for kind, figures in json.loads(check.FIGURES.read_text()).items():
        assert figures["instructions_per_event"].keys() == answer_path.CASES.keys(), kind


@recordings
@pytest.mark.parametrize("case", answer_path.CASES.values(), ids=lambda case: case.name)
def test_each_case_brings_a_whole_answer_to_its_reader(case: answer_path.Case) -> None:
    pieces = case.reads(RECORDINGS)
    assert b"".join(pieces) == (RECORDINGS / case.recording).read_bytes()
    assert uvloop.run(answer_path.answer(case, pieces)) > 50


@recordings
@valgrind
async def test_a_slower_decoder_fails(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    figures.write_text("{}")
    (tmp_path / "sitecustomize.py").write_text(SLOWER)
    common = ("--case", CASE, "--recordings", RECORDINGS, "--figures", figures)
    status, said = await bench_check(*common, "--update")
    assert status == check.WITHIN, said
    assert check.interpreter() in json.loads(figures.read_text())
    status, said = await bench_check(*common, PYTHONPATH=str(tmp_path))
    assert status == check.MOVED, said
    assert "DEARER" in said


async def test_without_recordings_it_is_skipped_and_says_so(tmp_path: Path) -> None:
    status, said = await bench_check("--recordings", tmp_path)
    assert status == check.WITHIN
    assert f"skipped: no recordings at {tmp_path}" in said


async def test_without_valgrind_it_fails_and_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST.json").write_text("[]")
    status, said = await bench_check("--recordings", tmp_path, PATH=str(tmp_path))
    assert status == check.UNKNOWN
    assert "apt-get install valgrind" in said
