"""Who may pass: every route of the application's own table, and each kind of caller."""

import time
from typing import Any, NamedTuple

import aiohttp
import pytest
from multidict import CIMultiDictProxy

from support.chat import ask
from support.server import Running
from tellstream.auth.issuers import embedded_issuer
from tellstream.auth.keys import SigningKeys
from tellstream.auth.tokens import sign_token
from tellstream.core.principals import SCOPES
from tellstream.server.route import Route
from tellstream.server.routes import PUBLIC, ROUTES

PROTECTED = [route for route in ROUTES if route.path not in PUBLIC]
METADATA = "http://127.0.0.1:8000/.well-known/oauth-protected-resource"
CHALLENGE = f'Bearer realm="tellstream", resource_metadata="{METADATA}"'
UNKNOWN = "str_00000000000000000000000000"


class Refusal(NamedTuple):
    """How a route answered."""

    route: str
    status: int
    body: Any
    headers: CIMultiDictProxy[str]


async def call(
    server: Running, route: Route, headers: dict[str, str]
) -> tuple[int, CIMultiDictProxy[str], Any]:
    url = server.url + route.path.replace("{id}", UNKNOWN).replace("{name}", "page.css")
    body = {"prompt": "x"} if route.method == "POST" else None
    async with (
        aiohttp.ClientSession() as session,
        session.request(route.method, url, headers=headers, json=body) as response,
    ):
        payload = await response.json() if response.content_type == "application/json" else None
        return response.status, response.headers, payload


async def every_route(server: Running, headers: dict[str, str]) -> list[Refusal]:
    """Ask each route that is not public, one after the other."""
    assert PROTECTED
    found = []
    for route in PROTECTED:
        status, answered, body = await call(server, route, headers)
        found.append(Refusal(f"{route.method} {route.path}", status, body, answered))
    return found


def code(body: Any) -> str:
    """The code of a refusal, in either of its two shapes."""
    error = body["error"]
    return str(error["code"] if isinstance(error, dict) else error)


async def test_no_token_is_401_without_an_error_attribute(server: Running) -> None:
    for told in await every_route(server, {"X-Tenant": "1"}):
        assert (told.status, code(told.body)) == (401, "unauthenticated"), told.route
        assert told.headers["WWW-Authenticate"] == CHALLENGE, told.route


async def test_a_bad_token_is_401_invalid_token(server: Running) -> None:
    for told in await every_route(server, {"Authorization": "Bearer nonsense", "X-Tenant": "1"}):
        assert (told.status, code(told.body)) == (401, "invalid_token"), told.route
        assert 'error="invalid_token"' in told.headers["WWW-Authenticate"], told.route


async def test_a_token_of_another_tenant_is_403(server: Running) -> None:
    headers = {"Authorization": f"Bearer {server.token(2)}", "X-Tenant": "1"}
    for told in await every_route(server, headers):
        assert (told.status, code(told.body)) == (403, "forbidden"), told.route


async def test_an_unknown_tenant_is_refused_like_a_foreign_one(server: Running) -> None:
    claims = ((server.token(1), "2"), (server.token(99), "99"))
    foreign, unknown = [
        await every_route(server, {"Authorization": f"Bearer {token}", "X-Tenant": tenant})
        for token, tenant in claims
    ]
    for one, other in zip(foreign, unknown, strict=True):
        assert one.status == other.status == 403, one.route
        assert one.body == other.body, one.route


async def test_a_missing_scope_is_403_and_named(server: Running) -> None:
    for route in PROTECTED:
        assert route.scope in SCOPES
        others = " ".join(scope for scope in SCOPES if scope != route.scope)
        status, headers, body = await call(server, route, server.headers(scope=others))
        assert (status, code(body)) == (403, "insufficient_scope"), route.path
        assert f'scope="{route.scope}"' in headers["WWW-Authenticate"], route.path


