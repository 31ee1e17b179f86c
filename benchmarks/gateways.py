"""What is measured: a gateway between load and provider; Tellstream with each event log."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks import logs, wire
from benchmarks.processes import (
    HOST,
    Placement,
    Process,
    ProcessError,
    command,
    environment,
    free_port,
    running,
)

PROMPT: Final = "Tell me about rivers, stones and the sea, in as many words as it takes."
OPENAI_PATH: Final = "/v1/chat/completions"


@dataclass(frozen=True)
class Site:
    """Where a gateway runs for one measurement.

    Attributes:
        folder: its own, empty.
        provider: the port of the provider.
        models: what it will be asked for.
        placement: the processors.
    """

    folder: Path
    provider: int
    models: list[str]
    placement: Placement


@dataclass(frozen=True)
class Running:
    """A gateway that listens.

    Attributes:
        port: where.
        request: writes a whole request for a model.
        ends: what the end of every answer holds besides the usage.
        server: its process; None: nothing is there to be measured.
        store: the process that keeps its event log, if it is another one.
    """

    port: int
    request: Callable[[str], bytes]
    ends: list[str]
    server: Process | None = None
    store: Process | None = None


@dataclass(frozen=True)
class Gateway:
    """A kind of gateway.

    Attributes:
        name: as given on the command line.
        run: starts one, and stops it in any case.
        prepare: makes it ready, once; says why it cannot be measured here, None: it can.
        facts: names what its figures depend on.
    """

    name: str
    run: Callable[[Site], AbstractContextManager[Running]]
    prepare: Callable[[], str | None] = lambda: None
    facts: Callable[[], dict[str, str]] = field(default=dict)


def openai_body(model: str) -> dict[str, Any]:
    """Return the request of OpenAI's chat completions."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": PROMPT}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def openai(port: int, server: Process | None, headers: dict[str, str] | None = None) -> Running:
    """Return a gateway that speaks OpenAI's chat completions."""
    return Running(
        port,
        lambda model: wire.request(port, OPENAI_PATH, headers or {}, openai_body(model)),
        ["data: [DONE]", '"finish_reason":"stop"'],
        server,
    )


@contextmanager
def _nothing(site: Site) -> Iterator[Running]:
    yield openai(site.provider, None)


DIRECT: Final = Gateway("direct", _nothing)
"""No gateway: what the load sees of the provider alone."""


# --- Tellstream ----------------------------------------------------------------------------------

_CONFIG: Final = """\
public_url = "http://{host}:{port}"
data_dir = "data"
eventlog.url = "{log}"
streams = {{ on_disconnect = "cancel", max_running = 100000, tenant_share = 1.0 }}
providers.benchmark = {{ dialect = "openai-chat", base_url = "{provider}", api_key = "none" }}
tenants.1.limits = {{ requests_per_minute = 10000000, concurrent_streams = 1000000 }}
"""
_MODEL: Final = 'models."{model}".targets = ["benchmark/{model}"]\n'


@contextmanager
def _tellstream(site: Site, log: str, workers: int) -> Iterator[Running]:
    with logs.prepared(log, site.folder, site.placement.redis) as (url, store):
        port = free_port()
        config = _configure(site, port, url)
        headers = {"Authorization": f"Bearer {_token(config, site.folder)}", "X-Tenant": "1"}
        many = ("--workers", str(workers)) if workers > 1 else ()
        line = command("serve", "--config", str(config), "--port", str(port), *many)
        with running(line, "serve", port, site.folder, site.placement.server) as server:
            yield Running(
                port,
                lambda model: wire.request(
                    port, "/v1/chat/stream", headers, {"prompt": PROMPT, "model": model}
                ),
                ["event: stream_end", '"finish_reason":"Stop"'],
                server,
                store,
            )


def _configure(site: Site, port: int, log: str) -> Path:
    provider = f"http://{HOST}:{site.provider}/v1"
    config = _CONFIG.format(host=HOST, port=port, provider=provider, log=log)
    path = site.folder / "tellstream.toml"
    path.write_text(config + "".join(_MODEL.format(model=name) for name in site.models))
    return path


def _token(config: Path, folder: Path) -> str:
    arguments = command("token", "--config", str(config), "--tenant", "1")
    made = subprocess.run(
        arguments, cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise ProcessError(f"no token: {made.stderr.strip()}")
    return made.stdout.strip()


def _gateway(name: str, log: str, workers: int = 1) -> Gateway:
    return Gateway(
        name,
        partial(_tellstream, log=log, workers=workers),
        partial(logs.missing, log),
        partial(logs.facts, log),
    )


TELLSTREAM: Final = {
    gateway.name: gateway for gateway in (_gateway(f"tellstream-{log}", log) for log in logs.LOGS)
}
WORKERS: Final = (_gateway("1 worker", "redis"), _gateway("2 workers", "redis", 2))
"""They differ only in the number of processes; their log is the one that workers can share."""
