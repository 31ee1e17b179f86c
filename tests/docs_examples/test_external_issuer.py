"""docs/howto/external-issuer.md with an issuer that publishes and signs as Keycloak does."""

import asyncio
import base64
import json
import re
import shutil
import time
import tomllib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from support.chat import ask, parse
from support.issuers import OTHER_RSA, RSA, Answer, LocalIssuer, listening, public, signed
from support.pages import ROOT, block
from support.programs import environment
from support.server import Running, tellstream
from tellstream.providers.simulator import Simulator

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
PAGE: Final = ROOT / "docs/howto/external-issuer.md"
TEXT: Final = PAGE.read_text(encoding="utf-8")
HOST: Final = "https://login.example.com"
REALM: Final = "/realms/acme"
OPENID: Final = f"{REALM}/protocol/openid-connect"
CLIENT, SECRET = "shop", "the-secret-of-shop"
SECONDS: Final = 60.0


class Keycloak(LocalIssuer):
    """One realm: its metadata, its keys, its token endpoint."""

    @property
    def realm(self) -> str:
        return self.url + REALM

    def header(self, **changes: Any) -> dict[str, Any]:
        return {**json.loads(block(PAGE, "json", "header")), **changes}

    def said(self, **changes: Any) -> dict[str, Any]:
        """What the token of the page says, signed now."""
        now = int(time.time())
        shown = json.loads(block(PAGE, "json", "claims").replace(HOST, self.url))
        life = shown["exp"] - shown["iat"]
        return {
            **shown, "iat": now, "exp": now + life, "typ": "Bearer", "sid": "6e1f0f2b",
            "acr": "1", "realm_access": {"roles": ["offline_access"]}, **changes,
        }  # fmt: skip

    def signed(self, header: Mapping[str, Any] | None = None, **changes: Any) -> str:
        return signed(header or self.header(), self.said(**changes), RSA)

    async def _usual(self, request: Any) -> Answer:
        if request.path == f"{REALM}/.well-known/openid-configuration":
            names = ("authorization", "token", "userinfo", "end_session")
            found = {f"{n}_endpoint": f"{self.url}{OPENID}/{n}" for n in names}
            found |= {"issuer": self.realm, "jwks_uri": f"{self.url}{OPENID}/certs"}
            return Answer(json.dumps(found).encode())
        if request.path == f"{OPENID}/certs":
            kid = self.header()["kid"]
            encrypts = public(OTHER_RSA, kid="enc", use="enc", alg="RSA-OAEP")
            rows = [encrypts, public(RSA, kid=kid, use="sig", alg="RS256", x5t="Zm9v")]
            return Answer(json.dumps({"keys": rows}).encode())
        if request.path == f"{OPENID}/token":
            form = dict(await request.post())
            pair = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
            assert request.headers["Authorization"] == f"Basic {pair}"
            assert form == {"grant_type": "client_credentials", "scope": "chat"}
            body = {"access_token": self.signed(), "expires_in": 300, "token_type": "Bearer"}
            return Answer(json.dumps(body).encode())
        return Answer(b"{}", 404)


@pytest.fixture
async def keycloak() -> AsyncIterator[Keycloak]:
    async with listening(Keycloak()) as issuer:
        yield issuer


@pytest.fixture
async def server(tmp_path: Path, keycloak: Keycloak) -> AsyncIterator[Running]:
    configured = block(PAGE, "toml", "keycloak").replace(HOST, keycloak.url)
    provider = {"dialect": "openai-chat", "api_key": "none"}
    async with (
        Simulator() as simulator,
        tellstream(
            tmp_path,
            **tomllib.loads(configured),
            providers={"sim": {**provider, "base_url": f"{simulator.url}/v1"}},
            models={"quick": {"targets": ["sim/sim:words=5"]}},
            tenants={"1": {"name": "Acme"}, "2": {"name": "Beta"}},
        ) as running,
    ):
        yield running


async def test_the_commands_of_the_page_get_a_token_and_an_answer(
    tmp_path: Path, server: Running, keycloak: Keycloak
) -> None:
    steps = [block(PAGE, "sh", label) for label in ("token", "claims", "ask")]
    process = await asyncio.create_subprocess_exec(
        "bash", "-euc", "\n".join(steps).replace(HOST, keycloak.url), cwd=tmp_path,
        env=environment(URL=server.url, CLIENT_ID=CLIENT, CLIENT_SECRET=SECRET),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(SECONDS):
        out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    claims, _, stream = out.partition(b"\nid: 1\n")
    assert json.loads(block(PAGE, "json", "claims"))["sub"] in claims.decode()
    events, _ = parse(b"id: 1\n" + stream)
    assert events[-1].type == "stream_end"


async def test_each_mistake_of_the_table_is_refused_for_the_reason_it_says(
    server: Running, keycloak: Keycloak
) -> None:
    rows = re.findall(
        r"^\| `([^`]+)`(?: \(403\))? \|", TEXT.partition("## When a")[2], re.MULTILINE
    )
    mistakes: dict[str, tuple[str, int]] = {
        "R3: unknown issuer": (keycloak.signed(iss=f"{keycloak.realm}/"), 401),
        "R7: not exactly one usable key": (keycloak.signed(keycloak.header(kid="enc")), 401),
        "R8: typ is not that of an access token": (
            keycloak.signed(keycloak.header(typ="JWT")),
            401,
        ),
        "R9: aud does not name this server": (keycloak.signed(aud="account"), 401),
        "R10: token lives too long": (
            keycloak.signed(exp=int(time.time()) + 36_000),
            401,
        ),
        "tenant not in the token": (keycloak.signed(tenants=[2]), 403),
    }
    assert rows == list(mistakes)
    for reason, (token, status) in mistakes.items():
        with capture_logs() as logged:
            assert await asked(server, token) == status, reason
        (refused,) = [entry for entry in logged if entry["event"] == "http.refused"]
        assert reason in str(refused), refused
    without = keycloak.said()
    del without["tenants"]
    assert await asked(server, signed(keycloak.header(), without, RSA)) == 403
    assert await asked(server, keycloak.signed(scope="profile email")) == 403
    assert await asked(server, keycloak.signed()) == 200
    assert await asked(server, keycloak.signed(), tenant=2) == 403


async def asked(server: Running, token: str, tenant: int = 1) -> int:
    headers = {"Authorization": f"Bearer {token}", "X-Tenant": str(tenant)}
    return (await ask(server, {"prompt": "x"}, headers=headers)).status
