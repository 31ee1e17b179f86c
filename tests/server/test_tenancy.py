"""Tenants are apart: a matrix of every route of the table and every kind of caller.

The routes are those of the application, aliases too. A route that has no row in ``EXPECTED`` fails
the first test, so that a new one cannot be forgotten.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import pytest

from server.conftest import tables
from support.chat import ask
from support.replay import ReplayProvider
from support.server import Running, tellstream
from tellstream.auth.issuers import Issuer, embedded_issuer
from tellstream.auth.keys import SigningKeys
from tellstream.auth.tokens import sign_token
from tellstream.providers.simulator import Simulator
from tellstream.server.route import Route
from tellstream.server.routes import PUBLIC, ROUTES

SECONDS: Final = 20.0
PUBLIC_URL: Final = "http://127.0.0.1:8000"
SCOPES: Final = "chat usage admin streams:all"
UNKNOWN: Final = "str_00000000000000000000000000"
NOT_FOUND: Final = {"error": "not_found", "message": "There is nothing at this address."}
OWNERS: Final = ("ann", "bob")


class Row(NamedTuple):
    """What a route answers.

    Attributes:
        status: to who may.
        body: sent with the request.
        stream: the path names a stream, so it matters whose.
    """

    status: int
    body: Any = None
    stream: bool = False


CHAT: Final = {"prompt": "x"}
OPENAI: Final = {"model": "plain", "messages": [{"role": "user", "content": "x"}]}
UI: Final = {"id": "c", "messages": [{"role": "user", "parts": [{"type": "text", "text": "x"}]}]}
AG_UI: Final = {"threadId": "t", "runId": "r", "messages": [{"role": "user", "content": "x"}]}
# Every protected route but those of administration, which have a matrix of their own
# (server/admin/test_matrix.py); of them, here, who may not pass.
EXPECTED: Final[dict[tuple[str, str], Row]] = {
    ("POST", "/v1/chat/stream"): Row(200, CHAT),
    ("POST", "/v1/chat"): Row(200, CHAT),
    ("GET", "/v1/streams/{id}"): Row(200, stream=True),
    ("GET", "/v1/streams/{id}/events"): Row(200, stream=True),
    ("POST", "/v1/streams/{id}/cancel"): Row(202, stream=True),
    ("POST", "/v1/streams/{id}/tickets"): Row(201, stream=True),
    ("POST", "/v1/chat/completions"): Row(200, OPENAI),
    ("GET", "/openai/v1/models"): Row(200),
    ("POST", "/v1/ui/chat"): Row(200, UI),
    # A chat is found by whose it is: another's chat is one that does not run (test_ui_chat.py).
    ("GET", "/v1/ui/chat/{id}/stream"): Row(204),
    ("POST", "/v1/ui/chat/{id}/stop"): Row(204),
    ("POST", "/v1/ag-ui"): Row(200, AG_UI),
    ("GET", "/v1/usage"): Row(200),
    ("GET", "/v1/models"): Row(200),
}
ADMINISTRATION: Final = "/v1/admin/"
PROTECTED: Final = [
    (route, path)
    for route in ROUTES
    if route.path not in PUBLIC
    for path in (route.path, *route.aliases)
]
STREAM_ROUTES: Final = [
    (route, path)
    for route, path in PROTECTED
    if EXPECTED.get((route.method, route.path), Row(0)).stream
]


def row(route: Route) -> Row:
    found = EXPECTED.get((route.method, route.path))
    return found or Row(0, {} if route.method in {"POST", "PUT", "PATCH"} else None)


class Answer(NamedTuple):
    """What came back; of an endless stream, its beginning."""

    status: int
    body: Any
    text: str


@dataclass
class World:
    """A server, and a finished and a running stream of each owner in each tenant.

    Attributes:
        finished: by tenant and subject.
        running: the same.
    """

    server: Running
    finished: dict[tuple[int, str], str]
    running: dict[tuple[int, str], str]

    async def call(
        self, method: str, path: str, headers: dict[str, str], body: Any = None
    ) -> Answer:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.server.url + path, headers=headers, json=body) as response,
        ):
            if response.content_type == "text/event-stream":
                text = (await response.content.readany()).decode()
                return Answer(response.status, None, text)
            text = await response.text()
            is_json = response.content_type == "application/json"
            return Answer(response.status, json.loads(text) if is_json else None, text)

    async def state(self, stream: str, tenant: int, subject: str) -> Any:
        answer = await self.call(
            "GET", f"/v1/streams/{stream}", self.server.headers(tenant, subject=subject)
        )
        assert answer.status == 200
        return answer.body["data"]


async def start(server: Running, tenant: int, subject: str) -> str:
    """Start a stream that does not end by itself, and leave."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{server.url}/v1/chat/stream",
            json={"prompt": "x", "model": "mark-endless"},
            headers=server.headers(tenant, subject=subject),
        ) as response,
    ):
        assert response.status == 200
        return response.headers["X-Stream-Id"]


