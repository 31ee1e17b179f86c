"""The Markdown of the chat page, against a well-kept library and against whoever means harm."""

import random
from typing import Any

import pytest
import pytest_asyncio
from markdown_it import MarkdownIt
from playwright.async_api import BrowserContext, Page

from support.server import Running
from web.conftest import MARKDOWN
from web.html_shape import shape

ORACLE = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
RENDER = """async (jobs) => {
    const {Markdown} = await import("./web/markdown-blocks.js");
    const codeBlock = () => {
        const element = document.createElement("pre"), code = document.createElement("code");
        element.append(code);
        return {element, code};
    };
    return jobs.map(([text, cuts]) => {
        const root = document.createElement("div");
        const markdown = new Markdown(root, codeBlock);
        let from = 0;
        for (const cut of [...cuts, text.length]) {
            markdown.write(text.slice(from, cut));
            from = cut;
        }
        markdown.end();
        return root.innerHTML;
    });
}"""
CASES = {
    "paragraphs": "one\ntwo\n\nthree  \nfour\\\nfive\n\n   six",
    "headings": "# a\n## b ##\n### c #d\n#e\n####### f\n\ng\n===\nh *i*\n---\n# \n## x#",
    "emphasis": "*a* **b** ***c*** _d_ __e__ f_g_h *i **j** k* **l *m* n** *o* p* *q",
    "emphasis that is none": "2 * 3 * 4, snake_case_name, ** a **, *a\n\nb*, __init__.py, a*b*c, "
    "\\*d\\*",
    "strikethrough": "~~gone~~ and ~~ not ~~",
    "code": "`a` ``b ` c`` ` d ` `*e*` `unclosed *f*",
    "links": "[a](https://x.example/y?z=1&w=2) [b *c*](https://x.example 'title') "
    "<https://y.example/> "
    "[d](<https://x.example/a>) [e] [f](javascript:1 [g](https://x.example/(h))i",
    "link in emphasis": "**[a](https://x.example)** and [**b**](https://x.example) "
    "*[c](https://x.example*d)*",
    "escapes": "\\# a \\[b\\](c) \\\\ &amp; &lt;b&gt; &copy; &#65; &#x42; &unknown; <b>c</b> & d",
    "bullets": "- a\n- b\n  - c\n    - d\n- e\n\n* f\n+ g\n\npara",
    "numbers": "1. a\n2. b\n   continued\n\n   second\n3. c\n\n7) d\n8) e",
    "mixed lists": "1. a\n   - b\n   - c\n2. d\n   ```\n   code\n   ```\n3. e\n\n    four",
    "a number does not interrupt": "The year\n1984. was\n- a list does\n1. not this",
    "quotes": "> a\nlazy\n> b\n\n> c\n> > d\n> e\n\n> - f\n> - g\n>\n> # h\ni",
    "fences": "```python\na = 1\n\n  b\n```\n~~~\n```\n~~~\n````x y\n```\n````\n```\nopen\n",
    "fence in a list": "- a\n\n  ```js\n  x\n    y\n  ```\n- b",
    "indented code": "a\n\n    code\n      more\n\n    last\nb\n    not code",
    "breaks": "a\n\n---\n***\n_ _ _\n- - -\nb\n\n--\n",
    "table": "| a | b | c |\n|---|:-:|--:|\n| 1 | *2* | `3` |\n| 4 |\n| a\\|b | c | d | e |\n\nend",
    "table after text": "text\n\n| a |\n| - |\n| b |\n\nend\n",
    "no table": "| a | b |\n| 1 | 2 |\n\n|\n\na | b",
    "unicode": "«*a*» **中文**字 a**“b”**c 👩‍💻 *é*",
    "the answer of the pictures": MARKDOWN,
}
SEED = 20261122
RANDOM_TEXTS = 500
PIECES = [
    "word", "two words", "*", "**", "_", "__", "`", "``", "~~", "[", "](https://x.example)", "]",
    "(", ")", " ", "  ", "\n", "\n\n", "\n- ", "\n1. ", "\n> ", "\n# ", "\n```\n", "\n---\n",
    "\\", "!", "&amp;", "<", ">", "\n    ", "\n  ", "é", "…", "1", ".", "#",
]  # fmt: skip


@pytest_asyncio.fixture(loop_scope="session")
async def page(server: Running, context: BrowserContext) -> Page:
    page = await context.new_page()
    await page.goto(server.url + "/")
    return page


async def render(page: Page, jobs: list[tuple[str, list[int]]]) -> list[str]:
    """Render each text, written in pieces that end at its cuts."""
    html: list[str] = await page.evaluate(RENDER, jobs)
    return html


async def test_it_says_what_the_library_says(page: Page) -> None:
    rendered = await render(page, [(text, []) for text in CASES.values()])
    different = []
    for (name, text), html in zip(CASES.items(), rendered, strict=True):
        ours, theirs = shape(html), shape(ORACLE.render(text))
        if ours != theirs:
            different.append(f"{name}\n{text!r}\nours   {ours}\ntheirs {theirs}")
    assert not different, "\n\n".join(different)


async def test_every_cut_gives_the_same(page: Page) -> None:
    for text in CASES.values():
        length = len(text.encode("utf-16-le")) // 2  # as JavaScript counts
        jobs = [(text, list(range(size, length, size))) for size in (length, 1, 2, 3, 7)]
        whole, *cut = await render(page, jobs)
        assert set(cut) == {whole}, text


