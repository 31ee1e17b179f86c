"""``tellstream admin keys``, ``secrets`` and ``migrate``: what the installation itself needs."""

import time
from typing import Annotated, Literal

import typer

from tellstream.cli.admin_session import (
    AsJson,
    Config,
    done,
    load,
    operator,
    remark,
    run,
    show,
    show_all,
)
from tellstream.cli.failures import one_line_errors

keys_app = typer.Typer(help="The keys that sign access tokens.", no_args_is_help=True)
secrets_app = typer.Typer(help="The key that encrypts stored secrets.", no_args_is_help=True)


@keys_app.command("list")
@one_line_errors
def list_keys(as_json: AsJson = False, config: Config = None) -> None:
    """List the published keys."""
    found = run(config, lambda s: s.acts.keys.list(s.operator))
    show_all([key._asdict() for key in found], as_json=as_json)


@keys_app.command("rotate")
@one_line_errors
def rotate_keys(as_json: AsJson = False, config: Config = None) -> None:
    """Publish a new key, which signs 11 minutes later; running servers take it over."""
    found = run(config, lambda s: s.acts.keys.rotate(s.operator))
    show(found._asdict(), as_json=as_json)


@secrets_app.command("rotate")
@one_line_errors
def rotate_secrets(
    step: Annotated[
        Literal["all", "add", "encrypt", "drop"],
        typer.Option(help="One step, where several machines share the store."),
    ] = "all",
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Encrypt all secrets anew with a new master key.

    Where several machines share the store, do `--step add`, copy `master.key` to all of them, do
    `--step encrypt`, then `--step drop`, and copy the file again.
    """
    found = run(config, lambda s: s.acts.master_key.rotate(s.operator, step))
    show(found._asdict(), as_json=as_json)
    if found.needed and step in {"all", "drop"}:
        remark(f"the former keys stay: {found.needed} secrets still need them")


@one_line_errors
def migrate(as_json: AsJson = False, config: Config = None) -> None:
    """Bring the schema of the database up to date; before a new version is started."""
    from tellstream.server.app import database
    from tellstream.storage import audit
    from tellstream.storage.migrate import NEWEST, upgrade

    settings = load(config)
    upgraded = database(settings)
    upgrade(upgraded)
    event = audit.AuditEvent(
        int(time.time()),
        "store.migrated",
        NEWEST,
        "done",
        subject=operator().subject,
    )
    engine = upgraded.open(1, system=True)
    try:
        with (
            engine.connect() as connection,
            upgraded.transaction(connection, None, readonly=False),
        ):
            audit.append(connection, None, event)
    finally:
        engine.dispose()
    text = f"The schema is up to date: {NEWEST}."
    done(text, {"revision": NEWEST}, as_json=as_json)
