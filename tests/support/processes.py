"""Real ``tellstream serve`` processes that share one configuration and data folder."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support.server import toml
from tellstream.auth.keys import SigningKeys
from tellstream.cli.tokens import signed
from tellstream.config import load_settings
from tellstream.settings import Settings

START_SECONDS = 90.0
STOP_SECONDS = 30.0


class NotStartedError(AssertionError):
    """A process ended instead of listening; the message is what it wrote to standard error."""


class Server:
    """One process, or a pool of workers."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, errors: Path) -> None:
        self.process = process
        self.url = url
        self.banner = ""
        self._errors = errors

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def errors(self) -> str:
        """What it wrote to standard error."""
        return self._errors.read_text()

    async def kill(self) -> None:
        """Kill -9: nothing is cleaned up."""
        await self.stop(signal.SIGKILL)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(STOP_SECONDS):
            return await self.process.wait()


class Servers:
    """Processes with one configuration."""

    def __init__(self, folder: Path, **tables: Any) -> None:
        self.folder = folder
        self.file = folder / "tellstream.toml"
        self.file.write_text("".join(f"{n} = {toml(value)}\n" for n, value in tables.items()))
        self._running: list[Server] = []
        self._started = 0

    @property
    def settings(self) -> Settings:
        return load_settings(self.file, {}, self.folder)

    def headers(self, tenant: int = 1, subject: str = "local", scope: str = "chat usage") -> Any:
        keys = SigningKeys.load_or_create(self.settings.data_dir)
        token = signed(keys, self.settings, [tenant], scope, subject=subject)
        return {"Authorization": f"Bearer {token}", "X-Tenant": str(tenant)}

    async def start(self, *arguments: str, port: int = 0) -> Server:
        """Start one and wait until it listens."""
        self._started += 1
        errors = self.folder / f"server-{self._started}.log"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TELLSTREAM_")}
        with errors.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tellstream", "serve", "--port", str(port),
                "--config", str(self.file), *arguments,
                cwd=self.folder, stdout=asyncio.subprocess.PIPE, stderr=file, env=environment,
            )  # fmt: skip
        server = Server(process, "", errors)
        self._running.append(server)
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            banner = b""
            while b"Try it:" not in banner:
                line = await process.stdout.readline()
                if not line:
                    raise NotStartedError(server.errors)
                banner += line
        server.banner = banner.decode()
        found = re.search(r"listens on (\S+)", server.banner)
        assert found
        server.url = found[1]
        return server

    async def close(self) -> None:
        for server in self._running:
            if server.process.returncode is None:
                await server.stop(signal.SIGKILL)
            # Its pipes are closed by reading them to their end.
            assert server.process.stdout is not None
            await server.process.stdout.read()


@asynccontextmanager
async def servers(folder: Path, **tables: Any) -> AsyncIterator[Servers]:
    """Processes that are gone in the end."""
    made = Servers(folder, **tables)
    try:
        yield made
    finally:
        await made.close()
