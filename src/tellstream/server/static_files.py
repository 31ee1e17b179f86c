"""The pages for people, their scripts, and the JavaScript client: files, by exact name.

Invariant: only the names of this table are served, so no path can leave the folder; a browser asks
each time whether it still has the right version, so a new server is never mixed with old scripts.
"""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Final, NamedTuple

from tellstream.core.errors import RequestError
from tellstream.server.call import Call
from tellstream.server.route import Handler, Route
from tellstream.server.services import Services

HTML: Final = "text/html; charset=utf-8"
SCRIPT: Final = "text/javascript; charset=utf-8"
STYLE: Final = "text/css; charset=utf-8"
IMAGE: Final = "image/svg+xml"
# Compilers read declarations from disk; a browser shall show them instead of saving them.
DECLARATIONS: Final = "text/plain; charset=utf-8"

_MAY: Final = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    # Pictures that a model made are shown from memory; none is ever loaded from elsewhere.
    "img-src 'self' blob:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    # No string becomes markup or script, not even through a bug of ours: there is no policy that
    # could let one through.
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)
POLICY: Final = "; ".join(_MAY)
"""What the pages may do (Content-Security-Policy)."""

_FILE: Final = {"Cache-Control": "no-cache"}
_PAGE: Final = {
    **_FILE,
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
}
# The client is for any page that may talk to this server; the module itself is no secret.
_CLIENT: Final = {**_FILE, "Access-Control-Allow-Origin": "*"}

_TYPES: Final = {"js": SCRIPT, "css": STYLE, "svg": IMAGE}
ASSETS: Final = frozenset(
    {
        "answer-view.js",
        "answer.js",
        "announcer.js",
        "charts.js",
        "chat.js",
        "composer.js",
        "conversation-list.js",
        "conversations.js",
        "dialogs.js",
        "elements.js",
        "first-token.js",
        "frames.js",
        "highlight.js",
        "icon.svg",
        "markdown-blocks.js",
        "markdown-inline.js",
        "markdown-table.js",
        "outcomes.js",
        "page.css",
        "part-views.js",
        "scrolling.js",
        "session.js",
        "sign-in.js",
        "theme.js",
        "usage-report.js",
        "usage.js",
        "words.js",
    }
)
"""What is served under ``/web/``."""


class _Content(NamedTuple):
    body: bytes
    etag: str


@cache  # at most one per name of the tables
def _content(name: str) -> _Content:
    body = resources.files("tellstream.server").joinpath("web", name).read_bytes()
    return _Content(body, f'"{sha256(body).hexdigest()[:32]}"')


async def _serve(call: Call, name: str, media_type: str, headers: Mapping[str, str]) -> None:
    body, etag = _content(name)
    if etag in _known(call):
        await call.head(304, {**headers, "ETag": etag})
        await call.send({"type": "http.response.body", "body": b""})
        return
    await call.content(body, media_type, {**headers, "ETag": etag})


def _known(call: Call) -> set[str]:
    """Read what versions the browser has."""
    lines = [v.decode("latin-1") for name, v in call.headers if name == b"if-none-match"]
    return {tag.strip().removeprefix("W/") for line in lines for tag in line.split(",")}


def _file(name: str, media_type: str, headers: Mapping[str, str]) -> Handler:
    async def serve(_services: Services, call: Call) -> None:
        await _serve(call, name, media_type, headers)

    return serve


async def asset(_services: Services, call: Call) -> None:
    """Serve a script, a style or a picture of the pages."""
    name = call.path_values["name"]
    if name not in ASSETS:
        raise RequestError("not_found")
    await _serve(call, name, _TYPES[name.rpartition(".")[2]], _FILE)


PAGE_ROUTES: Final = (
    Route("GET", "/", _file("chat.html", HTML, _PAGE), "The chat page"),
    Route("GET", "/usage", _file("usage.html", HTML, _PAGE), "The usage page"),
    Route("GET", "/web/{name}", asset, "Scripts and styles of these pages"),
    Route(
        "GET",
        "/client/tellstream.js",
        _file("tellstream.js", SCRIPT, _CLIENT),
        "The JavaScript client, an ES module",
    ),
    Route(
        "GET",
        "/client/tellstream.d.ts",
        _file("tellstream.d.ts", DECLARATIONS, _CLIENT),
        "Its types",
    ),
)
"""All of them are public: they hold nothing but code, and sign people in themselves."""
PAGE_PATHS: Final = frozenset(route.path for route in PAGE_ROUTES)
