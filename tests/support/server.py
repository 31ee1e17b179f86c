"""A real Tellstream server in the test's own loop: real sockets, real HTTP."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn

from tellstream.auth.client_store import StoredClients
from tellstream.auth.clients import OAuthClient, new_client
from tellstream.auth.keys import SigningKeys
from tellstream.auth.transactions import run
from tellstream.cli.tokens import signed
from tellstream.config import load_settings
from tellstream.server.app import build, opened_store
from tellstream.server.application import Application
from tellstream.server.auth_audit import record
from tellstream.server.dialects import build_offer
from tellstream.server.http_protocol import DeadlineProtocol
from tellstream.server.run import bind
from tellstream.server.services import Services
from tellstream.settings import Settings


class Running:
    """A running server."""

    def __init__(self, url: str, settings: Settings, application: Application) -> None:
        self.url = url
        self.settings = settings
        self._application = application

    @property
    def services(self) -> Services:
        services = self._application._services
        assert services is not None
        return services

    def token(self, *tenants: int, scope: str = "chat", subject: str = "local") -> str:
        keys = SigningKeys.load_or_create(self.settings.data_dir)
        return signed(keys, self.settings, list(tenants or (1,)), scope, subject=subject)

    async def client(self, scope: str, tenants: tuple[int, ...]) -> tuple[OAuthClient, str]:
        """Register an OAuth client, as an operator does; returns it and its secret."""
        client, secret = new_client(
            "app", (), scope.split(), tenants, public=False, now=time.time()
        )
        assert secret is not None
        async with opened_store(self.settings) as store:
            await run(store, time.time, record, lambda tx: StoredClients(tx).insert(client))
        return client, secret

    def headers(self, tenant: int = 1, **options: Any) -> dict[str, str]:
        token = self.token(tenant, **options)
        return {"Authorization": f"Bearer {token}", "X-Tenant": str(tenant)}


def toml(value: Any) -> str:
    """Write a value as inline TOML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f'"{name}" = {toml(item)}' for name, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else repr(value)


@asynccontextmanager
async def tellstream(
    folder: Path, *, send_buffer: int = 0, **tables: Any
) -> AsyncIterator[Running]:
    """Run a server whose configuration file holds ``tables``.

    ``send_buffer``: bytes that the kernel takes for a client that does not read; 0: its default.
    """
    file = folder / "tellstream.toml"
    file.write_text("".join(f"{name} = {toml(value)}\n" for name, value in tables.items()))
    settings = load_settings(file, {}, folder)
    application = build(settings, build_offer(settings, {}))
    listener = bind("127.0.0.1", 0)
    if send_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    config = uvicorn.Config(
        application, http=DeadlineProtocol, ws="none", lifespan="on", log_config=None,
        access_log=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve([listener]))
    while not server.started:
        assert not task.done(), task.exception()
        await asyncio.sleep(0.005)
    try:
        yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", settings, application)
    finally:
        server.should_exit = True
        await task
        listener.close()
