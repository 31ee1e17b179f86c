"""The pages of the documentation, and the fenced blocks in them."""

import re
import textwrap
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted((ROOT / "docs").rglob("*.md"))
MARKDOWN: Final = [*sorted(ROOT.glob("*.md")), *PAGES]
FENCE: Final = re.compile(r"^( *)```(\w*) ?([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, what follows the language, its text."""

    language: str
    label: str
    text: str


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path) -> list[Block]:
    found = FENCE.findall(path.read_text(encoding="utf-8"))
    return [Block(language, label, textwrap.dedent(text)) for _, language, label, text in found]


def block(path: Path, language: str, label: str = "") -> str:
    """Take the one block of this language and label out of a page."""
    (found,) = [b.text for b in blocks(path) if (b.language, b.label) == (language, label)]
    return found


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def commands(text: str) -> list[tuple[str, str]]:
    """Read a console: each command after ``$ ``, with its continuations, and what it shows."""
    found = re.split(r"^\$ ", text, flags=re.MULTILINE)
    assert not found[0].strip(), "a console begins with a command"
    told = []
    for part in found[1:]:
        lines = part.splitlines()
        end = next(n for n, line in enumerate(lines) if not line.endswith("\\"))
        told.append(("\n".join(lines[: end + 1]), "\n".join(lines[end + 1 :])))
    return told


def shown(pattern: str, output: str) -> bool:
    """Tell whether each line of ``pattern`` is in ``output``.

    A word that ends with an ellipsis is a sample, and so is a time: anything may stand there.
    """
    lines = output.splitlines()
    sample = re.compile(r'[\w.-]*…|(?<="created_at":)\s?\d+')
    samples = [sample.sub("…", line) for line in pattern.splitlines()]
    return all(
        any(re.fullmatch(re.escape(line).replace("…", ".*"), there) for there in lines)
        for line in samples
    )
