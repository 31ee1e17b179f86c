"""One row of the table of routes."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

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
    """

    method: str
    path: str
    handler: Handler
    summary: str
    scope: str | None = None
    aliases: tuple[str, ...] = ()
    counts: bool = False
