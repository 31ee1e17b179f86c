"""The embedded authorization server on a real socket, over a real store, with a clock to turn."""

import asyncio
import base64
import hashlib
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import uvicorn
from argon2 import PasswordHasher
from pydantic import SecretStr

from tellstream.administration.actor import Actor
from tellstream.administration.acts import Administration as Acts
from tellstream.administration.offer import Offer
from tellstream.administration.signing_keys import KeyPlace
from tellstream.auth.authorization_server import AuthorizationServer
from tellstream.auth.clients import OAuthClient
from tellstream.auth.first_start import FirstStart
from tellstream.auth.issuers import embedded_issuer
from tellstream.auth.keys import SigningKeys
from tellstream.auth.metadata import authorization_server_metadata
from tellstream.auth.passwords import Passwords
from tellstream.auth.tokens import TokenVerifier
from tellstream.auth.users import User
from tellstream.core.errors import ChatError, RequestError
from tellstream.core.principals import Principal
from tellstream.server import authorize
from tellstream.server.application import RouteTable
from tellstream.server.asgi import Receive, Scope, Send
from tellstream.server.auth_audit import record
from tellstream.server.call import Call
from tellstream.server.client_address import ClientAddress
from tellstream.server.errors import error_body, error_headers
from tellstream.server.run import bind
from tellstream.storage.database import Database
from tellstream.storage.master_key import MasterKey
from tellstream.storage.sqlite import SqliteDatabase
from tellstream.storage.store import Store

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
EMAIL, PASSWORD = "ann@acme.example", "correct horse battery"
CALLBACK = "https://app.example/callback"
OPERATOR = Actor(None, "cli:test")


class Services:
    """What the handlers need."""

    def __init__(self, server: AuthorizationServer, public_url: str) -> None:
        self.authorization: AuthorizationServer | None = server
        self.public_url = public_url
        self.tenant_names: Mapping[int, str] = {1: "Acme", 2: "Beta"}
        self.client_address = ClientAddress(["127.0.0.1"])


class AuthServer:
    """A running authorization server, and what a test does with it.

    Attributes:
        offset: seconds by which its clock is ahead of the real one.
    """

    def __init__(self, store: Store, folder: Path, public_url: str) -> None:
        self.offset = 0.0
        self.frozen = 0.0
        self.url = public_url
        self.store = store
        self.folder = folder
        self.passwords = Passwords(CHEAP)
        self.keys = SigningKeys.load_or_create(folder, self.clock)
        self.issuer = embedded_issuer(public_url, self.keys)
        self.server = AuthorizationServer(
            store, self.issuer, self.keys, self.passwords, self.clock, record
        )
        self.services = Services(self.server, public_url)
        self.first_start = FirstStart(store, self.clock, record)
        self.acts = Acts.over(
            store, self.clock, Offer(["plain", "fast"], ["sim"], [1], []), self.passwords,
            MasterKey(folder), KeyPlace(self.keys, None, folder), self.server.revocations.add,
        )  # fmt: skip
        self.verifier = TokenVerifier([self.issuer], self.server.revocations.is_revoked)
        self.table = RouteTable(routes())
        self.http = self.http_client()

    def http_client(self) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(self)
        # One address for all, so that cookies are sent; the server knows itself by public_url.
        return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")

    def clock(self) -> float:
        return (self.frozen or time.time()) + self.offset

    def freeze(self) -> None:
        """Let its clock stand, but for the offset."""
        self.frozen = time.time()

    async def later(self, seconds: float) -> None:
        """Let time pass, in which workers look at the store as always."""
        self.offset += seconds
        await self.server.revocations.refresh()

    async def client(
        self,
        *,
        public: bool = False,
        uris: tuple[str, ...] = (CALLBACK,),
        scope: str = "chat usage",
        tenants: tuple[int, ...] = (1, 2),
        **options: Any,
    ) -> "Application":
        created, secret = await self.acts.clients.create(
            OPERATOR, "Console", uris, scope.split(), tenants, public=public, **options
        )
        return Application(self, created, secret)

    async def user(self, email: str = EMAIL, **options: Any) -> User:
        values = {"tenants": [1, 2]} | options
        return await self.acts.users.create(OPERATOR, email, SecretStr(PASSWORD), **values)

    def verify(self, token: str) -> Principal:
        return self.verifier.verify(token, self.clock())

    def is_good(self, token: str) -> bool:
        try:
            self.verify(token)
        except RequestError as error:  # invalid_token; a ServerError would be a failure
            return error.code != "invalid_token"
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(scope, receive, send, "req_test")
        try:
            route, call.path_values = self.table.find(scope["method"], scope["path"])
            await route.handler(self.services, call)  # type: ignore[arg-type]
        except ChatError as error:
            await call.json(error_body(error), error_headers(error, ""), error.status)


class Application:
    """An OAuth client as its own code would be."""

    def __init__(self, server: AuthServer, client: OAuthClient, secret: str | None) -> None:
        self.server = server
        self.client = client
        self.secret = secret
        self.verifier = secrets.token_urlsafe(48)

    @property
    def credentials(self) -> dict[str, str]:
        named = {"client_id": self.client.client_id}
        return named if self.secret is None else named | {"client_secret": self.secret}

    def query(self, **changes: str | None) -> str:
        """The query of a request for a code; a None leaves a parameter out."""
        hashed = hashlib.sha256(self.verifier.encode()).digest()
        values: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": self.client.redirect_uris[0],
            "scope": "chat",
            "state": "xyz",
            "code_challenge": base64.urlsafe_b64encode(hashed).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            **changes,
        }
        return urlencode({name: value for name, value in values.items() if value is not None})

    async def token(self, **fields: str) -> httpx2.Response:
        form = self.credentials | fields
        return await self.server.http.post("/oauth/token", data=form)

    async def redeem(self, code: str, **changes: str) -> httpx2.Response:
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.client.redirect_uris[0],
            "code_verifier": self.verifier,
        }
        return await self.token(**fields | changes)

    async def refresh(self, token: str, **changes: str) -> httpx2.Response:
        return await self.token(grant_type="refresh_token", refresh_token=token, **changes)

    async def revoke(self, token: str) -> httpx2.Response:
        form = self.credentials | {"token": token}
        return await self.server.http.post("/oauth/revoke", data=form)


