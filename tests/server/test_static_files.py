"""Files by exact name, asked for again each time, under a policy that lets nothing in."""

import re
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from support.server import Running
from tellstream.server import static_files
from tellstream.server.static_files import ASSETS, PAGE_ROUTES

WEB = Path(static_files.__file__).parent / "web"
FILES = [
    *(r.path for r in PAGE_ROUTES if "{" not in r.path),
    *(f"/web/{n}" for n in sorted(ASSETS)),
]
TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "ts": "text/plain"}


@pytest.mark.parametrize("path", FILES)
async def test_each_file_has_its_type_and_a_version(server: Running, path: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(server.url + path) as response:
            body = await response.read()
            assert response.status == 200
            assert response.content_type == TYPES.get(path.rpartition(".")[2], "text/html")
            assert response.headers["Cache-Control"] == "no-cache"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            tag = response.headers["ETag"]
        assert body
        for known in (tag, f'"other", W/{tag}'):
            headers = {"If-None-Match": known}
            async with session.get(server.url + path, headers=headers) as response:
                assert (response.status, await response.read()) == (304, b"")
                assert response.headers["ETag"] == tag
        async with session.head(server.url + path) as response:
            assert response.headers["Content-Length"] == str(len(body))
        async with session.get(server.url + path, headers={"If-None-Match": '"x"'}) as response:
            assert response.status == 200


@pytest.mark.parametrize(
    "name",
    ["", "none.js", "docs.js", "oauth.css", "chat.html", "..%2fapp.py", "%2e%2e", "page.css/", "."],
)
async def test_no_other_name_is_served(server: Running, name: str) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(URL(f"{server.url}/web/{name}", encoded=True)) as response,
    ):
        assert response.status == 404


@pytest.mark.parametrize("path", ["/", "/usage"])
async def test_pages_may_load_only_from_here_and_make_no_markup_of_strings(
    server: Running, path: str
) -> None:
    async with aiohttp.ClientSession() as session, session.get(server.url + path) as response:
        policy = response.headers["Content-Security-Policy"]
        page = await response.text()
        assert response.headers["Referrer-Policy"] == "no-referrer"
    allowed = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert allowed == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    # Nothing in the page needs more: no inline script, style or handler, no address elsewhere.
    assert not re.search(r"<style|\sstyle=|\son\w+=|https?://", page)
    for script in re.findall(r"<script(.*?)</script>", page, re.DOTALL):
        assert re.fullmatch(r' (type="module" )?src="web/[a-z-]+\.js">', script)


def test_every_file_of_the_pages_is_in_the_table_and_reads_well() -> None:
    pages = {"chat.html", "usage.html", "docs.html", "docs.js", "docs.css", "oauth.css"}
    others = pages | {"tellstream.js", "tellstream.d.ts"}
    assert {path.name for path in WEB.iterdir()} == ASSETS | others
    sinks = r"(inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\.srcdoc"
    for name in (*ASSETS, "tellstream.js"):
        text = (WEB / name).read_text()
        assert not re.search(sinks, text), name
        assert len(text.splitlines()) <= (520 if name == "tellstream.js" else 400), name
