"""An authorization server of somebody else: real HTTP on loopback, whose answers a test scripts."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from tellstream.settings import IssuerSettings

NOW = 1_800_000_000
AUDIENCE = "tellstream"
CLIENT, SECRET = "tell stream", "s3cret:+%"
METADATA_PATH = "/.well-known/openid-configuration"
RFC_8414_PATH = "/.well-known/oauth-authorization-server"
JWKS_PATH = "/keys"
INTROSPECTION_PATH = "/introspect"

# Made once: keys are costly.
RSA, OTHER_RSA = RSAKey.generate_key(2048), RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-256")
OKP = OKPKey.generate_key("Ed25519")


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class Answer:
    """What one address answers."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0  # before the last byte


class LocalIssuer:
    """The server. ``requests`` is every path it was asked for, in order.

    Attributes:
        keys: what it publishes, by kid.
        scripted: answers that replace the usual ones, by path.
        tokens: what introspection says about opaque tokens.
        asked: the forms of all introspection requests.
    """

    def __init__(self) -> None:
        self.url = ""
        self.keys: dict[str, Key] = {"one": RSA}
        self.scripted: dict[str, Answer] = {}
        self.tokens: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.asked: list[dict[str, Any]] = []

    def options(self, **changes: Any) -> IssuerSettings:
        """Give the row of a configuration that trusts this server for tenant 1."""
        row = {"issuer": self.url, "audience": AUDIENCE, "tenants": [1]} | changes
        return IssuerSettings.model_validate(row)

    def introspection(self, **changes: Any) -> IssuerSettings:
        """Give the row of a configuration that asks this server about opaque tokens."""
        return self.options(
            introspection_url=self.url + INTROSPECTION_PATH,
            introspection_client_id=CLIENT,
            introspection_client_secret=SECRET,
            **changes,
        )

    @property
    def subject(self) -> str:
        """Who its tokens speak for, as the server sees it."""
        return f"{self.url}#user-1"

    def count(self, path: str = JWKS_PATH) -> int:
        return self.requests.count(path)

    def claims(self, **changes: Any) -> dict[str, Any]:
        return {
            "iss": self.url, "aud": AUDIENCE, "sub": "user-1", "client_id": "app-1", "jti": "id-1",
            "iat": NOW, "exp": NOW + 600, "scope": "chat", "tenants": [1],
        } | changes  # fmt: skip

    def token(self, kid: str = "one", key: Key = RSA, alg: str = "RS256", **changes: Any) -> str:
        header = {"alg": alg, "typ": "at+jwt", "kid": kid}
        return signed(header, self.claims(**changes), key)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        scripted = self.scripted.get(request.path) or await self._usual(request)
        response = web.StreamResponse(status=scripted.status, headers=scripted.headers)
        if "Content-Type" not in scripted.headers:
            response.content_type = "application/json"
        await response.prepare(request)
        await response.write(scripted.body[:-1])
        await asyncio.sleep(scripted.seconds)
        await response.write(scripted.body[-1:])
        await response.write_eof()
        return response

    async def _usual(self, request: web.Request) -> Answer:
        if request.path == JWKS_PATH:
            return Answer(key_set(self.keys))
        if request.path == METADATA_PATH:
            metadata = {"issuer": self.url, "jwks_uri": self.url + JWKS_PATH}
            return Answer(json.dumps(metadata).encode())
        if request.path == INTROSPECTION_PATH:
            pair = base64.b64encode(b"tell+stream:s3cret%3A%2B%25").decode()
            if request.headers.get("Authorization") != f"Basic {pair}":
                return Answer(b"{}", 401)
            form = dict(await request.post())
            self.asked.append(form)
            return Answer(json.dumps(self.tokens.get(str(form["token"]), inactive())).encode())
        return Answer(b"{}", 404)


def inactive() -> dict[str, Any]:
    return {"active": False}


def key_set(keys: Mapping[str, Key]) -> bytes:
    return json.dumps({"keys": [public(key, kid=kid) for kid, key in keys.items()]}).encode()


def public(key: Key, **members: Any) -> dict[str, Any]:
    return {**key.as_dict(private=False), **members}


def signed(header: Mapping[str, Any], claims: Mapping[str, Any], key: Key) -> str:
    """Sign whatever is asked for."""
    parts = [json.dumps(part).encode() for part in (header, claims)]
    unsigned = ".".join(map(b64, parts))
    return f"{unsigned}.{b64(JWSRegistry.algorithms[header['alg']].sign(unsigned.encode(), key))}"


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


Made = TypeVar("Made", bound=LocalIssuer)


@asynccontextmanager
async def local_issuer() -> AsyncIterator[LocalIssuer]:
    """Run one on a free port."""
    async with listening(LocalIssuer()) as issuer:
        yield issuer


@asynccontextmanager
async def listening(issuer: Made) -> AsyncIterator[Made]:
    """Run one of another kind."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", issuer.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port: int = runner.addresses[0][1]
        issuer.url = f"http://127.0.0.1:{port}"
        yield issuer
    finally:
        await runner.cleanup()
