"""An endpoint of administration: what it takes and gives, for its handler and its description."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, NamedTuple

from tellstream.administration.actor import Actor
from tellstream.auth.keys import KeyFileError
from tellstream.core.errors import RequestError
from tellstream.core.principals import Ctx
from tellstream.server.admin.asked import Asked, Page, query_fields
from tellstream.server.admin.bodies import Body, parse
from tellstream.server.asgi import NO_STORE
from tellstream.server.body import check_json, read_body
from tellstream.server.call import Call
from tellstream.server.route import Route
from tellstream.server.services import Services

SCOPE: Final = "admin"
NO_CONTENT: Final = 204


class Endpoint(NamedTuple):
    """One method of one path.

    Attributes:
        method: the HTTP method.
        path: below ``/v1/admin``.
        act: what is done; gives what is shown, a ``Page`` of it, or None.
        summary: one line for people.
        status: of success.
        body: what the body must be; None: there is none.
        query: the parameters that the query may have.
        operator: only the operator of the installation may do it.
    """

    method: str
    path: str
    act: Callable[[Asked], Awaitable[Any]]
    summary: str
    status: int = 200
    body: type[Body] | None = None
    query: tuple[str, ...] = ()
    operator: bool = False

    @property
    def route(self) -> Route:
        """Its row in the table of routes."""
        path = f"/v1/admin{self.path}"
        return Route(self.method, path, partial(answer, self), self.summary, SCOPE)


async def answer(endpoint: Endpoint, services: Services, call: Call) -> None:
    """Answer a request to an endpoint.

    Raises:
        ChatError: what is wrong.
    """
    query = query_fields(call.scope["query_string"], frozenset(endpoint.query))
    body = None
    if endpoint.body is not None:
        check_json(call.headers)
        body = parse(endpoint.body, await read_body(call.receive))
    actor = acting(call.ctx, services.settings.auth.operator_tenant, call.request_id)
    if endpoint.operator:
        actor.require_operator()
    asked = Asked(services.administration, actor, call.ctx.tenant, call.path_values, query, body)
    try:
        found = await endpoint.act(asked)
    except KeyFileError as error:
        raise RequestError("conflict", reason=str(error)) from error
    if endpoint.status == NO_CONTENT:
        await call.head(NO_CONTENT, NO_STORE)
        await call.send({"type": "http.response.body", "body": b""})
    elif isinstance(found, Page):
        meta = {"cursor": found.cursor, "has_more": found.cursor is not None}
        await call.json({"data": found.rows, "meta": meta})
    else:
        await call.json({"data": found}, status=endpoint.status)


def acting(ctx: Ctx, operator_tenant: int | None, request_id: str) -> Actor:
    """Say who acts: in the operator's tenant it is the operator, in any other its administrator."""
    is_operator = ctx.tenant == operator_tenant
    return Actor(None if is_operator else ctx, ctx.subject, ctx.client, request_id)
