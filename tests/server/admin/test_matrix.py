"""Who may do what: every route of administration, and each kind of caller.

The routes are those of the table, so a new one without a row here fails.
"""

from typing import Any, NamedTuple

import pytest
from pydantic import SecretStr

from support.administration import OPERATOR, AdminServer
from support.homes import SqliteHome
from tellstream.server.admin.routes import ADMIN_ROUTES, ENDPOINTS
from tellstream.server.route import Route

OWN, OTHER = 2, 3
FORBIDDEN = 403
MISSING = {"error": "not_found", "message": "There is nothing at this address."}


class Case(NamedTuple):
    """What a route answers.

    Attributes:
        body: what is sent.
        own: the status for an administrator, of its own tenant.
        other: the same, of another tenant; None: the route names no tenant's thing.
        operator: the status for the operator, of any tenant.
    """

    body: Any
    own: int
    other: int | None
    operator: int


PASS = {"password": "another good one"}
CASES = {
    ("GET", "/v1/admin/tenants"): Case(None, 200, None, 200),
    ("POST", "/v1/admin/tenants"): Case({"id": 7}, FORBIDDEN, None, 201),
    ("GET", "/v1/admin/tenants/{id}"): Case(None, 200, 404, 200),
    ("PATCH", "/v1/admin/tenants/{id}"): Case({"name": "x"}, 200, 404, 200),
    ("POST", "/v1/admin/tenants/{id}/suspend"): Case(None, FORBIDDEN, FORBIDDEN, 200),
    ("POST", "/v1/admin/tenants/{id}/resume"): Case(None, FORBIDDEN, FORBIDDEN, 200),
    ("GET", "/v1/admin/clients"): Case(None, 200, None, 200),
    ("POST", "/v1/admin/clients"): Case({"name": "x"}, 201, None, 201),
    ("GET", "/v1/admin/clients/{id}"): Case(None, 200, 404, 200),
    ("DELETE", "/v1/admin/clients/{id}"): Case(None, 204, 404, 204),
    ("GET", "/v1/admin/users"): Case(None, 200, None, 200),
    ("POST", "/v1/admin/users"): Case({"email": "x@y", **PASS}, 201, None, 201),
    ("GET", "/v1/admin/users/{id}"): Case(None, 200, 404, 200),
    ("PUT", "/v1/admin/users/{id}/password"): Case(PASS, 204, 404, 204),
    ("DELETE", "/v1/admin/users/{id}"): Case(None, 204, 404, 204),
    ("GET", "/v1/admin/credentials"): Case(None, 200, 404, 200),
    ("GET", "/v1/admin/credentials/{provider}"): Case(None, 200, 404, 200),
    ("PUT", "/v1/admin/credentials/{provider}"): Case({"key": "sk-new"}, 200, 404, 200),
    ("DELETE", "/v1/admin/credentials/{provider}"): Case(None, 204, 404, 204),
    ("GET", "/v1/admin/audit"): Case(None, 200, 404, 200),
    ("GET", "/v1/admin/keys"): Case(None, FORBIDDEN, None, 200),
    ("POST", "/v1/admin/keys/rotate"): Case(None, FORBIDDEN, None, 200),
    ("POST", "/v1/admin/secrets/rotate"): Case({}, FORBIDDEN, None, 200),
}


class World(NamedTuple):
    """Two tenants with one of everything; paths by tenant."""

    server: AdminServer
    clients: dict[int, str]
    users: dict[int, str]

    def path(self, route: Route, tenant: int) -> str:
        things = {"tenants": str(tenant), "clients": self.clients[tenant],
                  "users": self.users[tenant]}  # fmt: skip
        kind = route.path.split("/")[3]
        path = route.path.replace("{id}", things.get(kind, "")).replace("{provider}", "openai")
        by_query = kind in {"credentials", "audit"}
        return path.removeprefix("/v1/admin") + (f"?tenant={tenant}" if by_query else "")


@pytest.fixture
async def world(admin: AdminServer) -> World:
    clients, users = {}, {}
    for tenant in (OWN, OTHER):
        await admin.acts.tenants.create(OPERATOR, tenant, {"name": f"T{tenant}"})
        key = SecretStr(f"sk-{tenant}-0123456789abcdef")
        await admin.acts.credentials.put(OPERATOR, tenant, "openai", f"of {tenant}", key)
        clients[tenant] = (await admin.client(tenants=(tenant,))).client.client_id
        users[tenant] = (await admin.user(f"u{tenant}@example.com", tenants=[tenant])).id
    return World(admin, clients, users)


def label(route: Route) -> str:
    return f"{route.method} {route.path}"