@pytest.fixture
async def world(
    tmp_path: Path, simulator: Simulator, replay: ReplayProvider
) -> AsyncIterator[World]:
    configured = tables(simulator, replay)
    configured["models"]["mark-endless"] = {"targets": ["sim/sim:fault=endless,delay_ms=20"]}
    configured["models"]["secret-b"] = {"targets": ["sim/sim:words=1"]}
    configured["tenants"]["1"]["models"] = ["plain", "mark-*"]
    configured["tenants"]["2"]["models"] = ["plain", "mark-*", "secret-*"]
    configured["streams"]["detach_seconds"] = 120
    configured["timeouts"]["total"] = 120.0
    async with tellstream(tmp_path, **configured) as server:
        finished, running = {}, {}
        for tenant in (1, 2):
            for subject in OWNERS:
                headers = server.headers(tenant, subject=subject)
                reply = await ask(server, {"prompt": "x"}, headers=headers)
                finished[tenant, subject] = reply.headers["X-Stream-Id"]
                running[tenant, subject] = await start(server, tenant, subject)
        yield World(server, finished, running)


def signed(
    server: Running, issuer: Issuer | None = None, keys: SigningKeys | None = None, **changes: Any
) -> str:
    keys = keys or SigningKeys.load_or_create(server.settings.data_dir)
    said = {
        "tenants": [1], "subject": "ann", "client": "c", "scopes": SCOPES.split(), "ttl": 60,
        "now": time.time(),
    }  # fmt: skip
    return sign_token(keys, issuer or embedded_issuer(PUBLIC_URL, keys), **{**said, **changes})


class Stranger(NamedTuple):
    """Who may not pass, and how they are refused."""

    headers: dict[str, str]
    status: int
    code: str


def strangers(server: Running, route: Route, folder: Path) -> dict[str, Stranger]:
    """Who may not pass: their headers, and how they are refused."""
    others = [scope for scope in SCOPES.split() if scope != route.scope]
    foreign = SigningKeys.load_or_create(folder)
    tokens: dict[str, tuple[str | None, int, str]] = {
        "no token": (None, 401, "unauthenticated"),
        "garbage": ("nonsense", 401, "invalid_token"),
        "expired": (signed(server, now=time.time() - 3600), 401, "invalid_token"),
        "unknown issuer": (
            signed(server, embedded_issuer("https://evil.example", foreign), foreign),
            401,
            "invalid_token",
        ),
        "our name, another's key": (
            signed(server, embedded_issuer(PUBLIC_URL, foreign), foreign),
            401,
            "invalid_token",
        ),
        "another tenant's token": (signed(server, tenants=[2]), 403, "forbidden"),
        "no tenant at all": (signed(server, tenants=[]), 403, "forbidden"),
        "another scope": (signed(server, scopes=others), 403, "insufficient_scope"),
        "no scope": (signed(server, scopes=[]), 403, "insufficient_scope"),
    }
    return {
        name: Stranger(
            {"X-Tenant": "1"} | ({} if token is None else {"Authorization": f"Bearer {token}"}),
            status,
            code,
        )
        for name, (token, status, code) in tokens.items()
    }


def route_is_openai(path: str) -> bool:
    """Whether errors have the shape that OpenAI's clients read."""
    return path.endswith("/chat/completions") or path.startswith("/openai/")


def test_every_protected_route_has_a_row() -> None:
    """Add what a new route answers to EXPECTED, and say whether its path names a stream."""
    routes = {(r.method, r.path) for r in ROUTES if r.path not in PUBLIC}
    expected = {key for key in routes if not key[1].startswith(ADMINISTRATION)}
    assert expected == set(EXPECTED), "tests/server/test_tenancy.py: EXPECTED is not the table"
    for route, path in PROTECTED:
        assert route.scope is not None, f"{route.path} needs no scope"
        assert (route.scope == "admin") == route.path.startswith(ADMINISTRATION)
        if not path.startswith(ADMINISTRATION):
            assert ("streams/{id}" in path) == row(route).stream, f"is {path} about a stream?"


async def test_who_may_not_pass_is_refused_as_the_table_says(
    server: Running, tmp_path: Path
) -> None:
    async with aiohttp.ClientSession() as session:
        for route, path in PROTECTED:
            url = server.url + path.replace("{id}", UNKNOWN).replace("{provider}", "openai")
            for name, told in strangers(server, route, tmp_path / "evil").items():
                async with session.request(
                    route.method, url, headers=told.headers, json=row(route).body
                ) as response:
                    error = (await response.json())["error"]
                    found = (response.status, error["code"] if route_is_openai(path) else error)
                    assert found == (told.status, told.code), (path, name)
                    challenged = "WWW-Authenticate" in response.headers
                    assert challenged == (told.code != "forbidden"), (path, name)
    assert server.services.streams.running == 0


async def test_who_may_pass_is_served(server: Running) -> None:
    world = World(server, {}, {})
    for route, path in PROTECTED:
        if row(route).stream or not row(route).status:
            continue
        for tenant in (1, 2):
            headers = server.headers(tenant, scope=route.scope or "", subject="ann")
            address = path.replace("{id}", "of-nobody")
            answer = await world.call(route.method, address, headers, row(route).body)
            assert answer.status == row(route).status, (path, answer.text)


