"""``tellstream serve``: check everything, bind, say what is offered, run."""

import asyncio
import os
import shlex
import socket
import sys
from pathlib import Path

from tellstream import __version__
from tellstream.auth.first_start import FirstAdmin
from tellstream.catalog import SIMULATOR, Catalog
from tellstream.cli.failures import CliError
from tellstream.cli.workers import Workers
from tellstream.config import foreign_variables, load_settings
from tellstream.server.app import build, prepare
from tellstream.server.checks import check_available, notices
from tellstream.server.dialects import build_offer
from tellstream.server.run import bind, run
from tellstream.settings import Settings
from tellstream.telemetry import configure_logging


def serve(config: Path | None, host: str, port: int, workers: int) -> None:
    """Run the server until a signal.

    Raises:
        CliError: the address cannot be bound.
        ConfigError: the configuration is not valid, or allows no more than one worker.
        LogSetupError: the event log cannot be used.
        StoreSetupError: the store cannot be used.
    """
    settings = load_settings(config, os.environ, Path.cwd())
    check_available(settings, workers)
    catalog = build_offer(settings, os.environ)
    try:
        listener = bind(host, port)
    except OSError as error:
        raise CliError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    configure_logging(sys.stderr).hide(catalog.secrets)
    first = asyncio.run(prepare(settings, catalog))
    application = build(settings, catalog)
    text = banner(settings, catalog, listener, config, workers, first)
    drain = settings.streams.drain_seconds
    said: list[str] = []

    def started() -> None:
        said.append(text)
        _say(text)

    try:
        if workers > 1:
            sys.exit(Workers(workers, listener, config, drain).run(started))
        run(application, listener, drain, started)
    finally:
        if first is not None and not said:  # it is never shown again
            _say(_first_administrator(first))


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the command's output


def _first_administrator(first: FirstAdmin) -> str:
    return (
        f"First administrator: {first.email}, with the one-time password {first.password}\n"
        "  (shown this once; the first login asks for another one)"
    )


def banner(
    settings: Settings,
    catalog: Catalog,
    listener: socket.socket,
    config: Path | None,
    workers: int,
    first: FirstAdmin | None,
) -> str:
    """Say where the server listens, what it offers, and how to try it."""
    host, port = listener.getsockname()[:2]
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    url = f"http://{f'[{local}]' if ':' in local else local}:{port}"
    tenant = next(iter(catalog.tenants))
    default = catalog.default_model(tenant)
    pool = f", {workers} workers" if workers > 1 else ""
    lines = [
        f"Tellstream {__version__} listens on {url} (data in {settings.data_dir}{pool})",
        f"Models: {', '.join(f'{m} (default)' if m == default else m for m in catalog.models)}",
    ]
    if SIMULATOR in catalog.providers and not settings.providers:
        lines.append(
            "No provider key was found in the environment: the built-in simulator answers."
        )
    lines += notices(settings)
    if first is not None:
        lines.append(_first_administrator(first))
    ignored = foreign_variables(os.environ)
    if ignored:
        lines.append(f"Ignored, because they are no keys of ours: {', '.join(ignored)}")
    lines += ["Try it:", f"  {curl_line(url, tenant, settings, config)}"]
    return "\n".join(lines)


def curl_line(url: str, tenant: int, settings: Settings, config: Path | None) -> str:
    """Build a command that works when pasted into any shell, from any folder."""
    command = Path(sys.argv[0]).resolve()
    runner = (
        [str(command)] if command.name == "tellstream" else [sys.executable, "-m", "tellstream"]
    )
    file = ["--config", str(config.resolve())] if config is not None else []
    sign = shlex.join([*runner, "token", *file, "--tenant", str(tenant)])
    places = {
        "TELLSTREAM_DATA_DIR": str(settings.data_dir),
        "TELLSTREAM_PUBLIC_URL": settings.public_url,
    }
    environment = " ".join(f"{name}={shlex.quote(value)}" for name, value in places.items())
    return (
        f"curl -N {url}/v1/chat/stream"
        f' -H "Authorization: Bearer $({environment} {sign})"'
        f" -H 'X-Tenant: {tenant}' -H 'Content-Type: application/json'"
        ' -d \'{"prompt": "Hello"}\''
    )
