"""The servers of many runs: workers on fixed ports, a Redis, the provider; and their faults.

What a fault took away comes back by itself, some time later; a run need not wait for it.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from history.schedule import LEASE, MODELS, RETRIES, Fault, Step
from support.processes import NotStartedError, Server, Servers, servers
from support.redis import RedisServer, redis_server
from tellstream.providers.simulator import Simulator

RESTART_SECONDS: Final = 40.0
"""For a worker to be there again, on a busy machine, with a Redis that may be away at first."""
RETRY_SECONDS: Final = 0.2
"""Between two tries to start one."""
TAIL_LINES: Final = 60
"""Of each server's log, in a report."""


class Worker:
    """One place for a process, with a port of its own.

    Attributes:
        number: of the place.
        url: where it listens; the same after a restart.
        server: the process.
        up: it is running, and not about to stop.
        frozen: it has been stopped, and will go on.
    """

    def __init__(self, number: int, server: Server) -> None:
        self.number = number
        self.url = server.url
        self.server = server
        self.up = True
        self.frozen = False


class Cluster:
    """Workers, and what they share.

    Attributes:
        processes: their configuration.
        workers: one in each place.
        simulator: the provider.
        notes: what was done, with times.
        known: streams that were judged.
    """

    def __init__(self, processes: Servers, redis: RedisServer | None, simulator: Simulator) -> None:
        self.processes = processes
        self.workers: list[Worker] = []
        self.simulator = simulator
        self.notes: list[str] = []
        self._redis = redis
        self._redis_away = False
        self._busy: set[Worker | None] = set()
        self._repairs: set[asyncio.Task[None]] = set()
        self._began = time.monotonic()
        self._read: dict[Server, int] = {}
        self._servers: list[Server] = []
        self.known: set[str] = set()

    async def start(self, count: int) -> None:
        """Start the workers."""
        for server in await asyncio.gather(*(self.processes.start() for _ in range(count))):
            self._servers.append(server)
            self.workers.append(Worker(len(self.workers), server))

    async def close(self) -> None:
        """Let repairs end; then nothing is left but the processes."""
        if self._repairs:
            await asyncio.wait(self._repairs)
        self._raise_failures()
        for worker in self.workers:
            worker.server.process.send_signal(signal.SIGCONT)

    def begin(self) -> None:
        """Begin the notes of a run."""
        self.notes = []
        self._began = time.monotonic()

    def note(self, text: str) -> None:
        """Note what is done."""
        self.notes.append(f"{time.monotonic() - self._began:7.3f} {text}")

    def urls(self) -> list[str]:
        """Where somebody may answer."""
        return [worker.url for worker in self.workers if worker.up]

    def answering(self) -> list[str]:
        """Where somebody should answer at once."""
        return [worker.url for worker in self.workers if worker.up and not worker.frozen]

    async def ready(self, count: int) -> None:
        """Wait until Redis, and so many workers, are there."""
        async with asyncio.timeout(2 * RESTART_SECONDS):
            while self._redis_away or len(self.answering()) < count:
                self._raise_failures()
                await asyncio.sleep(0.02)

    async def healed(self) -> None:
        """Wait until nothing is held back any more: Redis is there, and nobody is frozen."""
        while self._redis_away or any(worker.frozen for worker in self.workers):
            self._raise_failures()
            await asyncio.sleep(0.01)

    def do(self, step: Step) -> None:
        """Do something bad."""
        worker = None if step.fault.name.startswith("REDIS") else self.workers[step.worker]
        if worker in self._busy or (worker is not None and not worker.up):
            self.note(f"not done, as something else is under way: {step}")
            return
        if worker is None:
            self._redis_away = step.fault is not Fault.REDIS_DROP
            work = self._to_redis(step)
        else:
            worker.frozen = step.fault is Fault.FREEZE
            worker.up = worker.frozen
            work = self._to_worker(step, worker)
        self._busy.add(worker)
        task = asyncio.create_task(self._repair(work, worker))
        self._repairs.add(task)

    def _raise_failures(self) -> None:
        for task in [task for task in self._repairs if task.done()]:
            self._repairs.discard(task)
            task.result()

    async def _repair(self, work: Coroutine[Any, Any, None], worker: Worker | None) -> None:
        try:
            await work
        finally:
            self._busy.discard(worker)

    async def _to_worker(self, step: Step, worker: Worker) -> None:
        where = f"worker {worker.number}"
        self.note(f"{step.fault}: {where}")
        if step.fault is Fault.FREEZE:
            worker.server.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(step.seconds)
            worker.server.process.send_signal(signal.SIGCONT)
            worker.frozen = False
            self.note(f"{where} goes on")
            return
        await worker.server.stop(signal.SIGKILL if step.fault is Fault.KILL else signal.SIGTERM)
        self.note(f"{where} is gone")
        await asyncio.sleep(step.seconds)
        await self._restart(worker)
        self.note(f"{where} is back")

    async def _restart(self, worker: Worker) -> None:
        deadline = time.monotonic() + RESTART_SECONDS
        while True:
            try:
                worker.server = await self.processes.start(port=worker.server.port)
            except NotStartedError:  # without Redis
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._servers.append(worker.server)
                worker.up = True
                return

    async def _to_redis(self, step: Step) -> None:
        assert self._redis is not None
        self.note(f"{step.fault}, for {step.seconds:.2f} s")
        if step.fault is Fault.REDIS_DROP:
            for kind in ("normal", "pubsub"):
                await asyncio.to_thread(self._redis.ask, "CLIENT", "KILL", "TYPE", kind)
            return
        if step.fault is Fault.REDIS_FREEZE:
            self._redis.pause()
            await asyncio.sleep(step.seconds)
            self._redis.resume()
        else:
            end = self._redis.kill if step.fault is Fault.REDIS_KILL else self._redis.stop
            await asyncio.to_thread(end)
            await asyncio.sleep(step.seconds)
            await asyncio.to_thread(self._redis.start)
        self._redis_away = False
        self.note("Redis is back")

    def new_lines(self) -> list[str]:
        """What all servers wrote to standard error since the last time."""
        lines = []
        for server in self._servers:
            text = server.errors
            lines += text[self._read.get(server, 0) :].splitlines()
            self._read[server] = len(text)
        return lines

    def tails(self) -> str:
        """The last lines of the newest servers' logs."""
        shown = []
        for server in self._servers[-2 * len(self.workers) :]:
            shown.append(f"--- {server.url}, process {server.process.pid}")
            shown += server.errors.splitlines()[-TAIL_LINES:]
        return "\n".join(shown)


