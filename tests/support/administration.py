"""The administration over HTTP, in this process: its routes, real tokens, a real store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2

from support.authorization import AuthServer
from tellstream.administration.actor import Actor
from tellstream.administration.acts import Administration
from tellstream.administration.offer import Offer
from tellstream.administration.signing_keys import KeyPlace
from tellstream.auth.bearer import bearer_token
from tellstream.auth.tenants import tenant_id
from tellstream.auth.tokens import sign_token
from tellstream.core.errors import ChatError, RequestError
from tellstream.core.principals import Ctx
from tellstream.server.admin.routes import ADMIN_ROUTES
from tellstream.server.application import RouteTable
from tellstream.server.asgi import Receive, Scope, Send
from tellstream.server.call import Call
from tellstream.server.errors import error_body, error_headers
from tellstream.server.refusals import Refusals, is_noted
from tellstream.storage.database import Database
from tellstream.storage.master_key import MasterKey
from tellstream.storage.sqlite import SqliteDatabase
from tellstream.storage.store import Store

OPERATOR = Actor(None, "cli:test")
OPERATOR_TENANT = 1
IN_FILE = (1, 9)
"""The tenants of the configuration file."""
MODELS = ("plain", "fast", "fast-long")
TENANTS = frozenset({1, 2, 3})


def administrator(tenant: int) -> Actor:
    """Who administers one tenant."""
    return Actor(Ctx(tenant, f"admin{tenant}", "console", frozenset({"admin"})), f"admin{tenant}")


class AdminServer(AuthServer):
    """The routes of administration beside those of the authorization server."""

    def __init__(self, store: Store, folder: Path, public_url: str) -> None:
        super().__init__(store, folder, public_url)
        self.master_key = MasterKey(folder)
        self.acts = Administration.over(
            store, self.clock, Offer(MODELS, ["openai"], IN_FILE, IN_FILE), self.passwords,
            self.master_key, KeyPlace(self.keys, None, folder), self.server.revocations.add,
        )  # fmt: skip
        self.refusals = Refusals(store, self.clock)
        self.admin_services: Any = SimpleNamespace(
            administration=self.acts,
            settings=SimpleNamespace(auth=SimpleNamespace(operator_tenant=OPERATOR_TENANT)),
        )
        self.admin_table = RouteTable(ADMIN_ROUTES)

    def token(self, tenant: int, scope: str = "admin", subject: str = "boss") -> str:
        return sign_token(
            self.keys, self.issuer, tenants=[tenant], subject=subject, client="console",
            scopes=scope.split(), ttl=600, now=self.clock(),
        )  # fmt: skip

    def headers(self, tenant: int, scope: str = "admin") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(tenant, scope)}", "X-Tenant": str(tenant)}

    async def ask(
        self, tenant: int, method: str, path: str, body: Any = None, **options: Any
    ) -> httpx2.Response:
        """Ask as an administrator of a tenant."""
        return await self.http.request(
            method, f"/v1/admin{path}", headers=self.headers(tenant), json=body, **options
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].startswith("/v1/"):
            await super().__call__(scope, receive, send)
            return
        call = Call(scope, receive, send, "req_test")
        route, ctx = None, None
        try:
            route, call.path_values = self.admin_table.find(scope["method"], scope["path"])
            principal = self.verifier.verify(
                bearer_token(call.headers, scope["query_string"]), self.clock()
            )
            ctx = call.ctx = principal.act_for(tenant_id(call.headers))
            if ctx.tenant not in TENANTS:
                raise RequestError("forbidden")
            ctx.require(route.scope or "")
            await route.handler(self.admin_services, call)
        except ChatError as error:
            if route is not None and is_noted(error.status, route.scope):
                self.refusals.note(
                    error.code, route.method, route.path, ctx, call.request_id, "192.0.2.1"
                )
            await call.json(error_body(error), error_headers(error, ""), error.status)


@asynccontextmanager
async def admin_server(
    folder: Path, database: Database | None = None
) -> AsyncIterator[AdminServer]:
    """Run one, without sockets."""
    store = Store(database or SqliteDatabase(folder / "tellstream.db"))
    await store.start()
    made = AdminServer(store, folder, "http://127.0.0.1:8000")
    try:
        await made.server.start()
        yield made
    finally:
        await made.refusals.close()
        await made.http.aclose()
        await made.server.close()
        made.passwords.close()
        await store.close()
