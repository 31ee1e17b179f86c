"""The OpenAPI document, made from the table of routes and the types on the wire."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from tellstream import __version__
from tellstream.auth.tenants import MAX_TENANT
from tellstream.core.errors import CODES
from tellstream.server import openapi_compatible
from tellstream.server.openapi_admin import STRUCTS, admin_models, admin_operations
from tellstream.server.openapi_operations import (
    EVENT,
    OPERATIONS,
    OTHER_EVENT,
    RESPONSE_HEADERS,
    SSE,
    Media,
    Operation,
    json,
)
from tellstream.server.openapi_schemas import Schema, schemas

if TYPE_CHECKING:
    from tellstream.server.route import Route

_DOCUMENTS: Final = 4
"""Documents that are kept; a server has one."""
_ERROR: Final = json("ErrorBody")
_AUTHENTICATED: Final = (400, 401, 403, 413, 500, 503)
"""Refusals that every route gives that is not public."""
_RATE_HEADERS: Final = (
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "RateLimit-Policy",
    "RateLimit",
)
_STREAM_PATHS: Final = (
    "/v1/chat", "/v1/chat/stream", "/v1/streams/{id}/events", "/v1/chat/completions",
    "/v1/ui/chat", "/v1/ag-ui",
)  # fmt: skip
_SCOPES: Final[Mapping[str, str]] = {
    "chat": "start, read and cancel own streams",
    "streams:all": "other subjects' streams of the tenant",
    "usage": "token counts and cost",
    "admin": "administration",
}
_TENANT: Final = {
    "name": "X-Tenant",
    "in": "header",
    "required": True,
    "description": f"The tenant to act for, at most {MAX_TENANT}.",
    "schema": {"type": "string", "pattern": "^[1-9][0-9]{0,18}$"},
}


@lru_cache(maxsize=_DOCUMENTS)
def openapi_document(
    routes: "tuple[Route, ...]", public: frozenset[str], public_url: str
) -> Mapping[str, Any]:
    """Build the document, once: anybody may ask for it.

    It is OpenAPI 3.2, the first version that can describe events.

    Args:
        routes: the table.
        public: paths that need no token.
        public_url: where the server is reached.

    Raises:
        KeyError: a route has no row among the operations.
    """
    known = {**OPERATIONS, **openapi_compatible.OPERATIONS, **admin_operations()}
    paths: dict[str, Any] = {}
    for route in routes:
        operation = _operation(route, known[route.method, route.path], route.path in public)
        for path in (route.path, *route.aliases):
            paths.setdefault(path, {})[route.method.lower()] = operation | {
                "operationId": _operation_id(route.method, path)
            }
    flow = {"tokenUrl": f"{public_url}/oauth/token", "scopes": dict(_SCOPES)}
    code = {
        **flow,
        "authorizationUrl": f"{public_url}/oauth/authorize",
        "refreshUrl": f"{public_url}/oauth/token",
    }
    return {
        "openapi": "3.2.0",
        "info": {
            "title": "Tellstream",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "One ordered stream of typed events from every language-model provider.",
        },
        "servers": [{"url": public_url}],
        "paths": paths,
        "components": {
            "schemas": {
                **schemas(STRUCTS, (*openapi_compatible.MODELS, *admin_models())),
                **openapi_compatible.SCHEMAS,
            },
            "headers": {
                name: {"description": text, "schema": schema}
                for name, (schema, text) in RESPONSE_HEADERS.items()
            },
            "securitySchemes": {
                "oauth": {
                    "type": "oauth2",
                    "flows": {"clientCredentials": flow, "authorizationCode": code},
                }
            },
        },
    }


def _operation(route: "Route", known: Operation, public: bool) -> dict[str, Any]:
    names = re.findall(r"{(\w+)}", route.path)
    refusals = set(known.refusals)
    if not public:
        refusals |= {*_AUTHENTICATED, *((404,) if names else ()), *((429,) if route.counts else ())}
    said = dict.fromkeys(refusals, _ERROR) | dict(known.answers)
    operation: dict[str, Any] = {
        "summary": route.summary,
        "security": [] if public else [{"oauth": [route.scope]}],
        "parameters": [
            *([] if public else [_TENANT | {"required": not route.protocols[0].lone_tenant}]),
            *({"name": n, "in": "path", "required": True, "schema": _segment()} for n in names),
            *(
                {"name": p.name, "in": p.place, "schema": p.schema, "description": p.text}
                for p in known.parameters
            ),
        ],
        "responses": {
            str(status): _response(route, status, media, public)
            for status, media in sorted(said.items())
        },
    }
    if known.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(known.body)}
    return operation


def _segment() -> Schema:
    return {"type": "string", "minLength": 1}


def _response(route: "Route", status: int, media: Media, public: bool) -> dict[str, Any]:
    codes = ", ".join(code for code, row in CODES.items() if row.status == status)
    response: dict[str, Any] = {
        "description": codes if media is _ERROR else HTTPStatus(status).phrase,
        "headers": {
            name: {"$ref": f"#/components/headers/{name}"}
            for name in _headers(route, status, public)
        },
    }
    if media:
        response["content"] = _content(media)
    return response


def _headers(route: "Route", status: int, public: bool) -> Iterable[str]:
    yield "X-Request-Id"
    if status == HTTPStatus.SEE_OTHER:
        yield "Location"
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        yield "Retry-After"
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} and not public:
        yield "WWW-Authenticate"
    elif not public:
        yield from _RATE_HEADERS
    if route.path in _STREAM_PATHS and status < HTTPStatus.BAD_REQUEST:
        yield "X-Stream-Id"


def _content(media: Media) -> dict[str, Any]:
    return {
        name: {"schema": schema} | ({"itemSchema": _item(schema)} if name == SSE else {})
        for name, schema in media.items()
    }


def _item(events: Schema) -> Schema:
    """Describe one event; where the protocol is chosen by the request, it is one of two kinds."""
    if "x-protocols" in events:
        return {"anyOf": [EVENT, OTHER_EVENT]}
    return EVENT if "x-event-schemas" in events else OTHER_EVENT


def _operation_id(method: str, path: str) -> str:
    return method.lower() + "".join(
        part.capitalize() for part in path.replace("-", "/").replace(".", "/").split("/")
    )
