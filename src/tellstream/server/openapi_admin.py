"""The OpenAPI document of administration, made from its table of endpoints.

What an endpoint takes is in that table. What it shows is in ``_SHOWN``, by method and path.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from tellstream.administration.tenants import Tenant
from tellstream.server.admin.asked import DEFAULT_LIMIT, MAX_CURSOR_CHARS, MAX_LIMIT, NO_TENANT
from tellstream.server.admin.endpoint import NO_CONTENT, Endpoint
from tellstream.server.admin.routes import ENDPOINTS
from tellstream.server.openapi_operations import JSON, NOTHING, Operation, Parameter
from tellstream.server.openapi_schemas import (
    BOOLEAN,
    STRING,
    WHOLE,
    Schema,
    nullable,
    page,
    record,
    ref,
    rows,
)
from tellstream.storage.audit import AuditEvent

PREFIX: Final = "/v1/admin"
STRUCTS: Final[tuple[Any, ...]] = (Tenant, AuditEvent)
"""Types of answers that have schemas of their own."""

_QUERY: Final[Mapping[str, tuple[Schema, str]]] = {
    "cursor": ({"type": "string", "maxLength": MAX_CURSOR_CHARS}, "Where the page before ended."),
    "limit": (
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        "Rows of a page.",
    ),
    "tenant": (STRING, f"Whose; default: that of X-Tenant. Audit log: also `{NO_TENANT}`."),
}
_CLIENT_MEMBERS: Final[Mapping[str, Schema]] = {
    "client_id": STRING,
    "name": STRING,
    "redirect_uris": rows(STRING),
    "scope": STRING,
    "tenants": rows(WHOLE),
    "public": BOOLEAN,
    "grant_types": rows(STRING),
    "pkce_required": BOOLEAN,
    "created_at": WHOLE,
}
_USER: Final = record(
    {
        "id": STRING,
        "email": STRING,
        "scope": STRING,
        "tenants": rows(WHOLE),
        "must_change": BOOLEAN,
        "created_at": WHOLE,
    }
)
_CLIENT: Final = record(_CLIENT_MEMBERS)
_NEW_CLIENT: Final = record({**_CLIENT_MEMBERS, "client_secret": STRING}, ("client_secret",))
_CREDENTIAL: Final = record(
    {"provider": STRING, "label": STRING, "last4": nullable(STRING), "created_at": WHOLE}
)
_KEY: Final = record({"kid": STRING, "signs": BOOLEAN})
_ROTATED: Final = record(
    {"added": BOOLEAN, "encrypted": WHOLE, "needed": WHOLE, "dropped": BOOLEAN}
)
_SHOWN: Final[Mapping[tuple[str, str], Schema]] = {
    ("GET", "/tenants"): page(ref("Tenant")),
    ("POST", "/tenants"): ref("Tenant"),
    ("GET", "/tenants/{id}"): ref("Tenant"),
    ("PATCH", "/tenants/{id}"): ref("Tenant"),
    ("POST", "/tenants/{id}/suspend"): ref("Tenant"),
    ("POST", "/tenants/{id}/resume"): ref("Tenant"),
    ("GET", "/clients"): page(_CLIENT),
    ("POST", "/clients"): _NEW_CLIENT,
    ("GET", "/clients/{id}"): _CLIENT,
    ("GET", "/users"): page(_USER),
    ("POST", "/users"): _USER,
    ("GET", "/users/{id}"): _USER,
    ("GET", "/credentials"): page(_CREDENTIAL),
    ("GET", "/credentials/{provider}"): _CREDENTIAL,
    ("PUT", "/credentials/{provider}"): _CREDENTIAL,
    ("GET", "/audit"): page(ref("AuditEvent")),
    ("GET", "/keys"): page(_KEY),
    ("POST", "/keys/rotate"): _KEY,
    ("POST", "/secrets/rotate"): _ROTATED,
}
_BODY_REFUSALS: Final = (408, 415)
_PAGED: Final = "meta"


def admin_operations() -> dict[tuple[str, str], Operation]:
    """Describe every endpoint, by the method and path of its route.

    Raises:
        KeyError: one shows something that is not described.
    """
    return {
        (endpoint.method, PREFIX + endpoint.path): _operation(endpoint) for endpoint in ENDPOINTS
    }


def admin_models() -> tuple[type[BaseModel], ...]:
    """Give the types of their bodies."""
    return tuple(endpoint.body for endpoint in ENDPOINTS if endpoint.body is not None)


def _operation(endpoint: Endpoint) -> Operation:
    body = None if endpoint.body is None else {JSON: ref(endpoint.body.__name__)}
    parameters = tuple(Parameter(name, "query", *_QUERY[name]) for name in endpoint.query)
    return Operation(
        {endpoint.status: NOTHING if endpoint.status == NO_CONTENT else {JSON: _shown(endpoint)}},
        # 404 and 409: what is named is not there, or is already; 422: as for any list of fields.
        (404, 409, 422, *(_BODY_REFUSALS if body else ())),
        body,
        parameters,
    )


def _shown(endpoint: Endpoint) -> Schema:
    shown = _SHOWN[endpoint.method, endpoint.path]
    return shown if _PAGED in shown.get("properties", {}) else record({"data": shown})
