"""Who may pass: every route of the application's own table, and each kind of caller."""

import time
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDictProxy

from support.chat import ask
from support.server import Running
from tellstream.auth.issuers import embedded_issuer
from tellstream.auth.keys import SigningKeys
from tellstream.auth.tokens import sign_token
from tellstream.core.principals import SCOPES
from tellstream.server.routes import PUBLIC, ROUTES, Route

PROTECTED = [route for route in ROUTES if route.path not in PUBLIC]
METADATA = "http://127.0.0.1:8000/.well-known/oauth-protected-resource"
CHALLENGE = f'Bearer realm="tellstream", resource_metadata="{METADATA}"'
UNKNOWN = "str_00000000000000000000000000"


async def call(
    server: Running, route: Route, headers: dict[str, str]
) -> tuple[int, CIMultiDictProxy[str], Any]:
    url = server.url + route.path.replace("{id}", UNKNOWN)
    body = {"prompt": "x"} if route.method == "POST" else None
    async with (
        aiohttp.ClientSession() as session,
        session.request(route.method, url, headers=headers, json=body) as response,
    ):
        payload = await response.json() if response.content_type == "application/json" else None
        return response.status, response.headers, payload


def label(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.parametrize("route", PROTECTED, ids=label)
class TestProtected:
    """Each route that is not public."""

    async def test_no_token_is_401_without_an_error_attribute(
        self, server: Running, route: Route
    ) -> None:
        status, headers, body = await call(server, route, {"X-Tenant": "1"})
        assert (status, body["error"]) == (401, "unauthenticated")
        assert headers["WWW-Authenticate"] == CHALLENGE

    async def test_a_bad_token_is_401_invalid_token(self, server: Running, route: Route) -> None:
        headers = {"Authorization": "Bearer nonsense", "X-Tenant": "1"}
        status, answered, body = await call(server, route, headers)
        assert (status, body["error"]) == (401, "invalid_token")
        assert 'error="invalid_token"' in answered["WWW-Authenticate"]

    async def test_a_token_of_another_tenant_is_403(self, server: Running, route: Route) -> None:
        headers = {"Authorization": f"Bearer {server.token(2)}", "X-Tenant": "1"}
        status, _, body = await call(server, route, headers)
        assert (status, body["error"]) == (403, "forbidden")

    async def test_an_unknown_tenant_is_refused_like_a_foreign_one(
        self, server: Running, route: Route
    ) -> None:
        foreign = await call(
            server, route, {"Authorization": f"Bearer {server.token(1)}", "X-Tenant": "2"}
        )
        claimed = await call(
            server, route, {"Authorization": f"Bearer {server.token(99)}", "X-Tenant": "99"}
        )
        assert foreign[0] == claimed[0] == 403
        assert foreign[2] == claimed[2]

    async def test_a_missing_scope_is_403_and_named(self, server: Running, route: Route) -> None:
        assert route.scope in SCOPES
        others = " ".join(scope for scope in SCOPES if scope != route.scope)
        status, headers, body = await call(server, route, server.headers(scope=others))
        assert (status, body["error"]) == (403, "insufficient_scope")
        assert f'scope="{route.scope}"' in headers["WWW-Authenticate"]

    @pytest.mark.parametrize("value", ["", "0", "01", "+1", "1 ", "1_0", "x", "9" * 20, "\u0661"])
    async def test_a_malformed_tenant_is_400(
        self, server: Running, route: Route, value: str
    ) -> None:
        raw = value if value.isascii() else value.encode().decode("latin-1")
        token = server.token()
        status, _, body = await call(
            server, route, {"Authorization": f"Bearer {token}", "X-Tenant": raw}
        )
        assert (status, body["error"]) == (400, "invalid_request")

    async def test_a_missing_tenant_is_400(self, server: Running, route: Route) -> None:
        status, _, body = await call(server, route, {"Authorization": f"Bearer {server.token()}"})
        assert (status, body["error"]) == (400, "invalid_request")

    async def test_an_expired_token_is_401(self, server: Running, route: Route) -> None:
        keys = SigningKeys.load_or_create(server.settings.data_dir)
        token = sign_token(
            keys, embedded_issuer("http://127.0.0.1:8000", keys), tenants=[1], subject="s",
            client="c", scopes=["chat"], ttl=60, now=time.time() - 3600,
        )  # fmt: skip
        headers = {"Authorization": f"Bearer {token}", "X-Tenant": "1"}
        status, _, body = await call(server, route, headers)
        assert (status, body["error"]) == (401, "invalid_token")


@pytest.mark.parametrize("route", [r for r in ROUTES if r.path in PUBLIC], ids=label)
async def test_public_routes_need_no_token(server: Running, route: Route) -> None:
    status, _, _ = await call(server, route, {})
    assert status == (400 if route.path == "/oauth/token" else 200)


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
    from tellstream.auth.clients import ClientRegistry  # noqa: PLC0415 - used here only

    client, secret = ClientRegistry(server.settings.data_dir).create(
        name="app", redirect_uris=(), scopes=frozenset({"chat"}), tenants=frozenset({2}),
        public=False,
    )  # fmt: skip
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
