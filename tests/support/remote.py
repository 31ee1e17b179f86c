"""A running ``tellstream serve``, as the helpers of OAuth clients and browsers want a server."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx2

from support.authorization import Application, AuthServer, Browser
from support.processes import Servers
from tellstream.auth.clients import OAuthClient


class Remote:
    """The server behind a URL. Stands for ``AuthServer`` where only HTTP is used."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = self.http_client()

    def http_client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self.url, trust_env=False, timeout=30)

    def application(self, made: dict[str, Any]) -> Application:
        """Give the OAuth client that ``admin client create`` has made."""
        client = OAuthClient(
            client_id=made["client_id"],
            name=made["name"],
            redirect_uris=tuple(made["redirect_uris"]),
            scopes=frozenset(made["scope"].split()),
            tenants=frozenset(made["tenants"]),
            secret_sha256=None,
        )
        return Application(cast("AuthServer", self), client, made.get("client_secret"))

    def browser(self) -> Browser:
        return Browser(cast("AuthServer", self))


@asynccontextmanager
async def remote(url: str) -> AsyncIterator[Remote]:
    """Reach a server, for as long as this lasts."""
    made = Remote(url)
    try:
        yield made
    finally:
        await made.http.aclose()


async def admin(servers: Servers, *arguments: str, stdin: str = "") -> dict[str, Any]:
    """Run ``tellstream admin`` with the configuration of some servers; gives what it says."""
    command: Collection[str] = (
        sys.executable, "-m", "tellstream", "admin", *arguments, "--json",
        "--config", str(servers.file),
    )  # fmt: skip
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, cwd=servers.folder, stdin=pipe, stdout=pipe, stderr=pipe
    )
    said, errors = await process.communicate(stdin.encode())
    assert process.returncode == 0, errors.decode()
    answer: dict[str, Any] = json.loads(said)
    return answer
