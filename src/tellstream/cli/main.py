"""The ``tellstream`` command and its sub-commands.

Commands import what they run when they run, so that ``tellstream token`` does not load a server.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from tellstream import __version__
from tellstream.cli import admin
from tellstream.cli.failures import one_line_errors
from tellstream.core.principals import SCOPES
from tellstream.providers.simulator import ALIASES, SCRIPT_KEYS, serve_forever

DEFAULT_SCOPE: Final = "chat usage"

app = typer.Typer(
    name="tellstream",
    help="A self-hosted, multi-tenant chat streaming server.",
    epilog="First steps: `tellstream serve` in one terminal, `tellstream chat Hello` in another.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(admin.app, name="admin")

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="TOML file; default: tellstream.toml if there."),
]
TenantId = Annotated[int, typer.Option("--tenant", min=1, help="The tenant to act for.")]


@app.command()
@one_line_errors
def serve(
    config: Config = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Run the server.

    Without configuration it keeps its state in `./.tellstream`, serves tenant 1, and offers the
    models of the provider keys it finds in the environment (`XAI_API_KEY`, `OPENAI_API_KEY`, …);
    without any key it answers with the built-in simulator.
    """
    from tellstream.cli import serving

    serving.serve(config, host, port, workers)


@app.command()
@one_line_errors
def chat(
    prompt: Annotated[str | None, typer.Argument(help="What to ask; else read from input.")] = None,
    config: Config = None,
    url: Annotated[str | None, typer.Option(help="The server; default: public_url.")] = None,
    token: Annotated[
        str | None, typer.Option(help="An access token; default: one signed here.")
    ] = None,
    tenant: TenantId = 1,
    model: Annotated[str | None, typer.Option(help="The model; default: the tenant's.")] = None,
    events: Annotated[bool, typer.Option("--events", help="Print the raw frames.")] = False,
) -> None:
    """Ask a running server and print the answer as it arrives.

    On a terminal: colours, a spinner, thinking dimmed, usage at the end. In a pipe: the plain text
    only. Ctrl-C cancels the answer.
    """
    from tellstream.cli import chatting

    question = chatting.Question(config, url, token, tenant, model, events)
    raise typer.Exit(chatting.chat(question, prompt))


@app.command()
@one_line_errors
def token(
    tenant: Annotated[list[int], typer.Option("--tenant", min=1, help="May be repeated.")],
    config: Config = None,
    scope: Annotated[str, typer.Option(help=f"Of: {', '.join(SCOPES)}.")] = DEFAULT_SCOPE,
    subject: Annotated[str, typer.Option(help="Who the token speaks for.")] = "local",
    ttl: Annotated[int, typer.Option(min=1, max=3600, help="Lifetime in seconds.")] = 3600,
) -> None:
    """Print an access token for local use, signed with the keys in `data_dir`.

    Example: `curl -H "Authorization: Bearer $(tellstream token --tenant 1)" …`
    """
    from tellstream.cli import tokens

    typer.echo(tokens.sign(config, tenant, scope, subject, ttl))


def _simulator_help() -> str:
    aliases = "\n".join(f"- `{name}`: {alias.help}" for name, alias in ALIASES.items())
    keys = "\n".join(f"- `{name}={key.values}`: {key.help}" for name, key in SCRIPT_KEYS.items())
    return (
        "Run the provider simulator by itself.\n\n"
        "It speaks a provider's wire, paced and deterministic. The model name says what happens:"
        f"\n\n{aliases}\n\nor `sim:key=value,…` with these keys:\n\n{keys}\n\n"
        "Example: `sim:words=200,delay_ms=20,fault=reset,at=50`"
    )


@app.command(help=_simulator_help())
@one_line_errors
def simulate(
    config: Config = None,  # noqa: ARG001 - every command takes it
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8090,
) -> None:
    """Run the provider simulator by itself."""

    def announce(url: str) -> None:
        typer.echo(f"The simulator listens on {url} (base_url {url}/v1).")

    asyncio.run(serve_forever(host, port, announce))


@app.command(name="doctor")
@one_line_errors
def run_doctor(config: Config = None) -> None:
    """Check the configuration and call each provider once.

    Says for each provider whether it can be reached and takes the key, how long the first token
    takes, and whether frames arrive one by one. Exit code 0 if all is well. Each call is a real,
    short question to the provider's first configured model.
    """
    from tellstream.cli import doctor

    raise typer.Exit(doctor.doctor(config))


@app.command(name="demo")
@one_line_errors
def run_demo(config: Config = None) -> None:
    """Start a server on a free port, stream one answer through it, check it, stop."""
    from tellstream.cli import demo

    raise typer.Exit(demo.demo(config))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tellstream {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    try:
        app()
    except BrokenPipeError:  # the reader of a pipe left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
