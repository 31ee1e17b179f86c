"""Who may pass: from a raw request to a caller in one tenant, or an error."""

from tellstream.auth.bearer import bearer_token
from tellstream.auth.tenants import tenant_id
from tellstream.core.errors import RequestError
from tellstream.core.principals import Ctx
from tellstream.server.call import Call
from tellstream.server.services import Services


def authenticate(services: Services, call: Call, scope: str) -> Ctx:
    """Authenticate ``call``, select its tenant and require ``scope``.

    Raises:
        RequestError: 400, 401 or 403; a tenant that does not exist is refused like a foreign one.
    """
    token = bearer_token(call.headers, call.scope["query_string"])
    principal = services.verifier.verify(token, services.clock())
    ctx = principal.act_for(tenant_id(call.headers))
    if ctx.tenant not in services.tenants:
        raise RequestError("forbidden", reason="the tenant is not configured")
    ctx.require(scope)
    return ctx
