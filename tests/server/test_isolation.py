"""Nothing crosses from one tenant to another: keys, credentials, tokens, answers, suspension."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from pydantic import SecretStr

from server.conftest import tables
from server.test_tenancy import CHAT, OWNERS, SCOPES, SECONDS, World
from support.chat import ask
from support.replay import ReplayProvider
from support.server import Running, tellstream
from tellstream.providers.simulator import Simulator
from tellstream.server.app import opened_store
from tellstream.storage import credentials, tenants
from tellstream.storage.master_key import MasterKey
from tellstream.storage.tenants import StoredTenant
from tellstream.streams.breaker import MIN_CALLS

MARKED: Final = {1: "mark-a", 2: "mark-b"}
MARKED_SECONDS: Final = 6.0
"""For which marked streams of two tenants run beside each other."""


async def test_an_idempotency_key_belongs_to_its_tenant_and_subject(server: Running) -> None:
    found = set()
    for tenant in (1, 2):
        for subject in OWNERS:
            headers = server.headers(tenant, subject=subject) | {"Idempotency-Key": "the-same"}
            for _ in range(2):
                reply = await ask(server, {"prompt": "x"}, headers=headers)
                assert reply.status == 200
                found.add((tenant, subject, reply.headers["X-Stream-Id"]))
    assert len(found) == len({stream for *_, stream in found}) == 4


@pytest.mark.parametrize(
    "body",
    [
        {"api_base": "http://evil.example"},
        {"metadata": {"a": {"api_base": "x"}}},
        {"history": [{"role": "user", "content": "x", "api_base": "x"}]},
        {"history": [{"role": "user", "content": "x", "model": "x"}]},
        {"history": [{"role": "system", "content": "x"}]},
        {"history": [{"role": "developer", "content": "x"}]},
        {"tools": [{"type": "function", "function": {"name": "f", "api_base": "x"}}]},
        {"tools": [{"type": "function", "api_base": "x", "function": {"name": "f"}}]},
        {"tool_choice": {"type": "function", "function": {"name": "f", "api_base": "x"}}},
        {"model": "sim/sim:words=1"},
        {"model": "secret-b"},
        {"tenant": 2},
        {"system": "x"},
    ],
    ids=str,
)
async def test_t7_unknown_keys_are_refused_at_every_level(server: Running, body: Any) -> None:
    reply = await ask(server, CHAT | body)
    assert (reply.status, reply.json["error"]) == (422, "validation_error")


async def test_t8_there_are_no_metrics_on_the_api(server: Running) -> None:
    world = World(server, {}, {})
    for headers in ({}, server.headers(scope=SCOPES)):
        assert (await world.call("GET", "/metrics", headers)).status == 404


async def test_t9_the_callers_token_is_not_sent_to_the_provider(
    tmp_path: Path, replay: ReplayProvider, simulator: Simulator
) -> None:
    """The provider sees its own key and nothing of what the caller authenticated with."""
    heads: list[bytes] = []

    async def provider(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(provider, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    configured = tables(simulator, replay)
    configured["providers"]["listens"] = {
        "dialect": "openai-chat", "base_url": f"http://127.0.0.1:{port}/v1", "api_key": "own-key",
    }  # fmt: skip
    configured["models"]["listens"] = {"targets": ["listens/x"]}
    async with listener, tellstream(tmp_path, **configured) as server:
        headers = server.headers() | {"Cookie": "a=b", "X-Api-Key": "callers-own"}
        reply = await ask(server, {"prompt": "x", "model": "listens"}, headers=headers)
        assert reply.status == 503
    (head,) = heads
    assert b"Bearer own-key" in head
    for secret in (headers["Authorization"].split()[1], "a=b", "callers-own"):
        assert secret.encode() not in head
    assert b"x-tenant" not in head.lower()


async def test_a_tenants_own_key_is_used_for_it_alone(
    tmp_path: Path, simulator: Simulator, replay: ReplayProvider
) -> None:
    """A stored key takes the place of the configured one, for its tenant; within five seconds."""
    seen: list[str] = []

    async def provider(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        seen.append(head.partition("Bearer ")[2].split("\r\n")[0])
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(provider, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    configured = tables(simulator, replay)
    listens = {"dialect": "openai-chat", "base_url": url, "api_key": "platform"}
    configured["providers"]["listens"] = listens
    configured["models"] = {"plain": {"targets": ["listens/x"]}}
    configured["tenants"] = {"1": {}, "2": {}}
    async with listener, tellstream(tmp_path, **configured) as server:
        async with opened_store(server.settings) as store:
            keyring = MasterKey(server.settings.data_dir).keyring()
            key = SecretStr("key-of-two")
            await store.run(
                None,
                lambda c: credentials.put(
                    c, None, keyring, 2, "listens", "own", key, now=int(time.time())
                ),
            )
        async with asyncio.timeout(SECONDS):
            while "key-of-two" not in seen:
                await ask(server, CHAT, tenant=2)
                await asyncio.sleep(0.1)
        seen.clear()
        await ask(server, CHAT, tenant=1)
        await ask(server, CHAT, tenant=2)
    assert seen == ["platform", "key-of-two"]


async def test_a_refused_key_of_one_tenant_does_not_stop_another(
    tmp_path: Path, simulator: Simulator, replay: ReplayProvider
) -> None:
    configured = tables(simulator, replay, tenants={"1": {"model": "bad-key"}, "2": {}})
    configured["tenants"]["2"]["model"] = "bad-key"
    async with tellstream(tmp_path, **configured) as server:
        said = [(await ask(server, CHAT)).json["error"] for _ in range(MIN_CALLS + 1)]
        assert (said[0], said[-1]) == ("provider_auth", "provider_unavailable"), "it is open"
        reply = await ask(server, CHAT, tenant=2)
        assert (reply.status, reply.json["error"]) == (502, "provider_auth")


async def reaches(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is so."""
    async with asyncio.timeout(SECONDS):
        while not await condition():  # noqa: ASYNC110 - what happens elsewhere tells nobody
            await asyncio.sleep(0.1)


