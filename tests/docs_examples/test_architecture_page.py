"""docs/architecture.md and its picture: what they name is there, and can be read."""

import re
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import pytest

from support.pages import ROOT, prose
from support.people import CHROMIUM, chromium

PAGE: Final = ROOT / "docs/architecture.md"
PICTURE: Final = ROOT / "docs/architecture.svg"
SOURCE: Final = ROOT / "src/tellstream"
SVG: Final = "{http://www.w3.org/2000/svg}"
OVERFLOW: Final = """() => {
  const boxes = [...document.querySelectorAll("rect:not(.ground), path.state")]
    .map((shape) => shape.getBBox());
  const inside = (text, box) => text.x >= box.x && text.x + text.width <= box.x + box.width
    && text.y >= box.y && text.y + text.height <= box.y + box.height;
  const apart = (text, box) => text.x + text.width <= box.x || text.x >= box.x + box.width
    || text.y + text.height <= box.y || text.y >= box.y + box.height;
  return [...document.querySelectorAll("text")]
    .filter((text) => text.textContent)
    .filter((text) => !boxes.every((box) =>
      inside(text.getBBox(), box) || apart(text.getBBox(), box)))
    .map((text) => text.textContent);
}"""


def boxes() -> dict[str, list[str]]:
    """The boxes of the page's table, each with its files."""
    rows = re.findall(r"^\| ([A-Z][\w ]+) \| .* \| (`.*) \|$", prose(PAGE), re.MULTILINE)
    return {name: re.findall(r"`([^`]+)`", files) for name, files in rows}


def test_every_file_that_the_page_names_is_there() -> None:
    files = [file for named in boxes().values() for file in named]
    assert len(files) > 15
    assert [file for file in files if not (SOURCE / file).is_file()] == []


def test_the_picture_shows_every_box_of_the_page() -> None:
    names = {element.text for element in ET.parse(PICTURE).iter(f"{SVG}text")}
    assert set(boxes()) <= names
    assert f"]({PICTURE.name})" in PAGE.read_text(encoding="utf-8")


def test_the_picture_says_what_it_shows_and_loads_nothing() -> None:
    root = ET.parse(PICTURE).getroot()
    labels = [root.find(f"{SVG}{name}") for name in root.attrib["aria-labelledby"].split()]
    assert all(label is not None and label.text for label in labels)
    assert root.attrib["role"] == "img"
    text = PICTURE.read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"<script|<image|href=|@import|https?://(?!www\.w3\.org/2000/svg)", text)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
async def test_no_text_of_the_picture_leaves_its_box(tmp_path: Path) -> None:
    async with chromium() as browser:
        page = await browser.new_page()
        await page.goto(PICTURE.as_uri())
        assert await page.evaluate(OVERFLOW) == []
