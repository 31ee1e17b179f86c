"""``tellstream admin``: what the operator of an installation does."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from tellstream.auth.clients import ClientRegistry, OAuthClient
from tellstream.cli.failures import CliError, one_line_errors
from tellstream.config import load_settings

app = typer.Typer(help="Administer this installation.", no_args_is_help=True)
client_app = typer.Typer(help="OAuth clients.", no_args_is_help=True)
app.add_typer(client_app, name="client")

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="TOML file; default: tellstream.toml if there."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@client_app.command("create")
@one_line_errors
def create_client(
    name: Annotated[str, typer.Option(help="Shown to people.")],
    tenant: Annotated[list[int], typer.Option("--tenant", min=1, help="May be repeated.")],
    scope: Annotated[str, typer.Option(help="Space-separated scopes.")] = "chat",
    redirect_uri: Annotated[
        list[str] | None, typer.Option("--redirect-uri", help="May be repeated.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Cannot keep a secret.")] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Register an OAuth client; its secret is shown once, here."""
    try:
        client, secret = _registry(config).create(
            name=name,
            redirect_uris=tuple(redirect_uri or ()),
            scopes=frozenset(scope.split()),
            tenants=frozenset(tenant),
            public=public,
        )
    except ValueError as error:
        raise CliError(str(error)) from error
    row = _row(client) | ({"client_secret": secret} if secret is not None else {})
    _print([row], as_json=as_json, single=True)


@client_app.command("list")
@one_line_errors
def list_clients(as_json: AsJson = False, config: Config = None) -> None:
    """List the OAuth clients, without secrets."""
    _print([_row(client) for client in _registry(config).list()], as_json=as_json)


def _registry(config: Path | None) -> ClientRegistry:
    return ClientRegistry(load_settings(config, os.environ, Path.cwd()).data_dir)


def _row(client: OAuthClient) -> dict[str, Any]:
    return {
        "client_id": client.client_id,
        "name": client.name,
        "redirect_uris": list(client.redirect_uris),
        "scope": " ".join(sorted(client.scopes)),
        "tenants": sorted(client.tenants),
        "public": client.public,
    }


def _print(rows: list[dict[str, Any]], *, as_json: bool, single: bool = False) -> None:
    if as_json:
        typer.echo(json.dumps(rows[0] if single else rows))
        return
    for row in rows:
        typer.echo("\n".join(f"{name}: {value}" for name, value in row.items()))
