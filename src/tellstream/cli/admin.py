"""``tellstream admin``: what the operator of an installation does.

Secrets come in through standard input, never as arguments, which other users of the machine see.
"""

import typer

from tellstream.cli import (
    admin_clients,
    admin_credentials,
    admin_keys,
    admin_reports,
    admin_tenants,
    admin_users,
)

app = typer.Typer(help="Administer this installation.", no_args_is_help=True)
app.add_typer(admin_tenants.app, name="tenant")
app.add_typer(admin_clients.app, name="client")
app.add_typer(admin_users.app, name="user")
app.add_typer(admin_credentials.app, name="credential")
app.add_typer(admin_keys.keys_app, name="keys")
app.add_typer(admin_keys.secrets_app, name="secrets")
app.add_typer(admin_reports.audit_app, name="audit")
app.command("usage")(admin_reports.usage)
app.command("migrate")(admin_keys.migrate)
