"""Tokens of somebody else's authorization server, at a whole server: real sockets on both sides."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from server.conftest import tables
from support.chat import ask
from support.issuers import (
    AUDIENCE,
    CLIENT,
    EC,
    INTROSPECTION_PATH,
    JWKS_PATH,
    OKP,
    OTHER_RSA,
    RSA,
    SECRET,
    Answer,
    LocalIssuer,
    key_set,
    local_issuer,
    public,
)
from support.replay import ReplayProvider
from support.server import Running, tellstream
from tellstream.providers.simulator import Simulator

ALGORITHMS: Final = ["RS256", "PS256", "ES256", "EdDSA"]
CHAT: Final = {"prompt": "x"}


@pytest.fixture
async def issuer() -> AsyncIterator[LocalIssuer]:
    async with local_issuer() as issuer:
        yield issuer


class World:
    """A server that trusts one issuer for tenant 1."""

    def __init__(self, server: Running, issuer: LocalIssuer) -> None:
        self.server = server
        self.issuer = issuer

    def token(self, **changes: Any) -> str:
        now = int(time.time())
        return self.issuer.token(**{"iat": now, "exp": now + 600, **changes})

    async def status(self, token: str, tenant: int = 1) -> int:
        return (await self.start(token, tenant))[0]

    async def start(self, token: str, tenant: int = 1) -> tuple[int, str, Any]:
        """Start a stream; gives the status, the id, and what was said."""
        headers = {"Authorization": f"Bearer {token}", "X-Tenant": str(tenant)}
        reply = await ask(self.server, CHAT, headers=headers)
        return reply.status, reply.headers.get("X-Stream-Id", ""), reply

    async def get(self, path: str) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.server.url + path, allow_redirects=False) as response,
        ):
            return response.status, await response.text()


@asynccontextmanager
async def trusting(
    folder: Path, issuer: LocalIssuer, simulator: Simulator, replay: ReplayProvider, **changes: Any
) -> AsyncIterator[World]:
    row = {
        "issuer": issuer.url, "audience": AUDIENCE, "tenants": [1], "algorithms": ALGORITHMS,
        "jwks_uri": issuer.url + JWKS_PATH, **changes.pop("row", {}),
    }  # fmt: skip
    auth = {"embedded": True, "issuers": [row], **changes}
    async with tellstream(folder, **tables(simulator, replay, auth=auth)) as server:
        yield World(server, issuer)


@pytest.fixture
async def world(
    tmp_path: Path, issuer: LocalIssuer, simulator: Simulator, replay: ReplayProvider
) -> AsyncIterator[World]:
    async with trusting(tmp_path, issuer, simulator, replay) as world:
        yield world


async def test_a_token_starts_a_stream_of_a_bound_tenant_only(world: World) -> None:
    status, stream, reply = await world.start(world.token())
    assert (status, reply.types[-1]) == (200, "stream_end")
    for claimed in ([1, 2], [2], []):
        token = world.token(tenants=claimed)
        assert await world.status(token, 2) == 403
        assert await world.status(token, 1) == (200 if 1 in claimed else 403)
    # Its users are not those of the embedded server, whatever they are called.
    _, body = await world.get("/healthz")
    assert json.loads(body) == {"status": "ok"}
    headers = world.server.headers(1, subject="user-1")
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{world.server.url}/v1/streams/{stream}") as response,
    ):
        assert response.status == 404


async def test_scopes_are_those_of_the_token(world: World) -> None:
    status, _, reply = await world.start(world.token(scope="usage"))
    assert (status, reply.json["error"]) == (403, "insufficient_scope")


async def test_every_algorithm_that_is_allowed_works(world: World) -> None:
    world.issuer.keys = {"one": RSA, "ec": EC, "okp": OKP}
    # PS256 with the RSA key that is known already; the others bring one fetch.
    for kid, key, alg in (("one", RSA, "PS256"), ("ec", EC, "ES256"), ("okp", OKP, "EdDSA")):
        assert await world.status(world.token(kid=kid, key=key, alg=alg)) == 200, alg


async def test_a_rotated_key_is_found_and_a_removed_one_dies(world: World) -> None:
    old = world.token()
    assert await world.status(old) == 200
    world.issuer.keys = {"two": OTHER_RSA}
    assert await world.status(world.token(kid="two", key=OTHER_RSA)) == 200
    # A remembered token passes for 30 s at most; another one of that key does not pass at all.
    assert await world.status(world.token(jti="another")) == 401


async def test_while_the_issuer_is_down_its_tokens_go_on(world: World) -> None:
    assert await world.status(world.token()) == 200
    for answer in (Answer(b"", 500), Answer(b"<html>", 200), Answer(b"", 302)):
        world.issuer.scripted[JWKS_PATH] = answer
        assert await world.status(world.token(jti=f"id-{answer.status}")) == 200
        assert await world.status(world.token(kid="nobody's")) == 401


@pytest.mark.parametrize(
    "poison",
    [
        b"{}",
        b"[]",
        b'{"keys": [{"kty": "RSA", "kid": "one", "n": "*", "e": "AQAB"}]}',
        b'{"keys": 7}',
        b'{"keys": [' + b"{}," * 60 + b"{}]}",
        b" " * 300_000,
        json.dumps({"keys": [{"kty": "oct", "kid": "one", "k": "c2VjcmV0"}, 7]}).encode(),
    ],
    ids=lambda raw: raw[:40].decode(),
)
async def test_a_poisoned_key_set_does_not_replace_a_good_one(world: World, poison: bytes) -> None:
    assert await world.status(world.token()) == 200
    world.issuer.scripted[JWKS_PATH] = Answer(poison)
    before = world.issuer.count()
    assert await world.status(world.token(kid="unknown")) == 401
    assert world.issuer.count() == before + 1
    assert await world.status(world.token(jti="later")) == 200


async def test_a_malformed_key_among_good_ones_is_skipped(world: World) -> None:
    assert await world.status(world.token()) == 200
    good = json.loads(key_set({"one": RSA, "two": OTHER_RSA}))["keys"]
    bad = [{**public(EC, kid="ec"), "x": "*"}, {"kty": "RSA"}, None, "x"]
    world.issuer.scripted[JWKS_PATH] = Answer(json.dumps({"keys": bad + good}).encode())
    assert await world.status(world.token(kid="two", key=OTHER_RSA)) == 200


async def test_a_flood_of_unknown_keys_costs_one_fetch(world: World) -> None:
    assert await world.status(world.token()) == 200
    before = world.issuer.count()
    for number in range(40):
        assert await world.status(world.token(kid=f"forged-{number}")) == 401
    assert world.issuer.count() <= before + 1


async def test_an_unknown_issuer_is_refused_and_never_asked(world: World) -> None:
    async with local_issuer() as evil:
        now = int(time.time())
        token = evil.token(iat=now, exp=now + 600)
        status, _, reply = await world.start(token)
        assert (status, reply.json["error"]) == (401, "invalid_token")
        assert evil.requests == []
    for spelled in (world.issuer.url + "/", world.issuer.url.upper(), [world.issuer.url]):
        assert await world.status(world.token(iss=spelled)) == 401


async def test_opaque_tokens_are_asked_about(
    tmp_path: Path, issuer: LocalIssuer, simulator: Simulator, replay: ReplayProvider
) -> None:
    row = {
        "introspection_url": issuer.url + INTROSPECTION_PATH,
        "introspection_client_id": CLIENT,
        "introspection_client_secret": SECRET,
    }
    async with trusting(tmp_path, issuer, simulator, replay, row=row) as world:
        now = int(time.time())
        good = {**issuer.claims(iat=now, exp=now + 600), "active": True, "token_type": "Bearer"}
        issuer.tokens = {
            "opaque-good": good,
            "opaque-other": {**good, "aud": "another"},
            "opaque-late": {**good, "iat": now - 700, "exp": now - 100},
            "opaque-id": {**good, "token_type": "id_token"},
        }
        assert await world.status("opaque-good") == 200
        assert await world.status("opaque-good") == 200
        asked = [form["token"] for form in issuer.asked]
        assert asked == ["opaque-good"], "remembered for a minute"
        for token in ("opaque-other", "opaque-late", "opaque-id", "opaque-unknown"):
            assert await world.status(token) == 401, token
        assert await world.status("opaque-good", 2) == 401, "nobody of tenant 2 knows it"
        issuer.scripted[INTROSPECTION_PATH] = Answer(b"", 500)
        status, _, reply = await world.start("opaque-new")
        assert (status, reply.json["error"]) == (503, "service_unavailable")
        assert int(reply.headers["Retry-After"]) >= 1
        assert await world.status(world.token()) == 200, "signed ones need no question"


async def test_no_keys_at_all_is_503_and_not_the_tokens_fault(
    tmp_path: Path, issuer: LocalIssuer, simulator: Simulator, replay: ReplayProvider
) -> None:
    issuer.scripted[JWKS_PATH] = Answer(b"", 500)
    async with trusting(tmp_path, issuer, simulator, replay) as world:
        status, _, reply = await world.start(world.token())
        assert (status, reply.json["error"]) == (503, "service_unavailable")
        assert int(reply.headers["Retry-After"]) >= 1
        own = world.server.headers()["Authorization"].split()[1]
        assert await world.status(own) == 200, "the embedded server's tokens do not care"


async def test_without_the_embedded_server_only_the_issuers_tokens_work(
    tmp_path: Path, issuer: LocalIssuer, simulator: Simulator, replay: ReplayProvider
) -> None:
    async with trusting(tmp_path, issuer, simulator, replay, embedded=False) as world:
        assert await world.status(world.token()) == 200
        own = world.server.headers()["Authorization"].split()[1]
        assert await world.status(own) == 401
        for path in ("/oauth/authorize", "/oauth/jwks", "/.well-known/oauth-authorization-server"):
            assert (await world.get(path))[0] == 404
        async with aiohttp.ClientSession() as session:
            for path in ("/oauth/token", "/oauth/revoke", "/oauth/authorize"):
                async with session.post(world.server.url + path, data={"a": "b"}) as response:
                    assert response.status == 404


@pytest.mark.parametrize("embedded", [True, False])
async def test_the_metadata_names_every_issuer(
    tmp_path: Path,
    issuer: LocalIssuer,
    simulator: Simulator,
    replay: ReplayProvider,
    embedded: bool,
) -> None:
    async with trusting(tmp_path, issuer, simulator, replay, embedded=embedded) as world:
        _, text = await world.get("/.well-known/oauth-protected-resource")
    own = ["http://127.0.0.1:8000"] if embedded else []
    assert json.loads(text)["authorization_servers"] == [*own, issuer.url]
