"""``tellstream admin tenant``."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from tellstream.cli.admin_session import (
    PAGE_ROWS,
    AsJson,
    Config,
    Tenant,
    all_pages,
    remark,
    run,
    show,
    show_all,
)
from tellstream.cli.failures import CliError, one_line_errors

if TYPE_CHECKING:
    from tellstream.administration.tenants import Tenant as ShownTenant

app = typer.Typer(help="Tenants.", no_args_is_help=True)

_NONE = "none"
_DEFAULT = "default"

Name = Annotated[str | None, typer.Option(help="Shown to people.")]
Model = Annotated[str | None, typer.Option(help="Default model.")]
Models = Annotated[
    list[str] | None, typer.Option("--models", help="Pattern of models; may be repeated.")
]
System = Annotated[str | None, typer.Option(help="System prompt.")]
Limits = Annotated[
    list[str] | None,
    typer.Option("--limit", metavar="NAME=VALUE", help="As in [tenants.N.limits]; repeatable."),
]


@app.command("create")
@one_line_errors
def create(
    tenant: Tenant,
    name: Name = None,
    model: Model = None,
    models: Models = None,
    system: System = None,
    limit: Limits = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Store a tenant.

    Example: `tellstream admin tenant create --tenant 7 --name Acme --limit concurrent_streams=20`
    """
    values = _values(name, model, models, system, limit)
    made = run(config, lambda s: s.acts.tenants.create(s.operator, tenant, values))
    _show(made, as_json=as_json)


@app.command("update")
@one_line_errors
def update(
    tenant: Tenant,
    *,
    name: Name = None,
    model: Model = None,
    models: Models = None,
    system: System = None,
    limit: Limits = None,
    default: Annotated[
        list[str] | None,
        typer.Option("--default", metavar="KEY", help="Give it its default; repeatable."),
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Change what is given of a tenant, and leave the rest as it is.

    `--limit NAME=none` takes a limit away, `--default system` the system prompt.
    """
    values = _values(name, model, models, system, limit) | dict.fromkeys(default or ())
    if not values:
        raise CliError("nothing to change is given")
    changed = run(config, lambda s: s.acts.tenants.update(s.operator, tenant, values))
    _show(changed, as_json=as_json)


@app.command("list")
@one_line_errors
def list_all(as_json: AsJson = False, config: Config = None) -> None:
    """List the stored tenants; those of the configuration file are in the file."""
    found = run(
        config,
        lambda s: all_pages(lambda after: s.acts.tenants.list(s.operator, after, PAGE_ROWS), 0),
    )
    show_all(map(_row, found), as_json=as_json)


@app.command("show")
@one_line_errors
def show_one(tenant: Tenant, as_json: AsJson = False, config: Config = None) -> None:
    """Show a stored tenant."""
    _show(run(config, lambda s: s.acts.tenants.get(s.operator, tenant)), as_json=as_json)


@app.command("suspend")
@one_line_errors
def suspend(tenant: Tenant, as_json: AsJson = False, config: Config = None) -> None:
    """Let a tenant do nothing any more; its running streams end."""
    _show(run(config, lambda s: s.acts.tenants.suspend(s.operator, tenant)), as_json=as_json)


@app.command("resume")
@one_line_errors
def resume(tenant: Tenant, as_json: AsJson = False, config: Config = None) -> None:
    """Let a suspended tenant go on."""
    _show(run(config, lambda s: s.acts.tenants.resume(s.operator, tenant)), as_json=as_json)


def _values(
    name: str | None,
    model: str | None,
    models: list[str] | None,
    system: str | None,
    limit: list[str] | None,
) -> dict[str, Any]:
    given = {"name": name, "model": model, "models": models or None, "system": system}
    values: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if limit:
        values["limits"] = dict(map(_limit, limit))
    return values


def _limit(text: str) -> tuple[str, Any]:
    """Split ``name=value``; ``none`` and ``default`` take the limit away."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise CliError(f"--limit {text}: must be NAME=VALUE")
    if value in {_NONE, _DEFAULT}:
        return name, None
    try:
        return name, json.loads(value)
    except ValueError:
        raise CliError(f"--limit {name}: must be a number, or {_NONE}") from None


def _row(tenant: "ShownTenant") -> dict[str, Any]:
    return msgspec.structs.asdict(tenant)


def _show(tenant: "ShownTenant", *, as_json: bool) -> None:
    show(_row(tenant), as_json=as_json)
    if tenant.shadowed_by_file:
        remark(f"tenant {tenant.id} is in the configuration file, too, which wins")
