"""A private Redis server for tests: real, durable, and killed without mercy."""

import asyncio
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from support.ports import free_port

START_SECONDS = 60.0


def redis_executable() -> str:
    """The server's program; without it, the test is skipped."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        pytest.skip("redis-server is not installed")
    return found


class RedisServer:
    """One server on a port and in a folder of its own, which it keeps over restarts.

    Args:
        folder: for its files.
        options: more of its command line.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [
            redis_executable(), "--port", str(self.port), "--bind", "127.0.0.1",
            "--dir", str(self._folder), "--appendonly", "yes", "--save", "", *self._options,
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.ask("PING")
                return
            except redis.AuthenticationError:
                return
            except redis.ConnectionError:  # also while it loads its file
                assert self._process.poll() is None, "redis-server ended"
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.01)

    def ask(self, *command: Any) -> Any:
        """Execute one command on a connection of its own."""
        client: Any = redis.Redis(port=self.port, retry=Retry(NoBackoff(), 0))
        try:
            return client.execute_command(*command)
        finally:
            client.close()

    def stop(self) -> None:
        """Stop it as an operator does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without warning."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(START_SECONDS)
            self._process = None


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    """Run a server."""
    server = RedisServer(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


class Proxy:
    """A way to a Redis that loses replies when told to.

    Attributes:
        lossy: so many replies to scripts are lost next, each with its connection, though the
            script was executed.
        lost: how many were.
        port: where it listens.
    """

    def __init__(self, target: int) -> None:
        self.lossy = 0
        self.lost = 0
        self.port = 0
        self._target = target

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def serve(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """Relay one connection."""
        asked = asyncio.Event()
        async with closing_writer(back):
            far, on = await asyncio.open_connection("127.0.0.1", self._target)
            async with closing_writer(on):
                ends = [
                    asyncio.create_task(self._requests(near, on, asked)),
                    asyncio.create_task(self._replies(far, back, asked)),
                ]
                try:
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for end in ends:
                        end.cancel()
                    await asyncio.wait(ends)

    async def _requests(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, asked: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if b"EVALSHA" in data:
                    asked.set()
                sink.write(data)
                await sink.drain()

    async def _replies(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, asked: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if self.lossy and asked.is_set():
                    self.lossy -= 1
                    self.lost += 1
                    return
                asked.clear()
                sink.write(data)
                await sink.drain()


@asynccontextmanager
async def closing_writer(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Close a connection at the end, whatever happens."""
    try:
        yield
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def proxy_to(server: RedisServer) -> AsyncIterator[Proxy]:
    """Run a proxy."""
    proxy = Proxy(server.port)
    tasks: set[asyncio.Task[None]] = set()

    def accept(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.serve(near, back))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy.port = listener.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listener.close()
        await asyncio.sleep(0)  # a task that has not begun would not close what it was given
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
