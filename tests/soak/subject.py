"""The server that is soaked, with its provider, its store of streams, and three tenants."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from history.schedule import MODELS, RETRIES
from support.ports import free_port
from support.processes import Server, Servers, servers
from support.redis import redis_server
from tellstream.providers.simulator import Simulator

LOGS: Final = ("memory", "sqlite", "redis")
DETACH_SECONDS: Final = 0.5
PLACES: Final = 150
"""Of the process; visitors take less than half."""
FREE, CAPPED, HURRIED = 1, 2, 3
"""Tenants: without limits, with few streams at once, with few requests per minute."""
CAP: Final = 4
"""Streams at once, of the second."""
REQUESTS_PER_MINUTE: Final = 120
"""Of the third."""
PROMPT_CHARS: Final = 8000
INSIDE: Final = Path(__file__).parent / "inside"

MORE_MODELS: Final = {
    "quick": "sim:words=3",
    "long": f"sim:words=8000,mark={'long' * 16}",
    "lasting": "sim:words=2000,delay_ms=50",
}
"""Besides those of the histories: next to nothing, more than a socket takes at once, a minute."""


class Subject(NamedTuple):
    """What is soaked.

    Attributes:
        log: of streams, a name of ``LOGS``.
        server: the process.
        processes: its configuration.
        simulator: its provider.
        metrics: where it tells its metrics.
        look: the file that it writes on SIGUSR1.
    """

    log: str
    server: Server
    processes: Servers
    simulator: Simulator
    metrics: str
    look: Path


@contextmanager
def _log_url(log: str, folder: Path) -> Iterator[str]:
    with ExitStack() as stack:
        if log == "redis":
            home = folder / "redis"
            home.mkdir()
            yield stack.enter_context(redis_server(home)).url
        else:
            yield log


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set variables for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@asynccontextmanager
async def subject(folder: Path, log: str, retention: float) -> AsyncIterator[Subject]:
    """Run the server, with the real command.

    Args:
        folder: for its files.
        log: of streams, a name of ``LOGS``.
        retention: seconds for which they are kept; short, so that what is kept is soon as much as
            it will ever be, but visitors come back within it.
    """
    metrics = f"127.0.0.1:{free_port()}"
    look = folder / "look.json"
    paths = os.pathsep.join([str(INSIDE), *filter(None, [os.environ.get("PYTHONPATH")])])
    targets = {name: model.target for name, model in MODELS.items()} | MORE_MODELS
    async with Simulator() as simulator:
        provider = {"dialect": "openai-chat", "base_url": f"{simulator.url}/v1", "api_key": "none"}
        with _log_url(log, folder) as url:
            async with servers(
                folder,
                eventlog={"url": url, "retention_seconds": retention},
                streams={
                    "heartbeat_seconds": 0.4,
                    "commit_seconds": 0.4,
                    "drain_seconds": 0.4,
                    "detach_seconds": DETACH_SECONDS,
                    "max_running": PLACES,
                    "tenant_share": 1.0,
                },
                retries={"max": RETRIES},
                timeouts={"idle": 5.0, "first_token": 10.0, "headers": 10.0},
                metrics={"listen": metrics},
                providers=dict.fromkeys(targets, provider),
                models={name: {"targets": [f"{name}/{t}"]} for name, t in targets.items()},
                tenants=_tenants(),
            ) as processes:
                with _environment(PYTHONPATH=paths, SOAK_LOOK=str(look)):
                    server = await processes.start()
                address = f"http://{metrics}/metrics"
                yield Subject(log, server, processes, simulator, address, look)


def _tenants() -> dict[str, Any]:
    limits: dict[int, dict[str, int]] = {
        FREE: {},
        CAPPED: {"concurrent_streams": CAP},
        HURRIED: {"requests_per_minute": REQUESTS_PER_MINUTE},
    }
    return {
        str(tenant): {"model": "text", "limits": {"prompt_chars": PROMPT_CHARS, **own}}
        for tenant, own in limits.items()
    }