async def test_r15_a_suspended_tenant_is_refused_and_its_streams_end(
    tmp_path: Path, simulator: Simulator, replay: ReplayProvider
) -> None:
    """Suspension takes effect on what runs, too; on nobody else's."""
    configured = tables(simulator, replay)
    configured["tenants"] = {"1": {"name": "Acme"}}
    configured["streams"]["detach_seconds"] = 120
    configured["timeouts"]["total"] = 120.0
    configured["models"] = {"plain": {"targets": ["sim/sim:fault=endless,delay_ms=20"]}}
    async with (
        tellstream(tmp_path, **configured) as server,
        opened_store(server.settings) as store,
        aiohttp.ClientSession() as session,
    ):
        world, url = World(server, {}, {}), f"{server.url}/v1/chat/stream"
        made = StoredTenant(2, "Beta", {}, int(time.time()))
        await store.run(None, lambda c: tenants.put(c, None, made))

        async def answers(status: int) -> bool:
            return (await world.call("GET", "/v1/models", server.headers(2))).status == status

        await reaches(lambda: answers(200))
        async with (
            session.post(url, json=CHAT, headers=server.headers(1)) as of_one,
            session.post(url, json=CHAT, headers=server.headers(2)) as of_two,
        ):
            assert (of_one.status, of_two.status) == (200, 200)
            await store.run(None, lambda c: tenants.suspend(c, None, 2, int(time.time())))
            await reaches(lambda: answers(403))
            async with asyncio.timeout(SECONDS / 4):
                assert "stream_end" in await of_two.text()
            assert server.services.streams.running == 1
        answer = await world.call("POST", "/v1/chat", server.headers(2), CHAT)
        assert (answer.status, answer.body["error"]) == (403, "forbidden")


async def marked(server: Running, tenant: int, chance: random.Random, until: float) -> int:
    """Let a tenant's streams run, some cancelled; every word must be its own. Counts them."""
    own, count = MARKED[tenant], 0
    letter = {1: "b", 2: "a"}[tenant]  # of the other one
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        headers = server.headers(tenant, subject=chance.choice(OWNERS))
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(
                f"{server.url}/v1/chat/stream", json={"prompt": own, "model": own}
            ) as response,
        ):
            assert response.status == 200
            stream, said = response.headers["X-Stream-Id"], b""
            stop = chance.choice((None, 0, 200, 1000))
            async for piece in response.content.iter_any():
                said += piece
                if stop is not None and len(said) > stop:
                    await (await session.post(f"{server.url}/v1/streams/{stream}/cancel")).read()
                    stop = None
            async with session.get(f"{server.url}/v1/streams/{stream}/events") as again:
                replayed = await again.read()
        assert replayed == said.replace(b": keep-alive\n", b"")
        deltas = [
            json.loads(line.removeprefix("data: "))["delta"]
            for frame in said.decode().split("\n\n")
            if "event: text_delta" in frame
            for line in frame.splitlines()
            if line.startswith("data: ")
        ]
        assert letter not in "".join(deltas)
        count += 1
    return count


async def test_t10_marked_streams_of_two_tenants_never_cross(server: Running) -> None:
    chance = random.Random(5)
    until = asyncio.get_running_loop().time() + MARKED_SECONDS
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(marked(server, tenant, chance, until))
            for tenant in (1, 2)
            for _ in range(4)
        ]
    assert sum(task.result() for task in tasks) >= len(tasks)