@pytest.mark.parametrize("value", ["", "0", "01", "+1", "1 ", "1_0", "x", "9" * 20, "\u0661"])
async def test_a_malformed_tenant_is_400(server: Running, value: str) -> None:
    raw = value if value.isascii() else value.encode().decode("latin-1")
    headers = {"Authorization": f"Bearer {server.token()}", "X-Tenant": raw}
    for told in await every_route(server, headers):
        assert (told.status, code(told.body)) == (400, "invalid_request"), told.route


async def test_a_missing_tenant_is_400_where_it_is_needed(server: Running) -> None:
    for route in PROTECTED:
        # With one tenant, it would be that one for clients that cannot send the header.
        tenants = (1, 2) if route.protocols[0].lone_tenant else (1,)
        headers = {"Authorization": f"Bearer {server.token(*tenants)}"}
        status, _, body = await call(server, route, headers)
        assert (status, code(body)) == (400, "invalid_request"), route.path


async def test_an_expired_token_is_401(server: Running) -> None:
    keys = SigningKeys.load_or_create(server.settings.data_dir)
    token = sign_token(
        keys, embedded_issuer("http://127.0.0.1:8000", keys), tenants=[1], subject="s",
        client="c", scopes=["chat"], ttl=60, now=time.time() - 3600,
    )  # fmt: skip
    headers = {"Authorization": f"Bearer {token}", "X-Tenant": "1"}
    for told in await every_route(server, headers):
        assert (told.status, code(told.body)) == (401, "invalid_token"), told.route


def test_what_is_public_is_known_here_too() -> None:
    """A route becomes public by a change in two places."""
    interfaces = ("/v1/", "/openai/v1/")
    assert {route.path for route in ROUTES if not route.path.startswith(interfaces)} == PUBLIC
    assert [path for path in PUBLIC if "{" in path] == ["/web/{name}"]  # a table of files


async def test_public_routes_need_no_token(server: Running) -> None:
    needs_parameters = {"/oauth/token", "/oauth/revoke", "/oauth/authorize"}
    for route in ROUTES:
        if route.path in PUBLIC:
            status, _, _ = await call(server, route, {})
            assert status == (400 if route.path in needs_parameters else 200), route.path


async def test_a_token_in_the_query_is_400(server: Running) -> None:
    path = f"/v1/chat/stream?access_token={server.token()}"
    assert (await ask(server, {"prompt": "x"}, path=path)).status == 400


async def test_a_foreign_stream_is_as_unknown_as_none(server: Running) -> None:
    reply = await ask(server, {"prompt": "x"})
    path = f"{server.url}/v1/streams/{reply.headers['X-Stream-Id']}"
    async with aiohttp.ClientSession() as session:
        for headers, status in (
            (server.headers(1), 200),
            (server.headers(1, scope="chat streams:all", subject="other"), 200),
            (server.headers(1, subject="other"), 404),
            (server.headers(2), 404),
        ):
            async with session.get(path, headers=headers) as response:
                assert response.status == status
            async with session.post(f"{path}/cancel", headers=headers) as response:
                assert response.status == (202 if status == 200 else 404)


async def test_a_registered_client_gets_a_token_that_works(server: Running) -> None:
    client, secret = await server.client("chat", (2,))
    form = {
        "grant_type": "client_credentials",
        "client_id": client.client_id,
        "client_secret": secret or "",
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.url}/oauth/token", data=form) as response,
    ):
        answer = await response.json()
        assert response.headers["Cache-Control"] == "no-store"
    assert (answer["token_type"], answer["expires_in"], answer["scope"]) == ("Bearer", 3600, "chat")
    headers = {"Authorization": f"Bearer {answer['access_token']}", "X-Tenant": "2"}
    assert (await ask(server, {"prompt": "x"}, headers=headers)).status == 200


async def test_the_metadata_comes_from_public_url_not_from_host(server: Running) -> None:
    async with aiohttp.ClientSession() as session:
        for name in ("oauth-authorization-server", "oauth-protected-resource"):
            async with session.get(
                f"{server.url}/.well-known/{name}", headers={"Host": "evil.example"}
            ) as response:
                text = await response.text()
            assert "evil" not in text
            assert "http://127.0.0.1:8000" in text