async def test_random_text_in_random_pieces_gives_what_it_gives_whole(page: Page) -> None:
    source = random.Random(SEED)
    jobs: list[tuple[str, list[int]]] = []
    for _ in range(RANDOM_TEXTS):
        text = "".join(source.choice(PIECES) for _ in range(source.randint(1, 40)))
        some = min(len(text), source.randint(0, 12))
        jobs += [(text, []), (text, sorted(source.sample(range(1, len(text) + 1), some)))]
    rendered = await render(page, jobs)
    for (text, cuts), whole, cut in zip(jobs[1::2], rendered[::2], rendered[1::2], strict=True):
        assert cut == whole, (text, cuts)


HARM = [
    "<script>window.canary = 1</script>",
    "<img src=x onerror='window.canary = 1'>",
    "<svg/onload=window.canary=1>",
    "<a href='javascript:window.canary=1'>x</a>",
    "[click](javascript:window.canary=1)",
    "[click](JaVaScRiPt:window.canary=1)",
    "[click](java\nscript:window.canary=1)",
    "[click](&#106;avascript:window.canary=1)",
    "[click](data:text/html,<script>window.canary=1</script>)",
    "[click](vbscript:window.canary=1)",
    "[click](\u0001javascript:window.canary=1)",
    "<javascript:window.canary=1>",
    "![x](https://evil.example/pixel.png)",
    "[![x](https://evil.example/pixel.png)](javascript:window.canary=1)",
    '[x](https://x.example" onclick="window.canary=1)',
    "```<img src=x onerror=window.canary=1>\n<script>window.canary=1</script>\n```",
    "| <img src=x onerror=window.canary=1> |\n| - |\n| <script>window.canary=1</script> |",
    "&lt;img src=x onerror=window.canary=1&gt;",
    "<style>*{background:url(https://evil.example/)}</style>",
    "[x](//evil.example) [y](/oauth/logout) [z](#a)",
    "[x](mailto:a@b.example?subject=<script>)",
    "https://evil.example/<script>window.canary=1</script>",
    "<iframe src=https://evil.example></iframe><object data=x><embed src=x><form action=x><input>",
    "[id]: javascript:window.canary=1\n\n[id]",
]
LOOK = """async (texts) => {
    const {Markdown} = await import("./web/markdown-blocks.js");
    const tags = new Set(), attributes = new Set(), links = [];
    for (const text of texts) {
        const root = document.createElement("div");
        document.body.append(root);
        const codeBlock = () => {
            const element = document.createElement("pre"), code = document.createElement("code");
            element.append(code);
            return {element, code};
        };
        const markdown = new Markdown(root, codeBlock);
        for (const char of text) markdown.write(char);
        markdown.end();
        for (const element of root.querySelectorAll("*")) {
            tags.add(element.localName);
            for (const attribute of element.attributes) attributes.add(attribute.name);
            const {localName, protocol, rel, target} = element;
            if (localName === "a") links.push([protocol, rel, target]);
        }
    }
    return {tags: [...tags], attributes: [...attributes], links, canary: window.canary ?? null};
}"""


async def test_harmful_text_stays_text(page: Page) -> None:
    seen: Any = await page.evaluate(LOOK, [*HARM, "".join(HARM), "\n\n".join(HARM)])
    assert seen["canary"] is None
    allowed = {
        "a", "blockquote", "br", "code", "del", "div", "em", "h1", "h2", "hr", "li", "ol", "p",
        "pre",
        "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
    }  # fmt: skip
    assert set(seen["tags"]) <= allowed
    assert set(seen["attributes"]) <= {
        "href", "rel", "target", "class", "scope", "role", "tabindex", "aria-label",
    }  # fmt: skip
    assert seen["links"]
    for protocol, rel, target in seen["links"]:
        assert protocol in {"http:", "https:", "mailto:"}
        assert (rel, target) == ("noopener noreferrer nofollow", "_blank")


GROW = """async ([unit, many]) => {
    const {Markdown} = await import("./web/markdown-blocks.js");
    const codeBlock = () => {
        const element = document.createElement("pre"), code = document.createElement("code");
        element.append(code);
        return {element, code};
    };
    const markdown = new Markdown(document.createElement("div"), codeBlock);
    const start = performance.now();
    const text = unit.repeat(many);
    for (let n = 0; n < text.length; n += 50) markdown.write(text.slice(n, n + 50));
    markdown.end();
    return performance.now() - start;
}"""
GROWING = {
    "words": "word ", "letters": "a", "emphasis": "**a** ", "open emphasis": "*a ", "runs": "*",
    "brackets": "[", "links": "[a](https://x.example) ", "open links": "[a](", "ticks": "`a",
    "bold": "**a",
    "underscores": "_a_b", "lines": "a\n", "items": "- a\n", "deeper": "> ", "nested items": "- ",
    "quotes": "> a\n", "cells": "| a | b |\n", "pipes": "|", "fences": "```\na\n", "hashes": "#",
    "breaks": "a  \n", "entities": "&amp;", "tildes": "~~a", "autolinks": "<https://",
    "backslashes": "\\",
    "spaces": "    ", "numbers": "1. ", "newlines": "\n", "stars and text": "*a**b***c",
}  # fmt: skip


TRIES = 3
"""A machine that does other things as well may take longer, but not each time."""


async def test_the_work_is_linear(page: Page) -> None:
    """Four times the text takes some four times as long, and never long at all."""
    for name, unit in GROWING.items():
        many = 6000 // len(unit)
        await page.evaluate(GROW, [unit, many])
        for _ in range(TRIES):
            once = await page.evaluate(GROW, [unit, many])
            four = await page.evaluate(GROW, [unit, many * 4])
            if four < max(10 * once, 200):
                break
        else:
            pytest.fail(f"{name}: {once} ms, then {four} ms")