class Browser:
    """A person's browser: keeps cookies, fills in forms, follows redirects within the server."""

    def __init__(self, server: AuthServer) -> None:
        self.server = server
        self.http = server.http_client()
        self.page = httpx2.Response(200)
        self.headers: dict[str, str] = {}

    async def open(self, query: str) -> httpx2.Response:
        self.page = await self.http.get(f"/oauth/authorize?{query}", headers=self.headers)
        return self.page

    async def send(self, action: str, **fields: str) -> httpx2.Response:
        """Fill in the page's form, press a button, follow a redirect to the same place."""
        await self.post(action, **fields)
        if self.page.headers.get("location", "").startswith("authorize?"):
            await self.open(self.page.headers["location"].partition("?")[2])
        return self.page

    async def post(self, action: str, **fields: str) -> httpx2.Response:
        hidden = {
            unescape(name): unescape(value)
            for name, value in re.findall(
                r'<input type="hidden" name="(\w+)" value="([^"]*)"', self.page.text
            )
        }
        target = re.search(r'<form method="post" action="([^"]*)"', self.page.text)
        assert target, self.page.text
        self.page = await self.http.post(
            f"/oauth/{unescape(target[1])}",
            data=hidden | {"action": action} | fields,
            headers=self.headers,
        )
        return self.page

    async def log_in(self, email: str = EMAIL, password: str = PASSWORD) -> httpx2.Response:
        return await self.send("login", email=email, password=password)

    async def code(self, application: Application, **changes: str | None) -> str:
        """Go through everything and give the code that the client gets."""
        await self.open(application.query(**changes))
        if 'value="login"' in self.page.text:
            await self.log_in()
        if 'value="approve"' in self.page.text:
            await self.send("approve")
        return answer(self.page)["code"]

    @property
    def cookie(self) -> str:
        return self.http.cookies["tellstream"]


def answer(response: httpx2.Response) -> dict[str, str]:
    """What a redirect tells the client."""
    assert response.status_code == 303, response.text
    query = parse_qs(urlsplit(response.headers["location"]).query, keep_blank_values=True)
    assert all(len(values) == 1 for values in query.values())
    return {name: values[0] for name, values in query.items()}


async def grant(application: Application, **changes: str | None) -> dict[str, Any]:
    """Log in, agree, redeem the code; gives the tokens."""
    async with browser(application.server) as person:
        code = await person.code(application, **changes)
    response = await application.redeem(code)
    assert response.status_code == 200, response.text
    tokens: dict[str, Any] = response.json()
    return tokens


@asynccontextmanager
async def browser(server: AuthServer) -> AsyncIterator[Browser]:
    person = Browser(server)
    try:
        yield person
    finally:
        await person.http.aclose()


def routes() -> list[Any]:
    """The routes of the authorization server."""
    from tellstream.server.route import Route  # noqa: PLC0415 - its table names handlers

    async def metadata(services: Any, call: Call) -> None:
        await call.json(authorization_server_metadata(services.public_url))

    async def jwks(services: Any, call: Call) -> None:
        await call.json(services.authorization.keys.jwks())

    handlers: dict[tuple[str, str], Any] = {
        ("GET", "/oauth/authorize"): authorize.authorize,
        ("POST", "/oauth/authorize"): authorize.submit,
        ("POST", "/oauth/token"): authorize.token,
        ("POST", "/oauth/revoke"): authorize.revoke,
        ("POST", "/oauth/logout"): authorize.log_out,
        ("GET", "/oauth/style.css"): authorize.style,
        ("GET", "/oauth/jwks"): jwks,
        ("GET", "/.well-known/oauth-authorization-server"): metadata,
    }
    return [Route(method, path, handler, "") for (method, path), handler in handlers.items()]


@asynccontextmanager
async def authorization_server(
    folder: Path, database: Database | None = None, public_url: str = "http://127.0.0.1:8000"
) -> AsyncIterator[AuthServer]:
    """Run an authorization server as an ASGI application in this process, without sockets."""
    store = Store(database or SqliteDatabase(folder / "tellstream.db"))
    await store.start()
    made = AuthServer(store, folder, public_url)
    try:
        await made.server.start()
        yield made
    finally:
        await made.http.aclose()
        await made.server.close()
        made.passwords.close()
        await store.close()


@asynccontextmanager
async def listening(folder: Path) -> AsyncIterator[AuthServer]:
    """Run one on a free port, for clients and browsers that are not ours."""
    listener = bind("127.0.0.1", 0)
    try:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with authorization_server(folder, public_url=url) as made:
            config = uvicorn.Config(
                made, ws="none", lifespan="off", log_config=None, access_log=False,
                proxy_headers=False, timeout_graceful_shutdown=1,
            )  # fmt: skip
            server = uvicorn.Server(config)
            task = asyncio.create_task(server._serve([listener]))
            while not server.started:
                assert not task.done(), task.exception()
                await asyncio.sleep(0.005)
            try:
                yield made
            finally:
                server.should_exit = True
                await task
    finally:
        listener.close()


def claims(token: str) -> dict[str, Any]:
    """What a token says, unverified."""
    part = token.split(".")[1]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return decoded
