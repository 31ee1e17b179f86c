"""What the OpenAPI document says of each route besides what the table of routes says.

A new route needs a row here; a test fails without it. The rows of administration are made from its
own table (``openapi_admin.py``).
"""

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias, get_args

from tellstream.core.events import EVENT_TYPES
from tellstream.protocols.table import PROTOCOLS
from tellstream.server.openapi_schemas import CURSOR, STRING, Schema, ref
from tellstream.server.usage import DEFAULT_DAYS, DEFAULT_LIMIT, MAX_LIMIT
from tellstream.storage.base import By

Media: TypeAlias = Mapping[str, Schema]
"""The media types of a body, each with its schema; empty: there is no body."""

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
SSE: Final = "text/event-stream"


class Parameter(NamedTuple):
    """What a request can say apart from its body.

    Attributes:
        name: as it is sent.
        place: ``query`` or ``header``.
        schema: of the value.
        text: what it means.
    """

    name: str
    place: str
    schema: Schema
    text: str


class Operation(NamedTuple):
    """What a route takes and gives.

    Attributes:
        answers: by status, those that are no ``ErrorBody``.
        refusals: statuses with an ``ErrorBody`` that only this route gives.
        body: what it takes.
        parameters: what else it takes.
    """

    answers: Mapping[int, Media]
    refusals: tuple[int, ...] = ()
    body: Media | None = None
    parameters: tuple[Parameter, ...] = ()


def json(schema: str) -> Media:
    """A JSON body with a schema of this name."""
    return {JSON: ref(schema)}


NOTHING: Final[Media] = {}
_HTML: Final[Media] = {"text/html": STRING}
_EVENTS: Final[Media] = {
    SSE: {  # only of the native protocol; others have no schemas here
        "type": "array",
        "description": "Server-sent events, each `id`, `event`, `data`. The data of each event "
        "type is described in x-event-schemas.",
        "x-event-schemas": {name: ref(name) for name in EVENT_TYPES},
    }
}


def _event(name: str) -> Schema:
    data = {"contentMediaType": JSON, "contentSchema": ref(name)}
    return {"properties": {"event": {"const": name}, "data": data}}


EVENT: Final[Schema] = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^[1-9][0-9]*$"},
        "event": {"type": "string", "enum": list(EVENT_TYPES)},
        "data": {"type": "string"},
    },
    "required": ["id", "event", "data"],
    "oneOf": [_event(name) for name in EVENT_TYPES],
}
"""One event of a stream (OpenAPI 3.2, ``itemSchema``)."""
OTHER_EVENT: Final[Schema] = {
    "type": "object",
    "properties": {"data": STRING},
    "required": ["data"],
}
"""One event of another protocol."""
_SEQUENCE: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
_DAY: Final[Schema] = {"type": "string", "format": "date"}
_BODY: Final[Media] = json("ChatBody")
_LAST_EVENT: Final = Parameter(
    "Last-Event-ID", "header", _SEQUENCE, "The last event that the reader has."
)
KEY: Final = Parameter(
    "Idempotency-Key",
    "header",
    {"type": "string", "pattern": r'^("[ !#-\[\]-~]{1,255}"|[!#-\[\]-~]{1,255})$'},
    "The same key and body attach to the stream that the first request started; from the event "
    "after Last-Event-ID on, if that is given as well.",
)
_BAD_BODY: Final = (408, 415, 422)
CHAT_REFUSALS: Final = (*_BAD_BODY, 409, 410, 429, 502, 504)
_GRANT: Final = {400: json("OAuthError"), 401: json("OAuthError")}
_PAGES: Final = {303: NOTHING, 400: _HTML, 403: _HTML, 503: _HTML}
_OFF: Final = 404  # the embedded authorization server is off


def _text(media_type: str) -> Operation:
    return Operation({200: {media_type: STRING}})


OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("POST", "/v1/chat/stream"): Operation(
        {200: _EVENTS}, CHAT_REFUSALS, _BODY, (KEY, _LAST_EVENT)
    ),
    ("POST", "/v1/chat"): Operation({200: json("Answer")}, CHAT_REFUSALS, _BODY, (KEY,)),
    ("GET", "/v1/streams/{id}"): Operation({200: json("StreamAnswer")}, (410,)),
    ("GET", "/v1/streams/{id}/events"): Operation(
        {200: {SSE: {**_EVENTS[SSE], "x-protocols": list(PROTOCOLS)}}, 204: NOTHING},
        (409, 410),
        parameters=(
            _LAST_EVENT,
            Parameter("after", "query", _SEQUENCE, "The same, where no header can be set."),
            Parameter(
                "snapshot",
                "query",
                {"type": "integer", "enum": [0, 1]},
                "1: fold the deltas so far into few large ones.",
            ),
            Parameter(
                "protocol",
                "query",
                {"type": "string", "enum": list(PROTOCOLS), "default": "native"},
                "How to say the events; the schemas here are of the native protocol.",
            ),
            Parameter("ticket", "query", STRING, "In the place of a token, for EventSource."),
        ),
    ),
    ("POST", "/v1/streams/{id}/cancel"): Operation({202: json("StreamAnswer")}, (410,)),
    ("GET", "/v1/usage"): Operation(
        {200: {**json("UsageReport"), "text/csv": STRING}},
        (422,),
        parameters=(
            Parameter(
                "from", "query", _DAY, f"First day (UTC); default: {DEFAULT_DAYS} days to the last."
            ),
            Parameter("to", "query", _DAY, "Last day (UTC), included; default: today."),
            Parameter(
                "by",
                "query",
                {"type": "string", "enum": list(get_args(By))},
                "What a row stands for; default: day.",
            ),
            Parameter("cursor", "query", CURSOR, "Where the page before ended."),
            Parameter(
                "limit",
                "query",
                {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
                "Rows of a page.",
            ),
            Parameter(
                "format",
                "query",
                {"type": "string", "enum": ["json", "csv"]},
                "Of the answer; default: as Accept says.",
            ),
        ),
    ),
    ("GET", "/v1/models"): Operation({200: json("Models")}),
    ("GET", "/oauth/authorize"): Operation(
        {200: _HTML, **_PAGES},
        (_OFF,),
        parameters=tuple(
            Parameter(name, "query", STRING, text)
            for name, text in (
                ("response_type", "`code`."),
                ("client_id", "The application."),
                ("redirect_uri", "One of those registered for it, byte for byte."),
                ("scope", "Scopes, separated by spaces."),
                ("state", "Sent back as it is."),
                ("code_challenge", "PKCE."),
                ("code_challenge_method", "`S256`."),
                ("resource", "This server, or nothing."),
            )
        ),
    ),
    ("POST", "/oauth/authorize"): Operation(
        {200: _HTML, **_PAGES, 422: _HTML, 429: _HTML},
        (_OFF, 408, 413),
        body={FORM: {"type": "object", "additionalProperties": STRING}},
    ),
    ("POST", "/oauth/token"): Operation(
        {200: json("Token"), **_GRANT}, (_OFF, 408, 413, 503), {FORM: ref("TokenRequest")}
    ),
    ("POST", "/oauth/revoke"): Operation(
        {200: {JSON: {"type": "object"}}, **_GRANT},
        (_OFF, 408, 413, 503),
        {FORM: ref("RevocationRequest")},
    ),
    ("POST", "/oauth/logout"): Operation({200: {JSON: {"type": "object"}}}, (_OFF, 503)),
    ("GET", "/oauth/jwks"): Operation({200: json("KeySet")}, (_OFF,)),
    ("GET", "/.well-known/oauth-authorization-server"): Operation(
        {200: json("AuthorizationServerMetadata")}, (_OFF,)
    ),
    ("GET", "/.well-known/oauth-protected-resource"): Operation(
        {200: json("ProtectedResourceMetadata")}
    ),
    ("GET", "/healthz"): Operation({200: json("Health")}),
    ("GET", "/readyz"): Operation({200: json("Readiness")}, (503,)),
    ("GET", "/openapi.json"): Operation({200: {JSON: {"type": "object"}}}),
    ("GET", "/oauth/style.css"): _text("text/css"),
    ("GET", "/docs"): _text("text/html"),
    ("GET", "/docs/docs.js"): _text("text/javascript"),
    ("GET", "/docs/docs.css"): _text("text/css"),
    ("GET", "/"): _text("text/html"),
    ("GET", "/usage"): _text("text/html"),
    ("GET", "/web/{name}"): Operation(
        {200: dict.fromkeys(("text/javascript", "text/css", "image/svg+xml"), STRING)}, (404,)
    ),
    ("GET", "/client/tellstream.js"): _text("text/javascript"),
    ("GET", "/client/tellstream.d.ts"): _text("text/plain"),
}
RESPONSE_HEADERS: Final[Mapping[str, tuple[Schema, str]]] = {
    "X-Request-Id": (STRING, "Of this request."),
    "X-Stream-Id": (STRING, "Of the stream."),
    "X-RateLimit-Limit": ({"type": "integer"}, "Requests per minute."),
    "X-RateLimit-Remaining": ({"type": "integer"}, "Requests left, this one counted."),
    "X-RateLimit-Reset": ({"type": "integer"}, "Unix second at which the whole limit is back."),
    "RateLimit-Policy": (STRING, "draft-ietf-httpapi-ratelimit-headers-10"),
    "RateLimit": (STRING, "draft-ietf-httpapi-ratelimit-headers-10"),
    "Retry-After": ({"type": "integer", "minimum": 1}, "Seconds."),
    "WWW-Authenticate": (STRING, "RFC 6750, RFC 9728"),
    "Location": (STRING, "The application's redirect URI, or this page once more."),
}