async def test_a_foreign_stream_is_as_unknown_as_none(world: World) -> None:
    """Every route about a stream, for streams that run and such that ended: 404, or the data."""
    assert STREAM_ROUTES
    everyone = [(tenant, subject) for tenant in (1, 2) for subject in OWNERS]
    for route, path in STREAM_ROUTES:
        if path.endswith("/cancel"):
            continue  # below: it must change nothing either
        for streams in (world.finished, world.running):
            for tenant, subject in everyone:
                own = world.server.headers(tenant, subject=subject)
                wide = world.server.headers(tenant, subject="boss", scope="chat streams:all")
                for owner, stream in streams.items():
                    address = path.replace("{id}", stream)
                    answer = await world.call(route.method, address, own)
                    missing = await world.call(route.method, path.replace("{id}", UNKNOWN), own)
                    if owner == (tenant, subject):
                        assert answer.status == row(route).status, (path, answer.text)
                    else:
                        assert (answer.status, answer.body) == (404, NOT_FOUND), (path, owner)
                    assert (missing.status, missing.body) == (404, NOT_FOUND)
                    answer = await world.call(route.method, address, wide)
                    seen = row(route).status if owner[0] == tenant else 404
                    assert answer.status == seen, (path, owner, "streams:all")
                    assert seen != 404 or answer.body == NOT_FOUND


async def test_a_stranger_cancels_nothing(world: World) -> None:
    headers = world.server.headers
    for (tenant, subject), stream in world.running.items():
        path = f"/v1/streams/{stream}/cancel"
        strangers = [headers(3 - tenant, subject=subject, scope="chat streams:all")]
        strangers += [headers(tenant, subject=other) for other in OWNERS if other != subject]
        strangers.append(headers(3 - tenant, subject=subject) | {"X-Tenant": str(tenant)})
        for number, stranger in enumerate(strangers):
            answer = await world.call("POST", path, stranger)
            assert answer.status == (403 if number == len(strangers) - 1 else 404)
    for (tenant, subject), stream in world.running.items():
        assert (await world.state(stream, tenant, subject))["state"] == "running"
    for (tenant, subject), stream in world.running.items():
        boss = headers(tenant, subject="boss", scope="chat streams:all")
        own = headers(tenant, subject=subject)
        answer = await world.call(
            "POST", f"/v1/streams/{stream}/cancel", boss if subject == "bob" else own
        )
        assert answer.status == 202
        assert (await world.state(stream, tenant, subject))["finish_reason"] == "Cancelled"


async def test_usage_and_models_are_those_of_the_tenant(world: World) -> None:
    headers = world.server.headers
    for tenant in (1, 2):
        own = {stream for (owner, _), stream in world.finished.items() if owner == tenant}
        answer = await world.call("GET", "/v1/usage?by=stream", headers(tenant, scope="usage"))
        assert {line["stream"] for line in answer.body["data"]} == own
        other = {stream for (owner, _), stream in world.finished.items() if owner != tenant}
        assert not any(stream in answer.text for stream in other)
        answer = await world.call("GET", "/v1/usage", headers(tenant, scope="usage"))
        assert [line["streams"] for line in answer.body["data"]] == [len(own)]
        answer = await world.call("GET", "/v1/models", headers(tenant))
        assert ("secret-b" in answer.text) == (tenant == 2)
        body = {"prompt": "x", "model": "secret-b"}
        answer = await world.call("POST", "/v1/chat", headers(tenant), body)
        assert answer.status == (200 if tenant == 2 else 422)


async def test_a_cursor_of_another_tenant_shows_nothing_of_it(world: World) -> None:
    first = await world.call(
        "GET", "/v1/usage?by=stream&limit=1", world.server.headers(2, scope="usage")
    )
    cursor = first.body["meta"]["cursor"]
    answer = await world.call(
        "GET", f"/v1/usage?cursor={cursor}", world.server.headers(1, scope="usage")
    )
    assert answer.status == 200
    of_two = [stream for (tenant, _), stream in world.finished.items() if tenant == 2]
    assert not any(stream in answer.text for stream in of_two)


async def test_410_is_for_the_owner(
    tmp_path: Path, simulator: Simulator, replay: ReplayProvider
) -> None:
    configured = tables(simulator, replay, eventlog={"url": "sqlite", "retention_seconds": 1})
    async with tellstream(tmp_path, **configured) as server:
        reply = await ask(server, {"prompt": "x"}, headers=server.headers(1, subject="ann"))
        path = f"/v1/streams/{reply.headers['X-Stream-Id']}/events"
        world = World(server, {}, {})
        async with asyncio.timeout(SECONDS):
            while True:
                answer = await world.call("GET", path, server.headers(1, subject="ann"))
                if answer.status == 410:
                    break
                await asyncio.sleep(0.2)
        for headers in (server.headers(1, subject="bob"), server.headers(2, subject="ann")):
            answer = await world.call("GET", path, headers)
            assert (answer.status, answer.body) == (404, NOT_FOUND)
