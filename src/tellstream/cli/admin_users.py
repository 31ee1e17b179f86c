"""``tellstream admin user``."""

from typing import TYPE_CHECKING, Annotated

import typer

from tellstream.cli.admin_session import (
    PAGE_ROWS,
    AsJson,
    Config,
    Session,
    all_pages,
    done,
    run,
    secret_from_stdin,
    show,
    show_all,
)
from tellstream.cli.failures import one_line_errors
from tellstream.core.principals import SCOPES

if TYPE_CHECKING:
    from tellstream.auth.users import User

app = typer.Typer(help="Users, who log in with a password.", no_args_is_help=True)

Email = Annotated[str, typer.Option(help="To log in with.")]
FromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]
MustChange = Annotated[
    bool, typer.Option("--must-change", help="The next login asks for another password.")
]


@app.command("create")
@one_line_errors
def create(
    email: Email,
    tenant: Annotated[list[int], typer.Option("--tenant", min=1, help="May be repeated.")],
    password_stdin: FromStdin = False,
    scope: Annotated[str, typer.Option(help=f"Of: {', '.join(SCOPES)}.")] = "chat usage",
    must_change: MustChange = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Create a user.

    Example: `printf %s "$PASSWORD" | tellstream admin user create --email ann@acme.example
    --password-stdin --tenant 1`
    """
    from tellstream.server.admin import shown

    password = secret_from_stdin(password_stdin, "--password-stdin")
    made = run(
        config,
        lambda s: s.acts.users.create(
            s.operator,
            email,
            password,
            frozenset(tenant),
            frozenset(scope.split()),
            must_change=must_change,
        ),
    )
    show(shown.user(made), as_json=as_json)


@app.command("list")
@one_line_errors
def list_all(as_json: AsJson = False, config: Config = None) -> None:
    """List the users."""
    from tellstream.server.admin import shown

    found = run(
        config, lambda s: all_pages(lambda after: s.acts.users.list(s.operator, after, PAGE_ROWS))
    )
    show_all(map(shown.user, found), as_json=as_json)


@app.command("password")
@one_line_errors
def set_password(
    email: Email,
    password_stdin: FromStdin = False,
    must_change: MustChange = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Give a user another password; sessions, and what the user granted, end."""
    from tellstream.server.admin import shown

    password = secret_from_stdin(password_stdin, "--password-stdin")

    async def work(session: Session) -> "User":
        acts, operator = session.acts.users, session.operator
        user = await acts.find(operator, email)
        await acts.set_password(operator, user.id, password, must_change=must_change)
        return await acts.get(operator, user.id)

    show(shown.user(run(config, work)), as_json=as_json)


@app.command("delete")
@one_line_errors
def delete(email: Email, as_json: AsJson = False, config: Config = None) -> None:
    """Delete a user, with sessions and everything the user granted."""

    async def work(session: Session) -> str:
        user = await session.acts.users.find(session.operator, email)
        await session.acts.users.delete(session.operator, user.id)
        return user.id

    done("Deleted.", {"id": run(config, work), "deleted": True}, as_json=as_json)
