"""The OpenAPI document, made from the table of routes and the types on the wire."""

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from tellstream import __version__
from tellstream.core.errors import CODES
from tellstream.core.events import EVENT_TYPES, Citation
from tellstream.core.usage import FinishReason, Usage
from tellstream.protocols.native import ChatBody
from tellstream.streams.record import StreamState

if TYPE_CHECKING:
    from tellstream.server.routes import Route

_REF: Final = "#/components/schemas/{name}"
_JSON: Final = "application/json"

# What each route answers when it succeeds: media type and schema.
_ANSWERS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "/v1/chat/stream": (
        "text/event-stream",
        {
            "type": "string",
            "description": "Server-sent events, each `id`, `event`, `data`. The data of each "
            "event type is described in x-event-schemas.",
            "x-event-schemas": {name: {"$ref": _REF.format(name=name)} for name in EVENT_TYPES},
        },
    ),
    "/v1/streams/{id}/events": (
        "text/event-stream",
        {"type": "string", "description": "As of /v1/chat/stream, from the position on."},
    ),
    "/v1/chat": (_JSON, {"$ref": _REF.format(name="Answer")}),
    "/v1/streams/{id}": (_JSON, {"$ref": _REF.format(name="StreamAnswer")}),
    "/v1/streams/{id}/cancel": (_JSON, {"$ref": _REF.format(name="StreamAnswer")}),
    "/v1/models": (_JSON, {"$ref": _REF.format(name="Models")}),
    "/oauth/token": (_JSON, {"$ref": _REF.format(name="Token")}),
    "/docs": ("text/html", {"type": "string"}),
    "/docs/docs.js": ("text/javascript", {"type": "string"}),
    "/docs/docs.css": ("text/css", {"type": "string"}),
}
_FORM: Final = "application/x-www-form-urlencoded"
# What each route takes: media type and schema.
_BODIES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "/v1/chat/stream": (_JSON, {"$ref": _REF.format(name="ChatBody")}),
    "/v1/chat": (_JSON, {"$ref": _REF.format(name="ChatBody")}),
    "/oauth/token": (_FORM, {"$ref": _REF.format(name="TokenRequest")}),
}
_NUMBER: Final = {"type": "integer", "minimum": 0}
_DATE: Final = {"type": "string", "format": "date"}
_KEY: Final = (
    "Idempotency-Key",
    "header",
    {"type": "string", "maxLength": 255},
    "The same key and body attach to the stream that the first request started.",
)
# What each route takes besides: name, place, schema, meaning.
_PARAMETERS: Final[dict[str, tuple[tuple[str, str, dict[str, Any], str], ...]]] = {
    "/v1/chat/stream": (_KEY,),
    "/v1/chat": (_KEY,),
    "/v1/streams/{id}/events": (
        ("Last-Event-ID", "header", _NUMBER, "The last event that the reader has."),
        ("after", "query", _NUMBER, "The same, where no header can be set."),
        (
            "snapshot",
            "query",
            {"type": "integer", "enum": [0, 1]},
            "1: fold the deltas so far into few large ones.",
        ),
    ),
    "/v1/usage": (
        ("from", "query", _DATE, "First day (UTC); default: 30 days ago."),
        ("to", "query", _DATE, "Last day (UTC); default: today."),
        (
            "by",
            "query",
            {"type": "string", "enum": ["day", "model", "client", "subject", "stream"]},
            "What to sum by; default: day.",
        ),
        ("cursor", "query", {"type": "string"}, "Where the page before ended."),
        ("limit", "query", {"type": "integer", "minimum": 1, "maximum": 1000}, "Rows of a page."),
    ),
}
_STATUSES: Final = {"/v1/streams/{id}/cancel": 202}
_CHAT_ERRORS: Final = (400, 401, 403, 408, 413, 415, 422, 429, 500, 502, 503, 504)
_READ_ERRORS: Final = (400, 401, 403, 500)


def openapi_document(
    routes: "Iterable[Route]", public: Collection[str], public_url: str
) -> dict[str, Any]:
    """Build the document (OpenAPI 3.1).

    Args:
        routes: the table.
        public: paths that need no token.
        public_url: where the server is reached.
    """
    paths: dict[str, Any] = {}
    for route in routes:
        operation = _operation(route, route.path in public)
        for path in (route.path, *route.aliases):
            paths.setdefault(path, {})[route.method.lower()] = operation | {
                "operationId": _operation_id(route.method, path)
            }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tellstream",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "One ordered stream of typed events from every language-model provider.",
        },
        "servers": [{"url": public_url}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "oauth": {
                    "type": "oauth2",
                    "flows": {
                        "clientCredentials": {
                            "tokenUrl": f"{public_url}/oauth/token",
                            "scopes": {
                                "chat": "start, read and cancel own streams",
                                "streams:all": "other subjects' streams of the tenant",
                                "usage": "token counts and cost",
                                "admin": "administration",
                            },
                        }
                    },
                }
            },
        },
    }


