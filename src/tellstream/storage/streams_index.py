"""What is known of a stream when its event log is gone: that there was one, and whose it was.

Every stream has a usage row from before its provider is called, and that row is never deleted. So
this is a view of those rows, not a second table to write for each stream.
"""

import msgspec
import sqlalchemy as sa

from tellstream.core.principals import Ctx
from tellstream.storage import scope
from tellstream.storage.base import Settlement
from tellstream.storage.entries import stored
from tellstream.storage.tables import OPENED, SETTLED, USAGE


class StreamEntry(msgspec.Struct, frozen=True):
    """A stream that is or was.

    Attributes:
        tenant: whose stream it is.
        stream_id: the stream.
        subject: who started it.
        client: the OAuth client it was started with.
        model: the name the caller asked for.
        created_at: Unix seconds.
        settlement: what it used and how it ended; None: not known yet.
    """

    tenant: int
    stream_id: str
    subject: str
    client: str
    model: str
    created_at: int
    settlement: Settlement | None = None


def find(connection: sa.Connection, ctx: Ctx, stream_id: str) -> StreamEntry | None:
    """Find a stream of the caller's tenant that the caller may know of.

    Returns:
        The stream; None if there was none, it is another tenant's, or it is another subject's and
        the caller lacks the scope ``streams:all``.
    """
    c = USAGE.c
    selected = sa.select(*OPENED, *SETTLED).where(
        scope.visible(c.tenant, ctx), c.stream_id == stream_id
    )
    if "streams:all" not in ctx.scopes:
        selected = selected.where(c.subject == ctx.subject)
    row = connection.execute(selected).one_or_none()
    if row is None:
        return None
    settlement = None if row.finished_at is None else stored(row[len(OPENED) :])
    return StreamEntry(
        row.tenant,
        row.stream_id,
        row.subject,
        row.client,
        row.model,
        row.started_at,
        settlement,
    )
