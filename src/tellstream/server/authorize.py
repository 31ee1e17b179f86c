"""``/oauth/authorize``, ``/oauth/token`` and ``/oauth/revoke``: between HTTP and the rules.

Invariant (rule A13): whatever these pages answer, it is not cached, not framed, loads nothing from
elsewhere, and tells no other site its address.
"""

from collections.abc import Awaitable, Callable, Mapping
from importlib import resources
from typing import Final, Protocol

from tellstream.auth.authorization_request import PageError
from tellstream.auth.authorization_server import Answer, AuthorizationServer
from tellstream.auth.interaction import (
    ConsentPage,
    LoginPage,
    NoAccessPage,
    PasswordPage,
    Redirect,
)
from tellstream.auth.oauth_errors import OAuthError
from tellstream.auth.sessions import Cookie, csrf_token
from tellstream.auth.token_endpoint import MAX_BODY_BYTES, TokenResponse, parse_form
from tellstream.core.errors import RequestError, ServerError
from tellstream.server import pages
from tellstream.server.body import read_body
from tellstream.server.call import Call

HEADERS: Final = {
    "Cache-Control": "no-store",
    # No form-action: browsers apply it to redirects as well, and the client's own redirect may go
    # on to yet another site. No script can run here, and forms come from our templates only.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
    "Referrer-Policy": "no-referrer",  # the address holds the client's state, later the code
}
BUSY: Final = "The server is busy. Wait a little, then try again."
RETRY_SECONDS: Final = 2
"""Advised when the store, or the threads for passwords, are not to be had."""
_STYLE_HEADERS: Final = {"Cache-Control": "public, max-age=600"}
_HTML: Final = "text/html; charset=utf-8"


class AuthorizationServices(Protocol):
    """What these handlers need of the server's parts."""

    @property
    def authorization(self) -> AuthorizationServer | None:
        """The embedded authorization server, or None if it is off."""

    @property
    def public_url(self) -> str:
        """How the server is reached."""

    @property
    def tenant_names(self) -> Mapping[int, str]:
        """The names of tenants, for people."""

    @property
    def client_address(self) -> Callable[[Call], str]:
        """Tells where a request comes from."""


async def authorize(services: AuthorizationServices, call: Call) -> None:
    """Show the page that a client has sent a person to, or take them back."""
    server = _embedded(services)
    session_id = _cookie(services).read(call.headers)
    await _answer(services, call, server.begin(call.scope["query_string"], session_id))


async def submit(services: AuthorizationServices, call: Call) -> None:
    """Take the form of such a page."""
    server = _embedded(services)
    body = await read_body(call.receive, MAX_BODY_BYTES)
    try:
        form = parse_form(call.headers, b"", body)
    except OAuthError:
        await _page(call, pages.error_page("The form could not be read."), 400)
        return
    session_id = _cookie(services).read(call.headers)
    address = services.client_address(call)
    submitted = server.submit(call.scope["query_string"], session_id, form, address)
    await _answer(services, call, submitted)


async def token(services: AuthorizationServices, call: Call) -> None:
    """Answer the token endpoint."""
    server = _embedded(services)
    body = await read_body(call.receive, MAX_BODY_BYTES)
    await _json(call, await server.token(call.headers, call.scope["query_string"], body))


async def revoke(services: AuthorizationServices, call: Call) -> None:
    """Answer the revocation endpoint."""
    server = _embedded(services)
    body = await read_body(call.receive, MAX_BODY_BYTES)
    await _json(call, await server.revoke(call.headers, call.scope["query_string"], body))


async def log_out(services: AuthorizationServices, call: Call) -> None:
    """End the login of this browser, so that the next sign-in asks for the password.

    The cookie is SameSite=Lax: a form or script of another site does not send it here.
    """
    server = _embedded(services)
    await server.log_out(_cookie(services).read(call.headers))
    await call.json({})


async def style(_services: AuthorizationServices, call: Call) -> None:
    """Serve the style of the pages."""
    content = resources.files("tellstream.server").joinpath("web", "oauth.css").read_bytes()
    await call.content(content, "text/css; charset=utf-8", _STYLE_HEADERS)


async def _answer(services: AuthorizationServices, call: Call, deciding: Awaitable[Answer]) -> None:
    """Show what is decided, or that nothing could be: to the person, as a page."""
    try:
        answer = await deciding
    except PageError as error:
        await _page(call, pages.error_page(error.message), error.status)
    except ServerError as error:
        if error.code != "service_unavailable":
            raise
        headers = {"Retry-After": str(RETRY_SECONDS)}
        await _page(call, pages.error_page(BUSY), error.status, headers)
    else:
        await _show(services, call, answer)


async def _show(services: AuthorizationServices, call: Call, answer: Answer) -> None:
    step, csrf = answer.step, csrf_token(answer.session_id)
    cookie = _cookie(services)
    headers: dict[str, str] = {}
    if cookie.read(call.headers) != answer.session_id:
        headers["Set-Cookie"] = cookie.write(answer.session_id)
    match step:
        case Redirect():
            # A12: 303 makes a GET of a POST; 307 would send the password along.
            await _page(call, b"", 303, headers | {"Location": step.location})
        case LoginPage():
            if step.retry_after:
                headers["Retry-After"] = str(step.retry_after)
            await _page(call, pages.login_page(step, csrf), step.status, headers)
        case PasswordPage():
            await _page(call, pages.password_page(step, csrf), step.status, headers)
        case ConsentPage():
            content = pages.consent_page(step, csrf, services.tenant_names)
            await _page(call, content, 200, headers)
        case NoAccessPage():
            await _page(call, pages.no_access_page(step, csrf), 403, headers)


async def _page(
    call: Call, content: bytes, status: int, headers: Mapping[str, str] | None = None
) -> None:
    await call.content(content, _HTML, {**HEADERS, **(headers or {})}, status)


async def _json(call: Call, answer: TokenResponse) -> None:
    await call.json(answer.body, answer.headers, answer.status)


def _cookie(services: AuthorizationServices) -> Cookie:
    return Cookie(services.public_url.startswith("https:"))


def _embedded(services: AuthorizationServices) -> AuthorizationServer:
    if services.authorization is None:
        raise RequestError("not_found")
    return services.authorization
