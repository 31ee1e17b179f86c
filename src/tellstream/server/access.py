"""Who may pass, and how often: from a raw request to a caller in one tenant, or an error."""

from tellstream.auth.bearer import bearer_token
from tellstream.auth.tenants import lone_tenant, tenant_id
from tellstream.core.errors import RequestError
from tellstream.core.principals import Ctx
from tellstream.limits.base import Caller
from tellstream.server.call import Call
from tellstream.server.route import Route
from tellstream.server.services import Services
from tellstream.server.tenancy import Tenant
from tellstream.server.tickets import redeem, ticket_of


async def admit(services: Services, call: Call, route: Route) -> None:
    """Let a request to a route that is not public pass: sets ``call.ctx``.

    Raises:
        RequestError: 400, 401, 403 or 429.
        ServerError: 503, the issuer of the token, or what counts requests, cannot be reached.
    """
    ticket = ticket_of(call.scope["query_string"]) if route.ticket else None
    if ticket is not None:
        call.ctx = ctx = await redeem(services.bookmarks, call, ticket, services.clock())
        tenant_of(services, ctx)
    else:
        call.ctx = ctx = await authenticate(services, call)
    counted = caller(services, ctx)
    if not route.counts or route.scope not in ctx.scopes:  # the refusal has the fields too
        call.response_headers |= await services.admission.rate_headers(counted)
        ctx.require(route.scope or "")
        return
    rate = await services.admission.take_request(counted)
    call.response_headers |= rate.headers
    if rate.refusal is not None:
        raise rate.refusal


async def authenticate(services: Services, call: Call) -> Ctx:
    """Authenticate ``call`` and select its tenant.

    Raises:
        RequestError: 400, 401 or 403; a tenant that does not exist is refused like a foreign one.
        ServerError: 503, the issuer of the token cannot be reached.
    """
    token = bearer_token(call.headers, call.scope["query_string"])
    principal = await services.authenticator.principal(token, call.headers, services.clock())
    lone = lone_tenant(call.headers, principal.tenants) if call.protocol.lone_tenant else None
    ctx = principal.act_for(tenant_id(call.headers) if lone is None else lone)
    tenant_of(services, ctx)
    return ctx


def caller(services: Services, ctx: Ctx) -> Caller:
    """Say whose limits count, and what they are."""
    return Caller(ctx.tenant, ctx.subject, tenant_of(services, ctx).caps)


def tenant_of(services: Services, ctx: Ctx) -> Tenant:
    """Find the caller's tenant, which may go at any moment.

    Raises:
        RequestError: 403, it is not there, or not any more.
    """
    tenant = services.tenants.get(ctx.tenant)
    if tenant is None:
        raise RequestError("forbidden", reason="there is no such tenant")
    return tenant
