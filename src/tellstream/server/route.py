"""One row of the table of routes."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

from tellstream.protocols.base import OutputProtocol
from tellstream.protocols.table import NATIVE
from tellstream.server.call import Call
from tellstream.server.services import Services

Handler: TypeAlias = Callable[[Services, Call], Awaitable[None]]


class Route(NamedTuple):
    """One route.

    Attributes:
        method: the HTTP method; GET also answers HEAD.
        path: the path shown in the documentation.
        handler: what answers.
        summary: one line for the OpenAPI document.
        scope: the scope that the token needs; None on public routes.
        aliases: further paths.
        counts: whether a request counts towards the requests per minute.
        protocols: what it speaks; the first one, unless the client is known to speak another.
        ticket: whether a ticket can take the place of a token.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    scope: str | None = None
    aliases: tuple[str, ...] = ()
    counts: bool = False
    protocols: tuple[OutputProtocol, ...] = (NATIVE,)
    ticket: bool = False
