"""HTML as a nested list, without what does not change its meaning: to compare two renderers."""

import re
from html.parser import HTMLParser
from typing import Any

VOID = {"br", "hr", "img"}
BLOCKS = {
    "p", "ul", "ol", "li", "blockquote", "pre", "table", "thead", "tbody", "tr", "th", "td", "hr",
    "h1", "h2", "h3", "h4", "h5", "h6", "root",
}  # fmt: skip
DROPPED = {"div", "figure", "span"}  # frames around a part, whose content stays
LEFT_OUT = {"figcaption"}
RENAMED = {"s": "del"}


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root: list[Any] = ["root"]
        self.stack = [self.root]
        self.skipping = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in LEFT_OUT:
            self.skipping += 1
        tag = RENAMED.get(tag, tag)
        if self.skipping or tag in DROPPED:
            return
        if tag == "p" and self.stack[-1][0] == "li":
            self.stack[-1].append(("text", "\n"))
            return  # loose or tight: an appearance
        name = tag
        if tag == "a":
            name = f"a {given.get('href')}"
        if tag in {"th", "td"}:
            side = re.search(r"left|right|center", f"{given.get('style')} {given.get('class')}")
            name = f"{tag} {side[0] if side else ''}".strip()
        if tag == "ol" and given.get("start"):
            name = f"ol {given['start']}"
        node = [name]
        self.stack[-1].append(node)
        if tag not in VOID:
            self.stack.append(node)

    def handle_endtag(self, tag: str) -> None:
        if tag in LEFT_OUT:
            self.skipping -= 1
            return
        tag = RENAMED.get(tag, tag)
        if self.skipping or tag in DROPPED or tag in VOID:
            return
        if self.stack[-1][0].split(" ")[0] == tag:
            self.stack.pop()

    def handle_data(self, data: str) -> None:
        if not self.skipping:
            self.stack[-1].append(("text", data))


def shape(html: str) -> Any:
    """Parse; texts next to each other are joined, space between blocks is dropped."""
    builder = _Builder()
    builder.feed(html)
    return _tidy(builder.root, pre=False)


def _tidy(node: list[Any], *, pre: bool) -> Any:
    name = node[0]
    pre = pre or name == "pre"
    out: list[Any] = [name]
    for child in node[1:]:
        if isinstance(child, tuple):
            if len(out) > 1 and isinstance(out[-1], str):
                out[-1] += child[1]
            else:
                out.append(child[1])
        else:
            out.append(_tidy(child, pre=pre))
    if pre:
        return out
    block = name.split(" ")[0] in BLOCKS
    tidied = [name]
    for n, child in enumerate(out[1:], 1):
        if not isinstance(child, str):
            tidied.append(child)
            continue
        text = re.sub(r"[ \t\n]+", " ", child)
        before, after = out[n - 1] if n > 1 else None, out[n + 1] if n + 1 < len(out) else None
        if block and (before is None or _is_block(before) or _is_break(before)):
            text = text.lstrip(" ")
        if block and (after is None or _is_block(after) or _is_break(after)):
            text = text.rstrip(" ")
        if text:
            tidied.append(text)
    return tidied


def _is_block(node: Any) -> bool:
    return isinstance(node, list) and node[0].split(" ")[0] in BLOCKS


def _is_break(node: Any) -> bool:
    return isinstance(node, list) and node[0] == "br"