def _operation(route: "Route", public: bool) -> dict[str, Any]:
    media_type, schema = _ANSWERS.get(route.path, (_JSON, {"type": "object"}))
    status = str(_STATUSES.get(route.path, 200))
    responses: dict[str, Any] = {
        status: {"description": "Success", "content": {media_type: {"schema": schema}}}
    }
    operation: dict[str, Any] = {"summary": route.summary, "responses": responses}
    if route.path in _BODIES:
        media_type, schema = _BODIES[route.path]
        operation["requestBody"] = {"required": True, "content": {media_type: {"schema": schema}}}
    if public:
        operation["security"] = []
        if route.path in _BODIES:
            responses |= {code: _error(int(code), "OAuthError") for code in ("400", "401")}
        return operation
    operation["security"] = [{"oauth": [route.scope]}]
    operation["parameters"] = [
        {
            "name": "X-Tenant",
            "in": "header",
            "required": True,
            "schema": {"type": "string", "pattern": "^[1-9][0-9]{0,18}$"},
        },
        *(
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"{(\w+)}", route.path)
        ),
    ]
    errors = _CHAT_ERRORS if route.path in _BODIES else _READ_ERRORS
    responses |= {str(code): _error(code, "ErrorBody") for code in errors}
    if "{" in route.path:
        responses["404"] = _error(404, "ErrorBody")
    if route.path.endswith("/events"):
        responses |= {str(code): _error(code, "ErrorBody") for code in (409, 410)}
        responses["204"] = {"description": "Everything was read, and nothing will follow."}
    operation["parameters"] += [
        {"name": name, "in": place, "schema": schema, "description": text}
        for name, place, schema, text in _PARAMETERS.get(route.path, ())
    ]
    return operation


def _error(status: int, schema: str) -> dict[str, Any]:
    codes = ", ".join(code for code, row in CODES.items() if row.status == status)
    content = {_JSON: {"schema": {"$ref": _REF.format(name=schema)}}}
    return {"description": codes, "content": content}


def _operation_id(method: str, path: str) -> str:
    return method.lower() + "".join(
        part.capitalize() for part in path.replace("-", "/").replace(".", "/").split("/")
    )


def _schemas() -> dict[str, Any]:
    _, components = msgspec.json.schema_components(
        [*EVENT_TYPES.values(), Citation, Usage, FinishReason, StreamState],
        ref_template="#/components/schemas/{name}",
    )
    by_class = {struct.__name__: name for name, struct in EVENT_TYPES.items()}
    schemas = {by_class.get(name, name): schema for name, schema in components.items()}
    body = ChatBody.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= body.pop("$defs", {})
    schemas["ChatBody"] = body
    string, boolean = {"type": "string"}, {"type": "boolean"}
    schemas["ErrorBody"] = _object(
        {
            "error": {"type": "string", "enum": list(CODES)},
            "message": string,
            "details": {"type": "array", "items": _object({"field": string, "message": string})},
        },
        optional=("details",),
    )
    schemas["Answer"] = _object(
        {
            "data": _object(
                {
                    "stream_id": string,
                    "model": string,
                    "provider": string,
                    "text": string,
                    "thinking": string,
                    "tool_calls": {"type": "array", "items": {"type": "object"}},
                    "finish_reason": {"$ref": _REF.format(name="FinishReason")},
                    "usage": {"$ref": _REF.format(name="Usage")},
                    "citations": {
                        "type": "array",
                        "items": {"$ref": _REF.format(name="Citation")},
                    },
                }
            )
        }
    )
    schemas["StreamAnswer"] = _object({"data": {"$ref": _REF.format(name="StreamState")}})
    schemas["OAuthError"] = _object({"error": string, "error_description": string})
    schemas["TokenRequest"] = _object(
        {
            "grant_type": {"type": "string", "enum": ["client_credentials"]},
            "client_id": string,
            "client_secret": string,
            "scope": string,
            "resource": string,
        },
        optional=("client_id", "client_secret", "scope", "resource"),
    )
    models = {
        "type": "array",
        "description": "The default model comes first.",
        "items": _object({"id": string, "default": boolean}),
    }
    schemas["Models"] = _object({"data": models})
    schemas["Token"] = _object(
        {
            "access_token": string,
            "token_type": string,
            "expires_in": {"type": "integer"},
            "scope": string,
        }
    )
    for schema in schemas.values():
        if "description" in schema:  # a docstring: its first paragraph is for readers of the API
            schema["description"] = schema["description"].split("\n\n")[0].replace("``", "`")
    return schemas


def _object(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
    }