@asynccontextmanager
async def cluster(folder: Path, *, shared: bool) -> AsyncIterator[Cluster]:
    """Run servers: three workers on one Redis, or one with an SQLite log."""
    if not shared:
        async with _cluster(folder, None, 1) as made:
            yield made
        return
    home = folder / "redis"
    home.mkdir()
    with redis_server(home) as redis:
        async with _cluster(folder, redis, 3) as made:
            yield made


@asynccontextmanager
async def _cluster(folder: Path, redis: RedisServer | None, count: int) -> AsyncIterator[Cluster]:
    async with (
        Simulator() as simulator,
        servers(
            folder,
            eventlog={"url": "sqlite" if redis is None else redis.url},
            streams={
                "lease_seconds": LEASE,
                "heartbeat_seconds": 0.4,
                "commit_seconds": 0.4,
                "drain_seconds": 0.4,
            },
            retries={"max": RETRIES},
            timeouts={"idle": 2.5, "first_token": 5.0, "headers": 5.0},
            providers={
                name: {
                    "dialect": "openai-chat",
                    "base_url": f"{simulator.url}/v1",
                    "api_key": "none",
                }
                for name in MODELS
            },
            models={name: {"targets": [f"{name}/{m.target}"]} for name, m in MODELS.items()},
            tenants={"1": {"model": "text", "limits": {"prompt_chars": 4000}}},
        ) as processes,
    ):
        made = Cluster(processes, redis, simulator)
        await made.start(count)
        try:
            yield made
        finally:
            await made.close()