def rows(home: SqliteHome) -> list[Any]:
    tables = ("tenants", "provider_credentials", "oauth_clients", "users", "signing_keys")
    return [home.ask(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


def test_every_route_has_a_row_and_the_scope() -> None:
    assert {(route.method, route.path) for route in ADMIN_ROUTES} == set(CASES)
    assert {route.scope for route in ADMIN_ROUTES} == {"admin"}
    for endpoint in ENDPOINTS:
        case = CASES[endpoint.method, f"/v1/admin{endpoint.path}"]
        assert (case.own == FORBIDDEN) == endpoint.operator


@pytest.mark.parametrize("route", ADMIN_ROUTES, ids=label)
class TestCallers:
    """Each route."""

    async def test_its_own_tenant(self, world: World, home: SqliteHome, route: Route) -> None:
        case, before = CASES[route.method, route.path], rows(home)
        path = world.path(route, OWN)
        response = await world.server.ask(OWN, route.method, path, case.body)
        assert response.status_code == case.own, response.text
        assert "T3" not in response.text
        assert f"of {OTHER}" not in response.text
        assert world.clients[OTHER] not in response.text
        assert world.users[OTHER] not in response.text
        if case.own == FORBIDDEN:
            assert response.json()["error"] == "forbidden"
            assert rows(home) == before

    async def test_another_tenant(self, world: World, home: SqliteHome, route: Route) -> None:
        case, before = CASES[route.method, route.path], rows(home)
        if case.other is None:
            assert "{" not in route.path
            return
        response = await world.server.ask(OWN, route.method, world.path(route, OTHER), case.body)
        assert response.status_code == case.other, response.text
        assert rows(home) == before
        if case.other == 404:  # as what there is not
            assert response.json() == MISSING
            path = world.path(route, OTHER)
            for there, not_there in (
                ("/tenants/3", "/tenants/77"),
                (world.clients[OTHER], "0" * 32),
                (world.users[OTHER], "usr_" + "x" * 22),
                ("tenant=3", "tenant=77"),
            ):
                path = path.replace(there, not_there)
            missing = await world.server.ask(OWN, route.method, path, case.body)
            assert (missing.status_code, missing.json()) == (404, MISSING)

    @pytest.mark.parametrize("tenant", [OWN, OTHER])
    async def test_the_operator(self, world: World, route: Route, tenant: int) -> None:
        case = CASES[route.method, route.path]
        path = world.path(route, tenant)
        response = await world.server.ask(1, route.method, path, case.body)
        assert response.status_code == case.operator, response.text

    async def test_who_may_not_pass(self, world: World, home: SqliteHome, route: Route) -> None:
        server, before = world.server, rows(home)
        body = CASES[route.method, route.path].body
        for tenant, headers, status, code in (
            (OWN, server.headers(OWN, "chat usage streams:all"), 403, "insufficient_scope"),
            (OTHER, server.headers(OWN) | {"X-Tenant": str(OTHER)}, 403, "forbidden"),
            (OWN, {"X-Tenant": str(OWN)}, 401, "unauthenticated"),
        ):
            url = f"/v1/admin{world.path(route, tenant)}"
            response = await server.http.request(route.method, url, headers=headers, json=body)
            assert (response.status_code, response.json()["error"]) == (status, code)
            if code == "insufficient_scope":
                assert 'scope="admin"' in response.headers["WWW-Authenticate"]
        path = world.path(route, OWN)
        path += ("&" if "?" in path else "?") + "canary=1"
        response = await server.ask(1, route.method, path, body)
        assert (response.status_code, response.json()["error"]) == (422, "validation_error")
        assert "canary" not in response.text
        assert rows(home) == before


@pytest.mark.parametrize(
    "route", [r for r in ADMIN_ROUTES if CASES[r.method, r.path].body is not None], ids=label
)
class TestBodies:
    """Each route that takes a body."""

    async def test_an_unknown_member_is_refused(
        self, world: World, home: SqliteHome, route: Route
    ) -> None:
        body, before = CASES[route.method, route.path].body, rows(home)
        sent = body | {"canary": "canary"}
        response = await world.server.ask(1, route.method, world.path(route, OWN), sent)
        assert (response.status_code, response.json()["error"]) == (422, "validation_error")
        assert "canary" not in response.text
        assert rows(home) == before

    async def test_garbage_is_refused(self, world: World, home: SqliteHome, route: Route) -> None:
        before = rows(home)
        for content, kind, statuses in (
            (b"", "application/json", {400}),
            (b"{", "application/json", {400}),
            (b"\xff", "application/json", {400}),
            (b'"\\ud800"', "application/json", {400, 422}),
            (b"[]", "application/json", {422}),
            (b"null", "application/json", {422}),
            (b'{"a":' * 3000, "application/json", {400}),
            (b'{"limits":{"a":NaN}}', "application/json", {400, 422}),
            (b"{}", "text/plain", {415}),
            (b"a=1", "application/x-www-form-urlencoded", {415}),
            (b" " * 300_000, "application/json", {413}),
        ):
            response = await world.server.http.request(
                route.method, f"/v1/admin{world.path(route, OWN)}", content=content,
                headers=world.server.headers(1) | {"Content-Type": kind},
            )  # fmt: skip
            assert response.status_code in statuses, (content[:20], response.text)
        assert rows(home) == before
