"""What can be read of a server from outside, and a look inside.

Metrics tell streams and readers, the system tells memory, descriptors and sockets. Tasks and
objects nobody tells, so the server counts them itself when it gets a signal; see `inside/`.
"""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
import psutil

from soak.subject import Subject

QUIET_SECONDS: Final = 60.0
"""For everything to end that was begun, and for idle connections to providers to be closed."""
POLL_SECONDS: Final = 0.2
LOOK_SECONDS: Final = 30.0
"""For the server to count; it does nothing else meanwhile."""


class Look(NamedTuple):
    """A server at one moment.

    Attributes:
        rss: bytes.
        descriptors: open ones, by the file's name or their kind: ``socket``, ``pipe`` ….
        threads: of the process.
        clients: connections of clients.
        upstream: connections to the provider.
        tasks: by what they run.
        objects: by class, of those the garbage collector knows.
    """

    rss: int
    descriptors: Mapping[str, int]
    threads: int
    clients: int
    upstream: int
    tasks: Mapping[str, int]
    objects: Mapping[str, int]


class Sample(NamedTuple):
    """Memory during the load.

    Attributes:
        ended: streams that have ended so far.
        rss: bytes.
    """

    ended: int
    rss: int


class Gauges:
    """Reads them.

    Args:
        subject: whose.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._process = psutil.Process(subject.server.process.pid)

    async def metrics(self) -> dict[str, float]:
        """Read the metrics without labels; those with labels are summed up."""
        address = self._subject.metrics
        async with aiohttp.ClientSession() as session, session.get(address) as response:
            text = await response.text()
        sums: dict[str, float] = {}
        for line in text.splitlines():
            name, _, value = line.rpartition(" ")
            if name and not line.startswith("#"):
                name = name.partition("{")[0]
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums

    async def sample(self) -> Sample:
        """Read memory."""
        metrics = await self.metrics()
        ended = metrics.get("tellstream_streams_ended_total", 0.0)
        return Sample(int(ended), self._process.memory_info().rss)

    async def quiet(self, seconds: float) -> list[str]:
        """Wait until nothing is under way, and was not for so long; says what never ended."""
        time = asyncio.get_running_loop().time
        busy_at = time()
        deadline = busy_at + seconds + QUIET_SECONDS
        while True:
            metrics = await self.metrics()
            clients, upstream = self._sockets()
            running = int(metrics["tellstream_streams_running"])
            if running:
                busy_at = time()
            under_way = {
                "streams": running,
                "attached readers": int(metrics["tellstream_readers_attached"]),
                "connections of clients": clients,
                "connections to the provider": upstream,
            }
            left = [f"{count} {name} are left" for name, count in under_way.items() if count]
            if (not left and time() - busy_at >= seconds) or time() > deadline:
                return left
            await asyncio.sleep(POLL_SECONDS)

    async def look(self) -> Look:
        """Look at everything, also inside."""
        file = self._subject.look
        file.unlink(missing_ok=True)
        self._subject.server.process.send_signal(signal.SIGUSR1)
        async with asyncio.timeout(LOOK_SECONDS):
            while not file.exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(POLL_SECONDS)
        inside = json.loads(file.read_text())
        clients, upstream = self._sockets()
        return Look(
            self._process.memory_info().rss,
            self._descriptors(),
            self._process.num_threads(),
            clients,
            upstream,
            inside["tasks"],
            inside["objects"],
        )

    def _descriptors(self) -> Counter[str]:
        names: Counter[str] = Counter()
        for link in Path(f"/proc/{self._process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                names[named(str(link.readlink()))] += 1
        return names

    def _sockets(self) -> tuple[int, int]:
        """Count the connections of clients, and those to the provider."""
        provider = int(self._subject.simulator.url.rpartition(":")[2])
        clients = upstream = 0
        for connection in self._process.net_connections("inet"):
            if connection.raddr:
                clients += connection.laddr.port == self._subject.server.port
                upstream += connection.raddr.port == provider
        return clients, upstream


def named(target: str) -> str:
    """Name what a descriptor leads to, without what differs from one to the next."""
    kind, colon, _ = target.partition(":[")
    return kind if colon else target.rpartition("/")[2]
