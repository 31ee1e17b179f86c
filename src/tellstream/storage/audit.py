"""The audit log: what administrators did, and what was refused. Rows are added, never changed."""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec
import sqlalchemy as sa

from tellstream.core.principals import Ctx
from tellstream.storage import scope
from tellstream.storage.tables_store import AUDIT_EVENTS

Outcome: TypeAlias = Literal["done", "refused", "failed"]

MAX_CHARS: Final = 256
"""Of each text; what is longer is cut, since a stranger may have sent it."""
MAX_DETAILS: Final = 16
"""Of one event; more are left out."""
MAX_PAGE: Final = 1000
"""Events that are read at once."""
REMOVED: Final = "[removed]"
_SECRET: Final = re.compile(
    r"secret|token|password|passwd|authori[sz]ation|cookie|key|verifier|^code$"
)
"""Names of details that are never stored, whatever a caller thinks is in them."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class AuditEvent(msgspec.Struct, frozen=True):
    """What somebody did, or tried to.

    Attributes:
        at: Unix seconds.
        act: what, as ``noun.verb``, such as ``credential.put``.
        object: on what, such as the id of a client; may be empty.
        outcome: how it went.
        tenant: whose; None: no tenant's, such as a login.
        subject: who; empty: nobody knows.
        client: the OAuth client it was done with; empty: none.
        request_id: of the HTTP request; empty: none, such as on the command line.
        details: more, without secrets: texts, numbers and truth values by name.
    """

    at: int
    act: str
    object: str
    outcome: Outcome
    tenant: int | None = None
    subject: str = ""
    client: str = ""
    request_id: str = ""
    details: Mapping[str, str | int | bool | None] = {}


def append(connection: sa.Connection, ctx: Ctx | None, event: AuditEvent) -> None:
    """Add an event; in the transaction of what it tells of, if that was done.

    Texts are cut to ``MAX_CHARS`` and lose their control characters; details with the name of a
    secret lose their value.

    Raises:
        RequestError: 404 ``not_found``, it is of another tenant than the caller's.
    """
    scope.require(ctx, event.tenant)
    details = {
        _clean(name): REMOVED if _SECRET.search(name.lower()) else _detail(value)
        for name, value in list(event.details.items())[:MAX_DETAILS]
    }
    texts = {n: _clean(getattr(event, n)) for n in ("act", "object", "subject", "client")}
    connection.execute(
        sa.insert(AUDIT_EVENTS).values(
            tenant=event.tenant,
            at=event.at,
            outcome=event.outcome,
            request_id=_clean(event.request_id),
            details=msgspec.json.encode(details).decode(),
            **texts,
        )
    )


def page(
    connection: sa.Connection,
    ctx: Ctx | None,
    tenant: int | None,
    before: int | None = None,
    limit: int = 100,
) -> tuple[list[AuditEvent], int | None]:
    """Read events, newest first.

    Args:
        connection: in a transaction.
        ctx: who asks; sees nothing of other tenants.
        tenant: whose; None: of no tenant, which only the server sees.
        before: continue here, or None: from the newest.
        limit: the number of events, at most.

    Returns:
        Events, and where to continue; None if that was all.
    """
    c, limit = AUDIT_EVENTS.c, max(1, min(limit, MAX_PAGE))
    whose = c.tenant.is_(None) if tenant is None else c.tenant == tenant
    selected = sa.select(AUDIT_EVENTS).where(scope.visible(c.tenant, ctx), whose)
    if before is not None:
        selected = selected.where(c.id < before)
    rows = connection.execute(selected.order_by(c.id.desc()).limit(limit + 1)).all()
    more = rows[limit - 1].id if len(rows) > limit else None
    return [_event(row) for row in rows[:limit]], more


def prune(connection: sa.Connection, before: int, limit: int) -> int:
    """Delete the oldest events of all tenants, for the server.

    Args:
        connection: in a transaction of the server.
        before: Unix seconds; events from then on are kept.
        limit: how many, at most.

    Returns:
        How many were deleted.
    """
    c = AUDIT_EVENTS.c
    oldest = sa.select(c.id, c.at).order_by(c.id).limit(limit).subquery()
    old = sa.select(oldest.c.id).where(oldest.c.at < before)
    return connection.execute(sa.delete(AUDIT_EVENTS).where(c.id.in_(old))).rowcount


def _event(row: sa.Row[Any]) -> AuditEvent:
    return AuditEvent(
        at=row.at,
        act=row.act,
        object=row.object,
        outcome=row.outcome,
        tenant=row.tenant,
        subject=row.subject,
        client=row.client,
        request_id=row.request_id,
        details=msgspec.json.decode(row.details, type=dict[str, str | int | bool | None]),
    )


def _detail(value: str | int | bool | None) -> str | int | bool | None:
    return _clean(value) if isinstance(value, str) else value


def _clean(text: str) -> str:
    return _CONTROL.sub("?", text[:MAX_CHARS])
