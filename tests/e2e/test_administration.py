"""What the command line stores takes effect in every worker of a running server."""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from support.processes import Servers, servers
from support.redis import redis_server

PROMISED = 5.0
"""Seconds for a stored change to take effect everywhere."""
MARGIN = 5.0
"""More for the processes of a busy test machine."""
KEY = "sk-of-the-tenant-0123456789"


class Provider:
    """Answers everything, and remembers the keys that it was shown."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers["Authorization"])
        chunk = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}
        text = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
        return web.Response(text=text, content_type="text/event-stream")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()


async def admin(processes: Servers, *arguments: str, stdin: str = "") -> Any:
    """Run ``tellstream admin``; returns its JSON."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tellstream", "admin", *arguments, "--json",
        "--config", str(processes.file), cwd=processes.folder,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(stdin.encode())
    assert process.returncode == 0, err.decode()
    return json.loads(out) if out else None


async def status(url: str, headers: Any, model: str = "m") -> int:
    """Ask on a connection of its own, which any of the workers may take."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{url}/v1/chat", headers=headers, json={"prompt": "x", "model": model}
        ) as response,
    ):
        await response.read()
        return response.status


async def everywhere(ask: Callable[[], Awaitable[int]], expected: int) -> float:
    """Wait until every one of many answers is the expected one; returns the seconds it took."""
    started = time.monotonic()
    while True:
        seen = Counter(await asyncio.gather(*(ask() for _ in range(12))))
        if set(seen) == {expected}:
            return time.monotonic() - started
        assert time.monotonic() - started < PROMISED + MARGIN, seen
        await asyncio.sleep(0.2)


async def test_a_change_reaches_all_workers_without_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_server(folder) as redis:
        provider = Provider()
        async with provider.running() as address:
            sim = {
                "dialect": "openai-chat",
                "base_url": address,
                "api_key": "sk-of-the-installation",
            }
            async with servers(
                tmp_path,
                eventlog={"url": redis.url},
                providers={"sim": sim},
                models={"m": {"targets": ["sim/x"]}},
                tenants={"1": {"model": "m"}},
            ) as processes:
                server = await processes.start("--workers", "2")
                await change_everything(processes, server.url, provider)


async def change_everything(processes: Servers, url: str, provider: Provider) -> None:
    headers = processes.headers(7)

    def ask() -> Awaitable[int]:
        return status(url, headers)

    # A tenant that comes, is suspended and comes back.
    await everywhere(ask, 403)
    await admin(processes, "tenant", "create", "--tenant", "7", "--name", "Late", "--model", "m")
    await everywhere(ask, 200)
    await admin(processes, "tenant", "suspend", "--tenant", "7")
    await everywhere(ask, 403)
    await admin(processes, "tenant", "resume", "--tenant", "7")
    await everywhere(ask, 200)
    assert set(provider.keys) == {"Bearer sk-of-the-installation"}

    # Its own key for the provider, until it is deleted.
    await admin(
        processes, "credential", "put", "--tenant", "7", "--provider", "sim", "--key-stdin",
        stdin=KEY,
    )  # fmt: skip
    await asyncio.sleep(PROMISED)
    provider.keys.clear()
    await everywhere(ask, 200)
    assert set(provider.keys) == {f"Bearer {KEY}"}
    await admin(processes, "credential", "delete", "--tenant", "7", "--provider", "sim")
    await asyncio.sleep(PROMISED)
    provider.keys.clear()
    await everywhere(ask, 200)
    others = set(provider.keys)
    assert others == {"Bearer sk-of-the-installation"}

    # The token of a client dies with the client.
    client = await admin(
        processes, "client", "create", "--name", "app", "--tenant", "7", "--scope", "chat"
    )
    form = {
        "grant_type": "client_credentials",
        "client_id": client["client_id"],
        "client_secret": client["client_secret"],
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/oauth/token", data=form) as response,
    ):
        token = (await response.json())["access_token"]
    theirs = {"Authorization": f"Bearer {token}", "X-Tenant": "7"}
    await everywhere(lambda: status(url, theirs), 200)
    await admin(processes, "client", "delete", "--client-id", client["client_id"])
    await everywhere(lambda: status(url, theirs), 401)

    # All of it was written down, and so was who was refused.
    events = (await admin(processes, "audit", "list", "--tenant", "7", "--limit", "1000"))["data"]
    acts = {event["act"] for event in events}
    assert {"tenant.created", "tenant.suspended", "credential.put"} <= acts, acts
