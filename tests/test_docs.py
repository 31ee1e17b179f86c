"""The documentation is true: drawn from the code, linked, loadable, and executed."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from support.pages import MARKDOWN, PAGES, ROOT, Block, blocks, name, prose
from support.ports import free_ports
from support.programs import environment
from tellstream import docs
from tellstream.config import load_settings
from tellstream.server.checks import check_available
from tellstream.server.dialects import build_offer

TUTORIALS: Final = [ROOT / "docs/tutorial/first-stream.md"]
"""Those that a shell can follow from the top to the end."""
LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SECONDS: Final = 150


def anchors(path: Path) -> set[str]:
    """The anchors that a Markdown page gets for its headings."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def of_language(language: str, paths: list[Path]) -> list[object]:
    return [
        pytest.param(block, id=f"{name(path)}-{number}")
        for path in paths
        for number, block in enumerate(blocks(path))
        if block.language == language
    ]


# --- generated pages -----------------------------------------------------------------------------


def test_the_generated_pages_are_fresh() -> None:
    assert [name(path) for path in docs.stale()] == [], "run `make docs`"


def test_check_names_what_is_stale(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(docs, "HEADER", "another header")
    assert docs.main(["--check"]) == 1
    assert "events.md" in capsys.readouterr().out


def test_every_key_is_explained_and_nothing_else() -> None:
    keys = {f"{t}.{n}" if t else n for t, n, _ in docs.configuration_keys()}
    assert set(docs.read_words()["configuration"]) == keys


# --- links ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MARKDOWN, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), target
        assert linked.is_relative_to(ROOT), target
        assert not anchor or anchor in anchors(linked), target


def test_the_map_shows_every_page() -> None:
    index = ROOT / "docs/index.md"
    shown = {(index.parent / target).resolve() for target in LINK.findall(prose(index))}
    assert [name(page) for page in PAGES if page not in {*shown, index}] == []


# --- code ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", of_language("python", PAGES))
def test_python_compiles(block: Block) -> None:
    compile(block.text, block.label or "block", "exec")


@pytest.mark.parametrize("block", of_language("toml", MARKDOWN))
def test_configuration_is_accepted(block: Block, tmp_path: Path) -> None:
    (tmp_path / "tellstream.toml").write_text(block.text, encoding="utf-8")
    environ = dict.fromkeys(re.findall(r"env:(\w+)", block.text), "not-a-real-key")
    settings = load_settings(None, environ, tmp_path)
    check_available(settings)
    build_offer(settings, environ)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("path", TUTORIALS, ids=name)
def test_a_tutorial_runs_and_shows_what_it_says(path: Path, tmp_path: Path) -> None:
    told = blocks(path)
    for block in told:
        if block.language == "python":
            (tmp_path / block.label).write_text(block.text, encoding="utf-8")
    (port,) = free_ports(1)
    own = environment(
        TELLSTREAM_PUBLIC_URL=f"http://127.0.0.1:{port}",
        TELLSTREAM_RETRIES__MAX="0",  # the simulator's 429 asks for seconds of patience
    )
    run = subprocess.run(
        ["bash", "-c", script([b for b in told if b.language == "sh"], port)],
        cwd=tmp_path, env=own, capture_output=True, text=True, check=False,
        timeout=SECONDS,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr
    shown = [line for b in told if b.language == "text" for line in b.text.splitlines()]
    missing = [line for line in shown if "…" not in line and line not in run.stdout]
    assert missing == [], run.stdout[-2000:]


def script(told: list[Block], port: int) -> str:
    """Join the blocks; the one labelled ``server`` runs in the background, on a free port."""
    lines = ["set -eu"]
    for block in told:
        text = block.text.strip().replace("127.0.0.1:8000", f"127.0.0.1:{port}")
        if block.label != "server":
            lines.append(text)
            continue
        lines += [
            f"{text} --port {port} > server.log 2>&1 &",
            "SERVER=$!",
            "trap 'kill $SERVER' EXIT",
            f"until curl -sf http://127.0.0.1:{port}/readyz; do kill -0 $SERVER; sleep 0.1; done",
        ]
    return "\n".join(lines)
