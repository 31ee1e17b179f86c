"""``tellstream admin client``."""

from typing import Annotated

import typer

from tellstream.cli.admin_session import (
    PAGE_ROWS,
    AsJson,
    Config,
    all_pages,
    done,
    run,
    show,
    show_all,
)
from tellstream.cli.failures import one_line_errors

app = typer.Typer(help="OAuth clients.", no_args_is_help=True)

ClientId = Annotated[str, typer.Option("--client-id", help="As `list` shows it.")]


@app.command("create")
@one_line_errors
def create(
    name: Annotated[str, typer.Option(help="Shown to people.")],
    tenant: Annotated[list[int], typer.Option("--tenant", min=1, help="May be repeated.")],
    *,
    scope: Annotated[str, typer.Option(help="Space-separated scopes.")] = "chat",
    redirect_uri: Annotated[
        list[str] | None, typer.Option("--redirect-uri", help="May be repeated.")
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Cannot keep a secret.")] = False,
    grant: Annotated[
        list[str] | None,
        typer.Option(
            "--grant",
            help="authorization_code, client_credentials or refresh_token; default: all.",
        ),
    ] = None,
    no_pkce: Annotated[
        bool, typer.Option("--no-pkce", help="It cannot do PKCE; never for public clients.")
    ] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Register an OAuth client; its secret is shown once, here."""
    from tellstream.auth.clients import GRANT_TYPES
    from tellstream.server.admin import shown

    made = run(
        config,
        lambda s: s.acts.clients.create(
            s.operator,
            name,
            redirect_uri or (),
            frozenset(scope.split()),
            frozenset(tenant),
            public=public,
            grant_types=grant or GRANT_TYPES,
            pkce_required=not no_pkce,
        ),
    )
    secret = {} if made.secret is None else {"client_secret": made.secret}
    show(shown.client(made.client) | secret, as_json=as_json)


@app.command("list")
@one_line_errors
def list_all(as_json: AsJson = False, config: Config = None) -> None:
    """List the OAuth clients, without secrets."""
    from tellstream.server.admin import shown

    found = run(
        config, lambda s: all_pages(lambda after: s.acts.clients.list(s.operator, after, PAGE_ROWS))
    )
    show_all(map(shown.client, found), as_json=as_json)


@app.command("show")
@one_line_errors
def show_one(client_id: ClientId, as_json: AsJson = False, config: Config = None) -> None:
    """Show an OAuth client, without its secret."""
    from tellstream.server.admin import shown

    found = run(config, lambda s: s.acts.clients.get(s.operator, client_id))
    show(shown.client(found), as_json=as_json)


@app.command("delete")
@one_line_errors
def delete(client_id: ClientId, as_json: AsJson = False, config: Config = None) -> None:
    """Delete an OAuth client; its tokens, and what people granted it, end with it."""
    run(config, lambda s: s.acts.clients.delete(s.operator, client_id))
    done("Deleted.", {"client_id": client_id, "deleted": True}, as_json=as_json)
