"""Tickets: what lets a plain EventSource, which cannot send headers, follow one stream.

A ticket opens one connection, within seconds, to one stream, for the subject it was given to. What
EventSource does by itself when that connection is lost must work with the same address: a request
that names the last event it got goes on where the connection broke, for as long as the stream can
run. So an address that was seen by others opens nothing, unless its reader's place is taken over
while the stream lives; see docs/decisions/0022-tickets.md.

Tickets are bookmarks: every worker knows them.
"""

import re
import secrets
from typing import Final
from urllib.parse import parse_qs, quote

import msgspec

from tellstream.core.errors import RequestError
from tellstream.core.principals import Ctx, Principal
from tellstream.server.bookmarks import Bookmarks, digest
from tellstream.server.call import Call
from tellstream.server.services import Services

TICKET_SECONDS: Final = 30
"""From the issue of a ticket to the connection it opens."""
MARGIN_SECONDS: Final = 60.0
"""For reconnections beyond the longest life of a stream: enough to be told that it has ended."""
SCOPES: Final = frozenset({"chat", "streams:all"})
"""What a ticket can pass on of its subject's scopes."""
_FORM: Final = re.compile(r"tkt_([1-9][0-9]{0,18})_[A-Za-z0-9_-]{43}")


class Ticket(msgspec.Struct, frozen=True):
    """What is remembered of a ticket.

    Attributes:
        stream_id: the stream it is for.
        subject: who may follow it.
        client: the OAuth client that asked for it.
        scopes: of these.
        opens_until: Unix seconds.
        opened: whether it has opened its connection.
    """

    stream_id: str
    subject: str
    client: str
    scopes: tuple[str, ...]
    opens_until: int
    opened: bool = False


async def issue(services: Services, call: Call) -> None:
    """Give a ticket for a stream that the caller may follow."""
    ctx, stream_id = call.ctx, call.path_values["id"]
    await services.streams.find(ctx, stream_id)
    text = f"tkt_{ctx.tenant}_{secrets.token_urlsafe(32)}"
    expires_at = int(services.clock()) + TICKET_SECONDS
    scopes = tuple(sorted(ctx.scopes & SCOPES))
    ticket = Ticket(stream_id, ctx.subject, ctx.client, scopes, expires_at)
    seconds = services.settings.timeouts.total + MARGIN_SECONDS
    await services.bookmarks.put(ctx.tenant, digest("ticket", text), _written(ticket), seconds)
    url = f"/v1/streams/{quote(stream_id, safe='')}/events?ticket={text}"
    answer = {"ticket": text, "expires_at": expires_at, "url": url}
    await call.json({"data": answer}, status=201)


def ticket_of(query_string: bytes) -> str | None:
    """Read ``?ticket=``; None if there is none.

    Raises:
        RequestError: ``invalid_request``, it is given twice.
    """
    if not query_string:
        return None
    given = parse_qs(query_string.decode("latin-1"), keep_blank_values=True).get("ticket")
    if given is None:
        return None
    if len(given) > 1:
        raise RequestError("invalid_request", "Only one ticket is allowed.")
    return given[0]


async def redeem(bookmarks: Bookmarks, call: Call, text: str, now: float) -> Ctx:
    """Let a request pass with a ticket.

    Raises:
        RequestError: 401 ``invalid_token``: it is none, is for another stream, is too old, or has
            opened its connection already; 400, a token came with it.
        StoreUnavailableError: it cannot be looked up.
    """
    if any(name == b"authorization" for name, _ in call.headers):
        raise RequestError("invalid_request", "Send a ticket or a token, not both.")
    form = _FORM.fullmatch(text)
    if form is None:
        raise _refusal("it has not the form of one")
    tenant, name = int(form[1]), digest("ticket", text)
    value = await bookmarks.find(tenant, name)
    if value is None:
        raise _refusal("it is unknown")
    ticket = msgspec.json.decode(value, type=Ticket)
    if ticket.stream_id != call.path_values["id"]:
        raise _refusal("it is for another stream")
    if not ticket.opened:
        if now > ticket.opens_until:
            raise _refusal("it is too old")
        opened = msgspec.structs.replace(ticket, opened=True)
        if not await bookmarks.swap(tenant, name, value, _written(opened)):
            raise _refusal("another connection was faster")
    elif not any(name == b"last-event-id" for name, _ in call.headers):
        raise _refusal("it was used, and this is no reconnection")
    principal = Principal(
        tenants=frozenset({tenant}),
        subject=ticket.subject,
        client=ticket.client,
        scopes=frozenset(ticket.scopes),
        expires_at=ticket.opens_until,
        token_id="",
    )
    return principal.act_for(tenant)


def _written(ticket: Ticket) -> str:
    return msgspec.json.encode(ticket).decode()


def _refusal(reason: str) -> RequestError:
    return RequestError("invalid_token", "The ticket is not valid.", reason=f"ticket: {reason}")
