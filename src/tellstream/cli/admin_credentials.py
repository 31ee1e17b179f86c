"""``tellstream admin credential``."""

from typing import TYPE_CHECKING, Annotated

import typer

from tellstream.cli.admin_session import (
    AsJson,
    Config,
    Session,
    Tenant,
    done,
    remark,
    run,
    secret_from_stdin,
    show,
    show_all,
)
from tellstream.cli.failures import one_line_errors

if TYPE_CHECKING:
    from tellstream.storage.credentials import Credential

app = typer.Typer(help="The tenants' own keys for providers.", no_args_is_help=True)

Provider = Annotated[str, typer.Option(help="As in [providers.NAME].")]


@app.command("put")
@one_line_errors
def put(
    tenant: Tenant,
    provider: Provider,
    key_stdin: Annotated[
        bool, typer.Option("--key-stdin", help="Read the key from standard input.")
    ] = False,
    label: Annotated[str, typer.Option(help="For people.")] = "",
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Store a tenant's own key for a provider; it cannot be read again.

    Example: `tellstream admin credential put --tenant 7 --provider openai --key-stdin < key`
    """
    from tellstream.server.admin import shown

    key = secret_from_stdin(key_stdin, "--key-stdin")

    async def work(session: Session) -> "tuple[Credential, bool]":
        acts = session.acts.credentials
        made = await acts.put(session.operator, tenant, provider, label, key)
        return made, acts.is_configured(provider)

    made, is_configured = run(config, work)
    show(shown.credential(made), as_json=as_json)
    if not is_configured:
        remark(f"no model has a target at {provider} in this configuration")


@app.command("list")
@one_line_errors
def list_all(tenant: Tenant, as_json: AsJson = False, config: Config = None) -> None:
    """List a tenant's keys, without the keys."""
    from tellstream.server.admin import shown

    found = run(config, lambda s: s.acts.credentials.list(s.operator, tenant))
    show_all(map(shown.credential, found), as_json=as_json)


@app.command("delete")
@one_line_errors
def delete(
    tenant: Tenant, provider: Provider, as_json: AsJson = False, config: Config = None
) -> None:
    """Delete a tenant's key; the configured one counts again."""
    run(config, lambda s: s.acts.credentials.delete(s.operator, tenant, provider))
    row = {"tenant": tenant, "provider": provider, "deleted": True}
    done("Deleted.", row, as_json=as_json)
