"""``tellstream admin audit`` and ``usage``: looking back."""

import csv
import json
import sys
from datetime import UTC, date, datetime
from typing import Annotated

import typer

from tellstream.cli.admin_session import (
    PAGE_ROWS,
    AsJson,
    Config,
    Session,
    Tenant,
    remark,
    run,
    show_all,
)
from tellstream.cli.failures import CliError, one_line_errors
from tellstream.core.principals import Principal
from tellstream.storage.base import By, Totals

audit_app = typer.Typer(help="The audit log.", no_args_is_help=True)


@audit_app.command("list")
@one_line_errors
def list_events(
    tenant: Annotated[
        int | None,
        typer.Option("--tenant", min=1, help="Whose; default: what belongs to no single tenant."),
    ] = None,
    before: Annotated[
        int | None, typer.Option(min=0, help="Go on here: what the last call said.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 100,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Show what was done and what was refused, newest first."""
    from tellstream.server.admin import shown

    found, more = run(config, lambda s: s.acts.audit.page(s.operator, tenant, before, limit))
    if as_json:
        meta = {"cursor": more, "has_more": more is not None}
        typer.echo(json.dumps({"data": [shown.event(row) for row in found], "meta": meta}))
        return
    rows = [shown.event(row) | {"at": _time(row.at)} for row in found]
    show_all(rows, as_json=False)
    if more is not None:
        remark(f"there are more: --before {more}")


@one_line_errors
def usage(
    tenant: Tenant,
    from_day: Annotated[str | None, typer.Option("--from", help="First day, UTC.")] = None,
    to_day: Annotated[str | None, typer.Option("--to", help="Last day, UTC; today.")] = None,
    by: Annotated[By, typer.Option(help="What to sum by.")] = "day",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Sum up what a tenant's finished streams used, as `GET /v1/usage` does; default: this month.

    Example: `tellstream admin usage --tenant 7 --from 2026-01-01 --by model --csv`
    """
    from tellstream.server import usage_rows

    if as_csv and as_json:
        raise CliError("--csv and --json exclude each other")
    last = datetime.now(UTC).date() if to_day is None else _day("--to", to_day)
    first = last.replace(day=1) if from_day is None else _day("--from", from_day)
    if first > last:
        raise CliError("--from: is after --to")
    rows = run(config, lambda session: _totals(session, tenant, first, last, by))
    shown_rows = [usage_rows.shown(by, row) for row in rows]
    if as_csv:
        writer = csv.DictWriter(sys.stdout, usage_rows.columns(by), lineterminator="\n")
        writer.writeheader()
        writer.writerows(map(usage_rows.flat, shown_rows))
    else:
        show_all(shown_rows, as_json=as_json)


async def _totals(session: Session, tenant: int, first: date, last: date, by: By) -> list[Totals]:
    """Read all pages of a report."""
    from tellstream.server.app import database
    from tellstream.storage.ledger import SqlLedger

    who = session.operator.subject
    ctx = Principal(frozenset([tenant]), who, "", frozenset(), 0, "").act_for(tenant)
    ledger = SqlLedger(database(session.settings))
    await ledger.start()
    found: list[Totals] = []
    try:
        cursor = None
        while True:
            rows, cursor = await ledger.totals(ctx, first, last, by, cursor, PAGE_ROWS)
            found += rows
            if cursor is None:
                return found
    finally:
        await ledger.close()


def _day(option: str, text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise CliError(f"{option}: must be a day, YYYY-MM-DD") from None


def _time(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
