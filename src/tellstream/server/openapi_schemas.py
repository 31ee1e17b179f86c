"""The schemas of the OpenAPI document, made from the types on the wire."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias, get_args

import msgspec
from pydantic import BaseModel

from tellstream.core.errors import CODES
from tellstream.core.events import EVENT_TYPES, Citation
from tellstream.core.usage import FinishReason, Usage
from tellstream.protocols.native import ChatBody
from tellstream.server.usage import MAX_CURSOR_CHARS
from tellstream.server.usage_rows import COUNTS, MORE
from tellstream.storage.base import By
from tellstream.storage.first_token import BOUNDS
from tellstream.streams.record import StreamState

Schema: TypeAlias = Mapping[str, Any]

_PLACE: Final = "#/components/schemas/"
STRING: Final[Schema] = {"type": "string"}
BOOLEAN: Final[Schema] = {"type": "boolean"}
WHOLE: Final[Schema] = {"type": "integer"}
_COUNTED: Final = {"type": "integer", "minimum": 1}
_TIME: Final = {"type": "integer", "minimum": 0}
CURSOR: Final[Schema] = {"type": "string", "maxLength": MAX_CURSOR_CHARS}


def ref(name: str) -> Schema:
    """Refer to a schema."""
    return {"$ref": _PLACE + name}


def record(properties: Mapping[str, Schema], optional: Iterable[str] = ()) -> Schema:
    """Describe an object; what is not named as optional is always there."""
    required = [name for name in properties if name not in set(optional)]
    return {"type": "object", "properties": dict(properties), "required": required}


def rows(schema: Schema, description: str = "") -> Schema:
    """Describe an array."""
    described = {"description": description} if description else {}
    return {"type": "array", "items": schema, **described}


def nullable(schema: Schema) -> Schema:
    """Allow null as well."""
    return {"anyOf": [schema, {"type": "null"}]}


def page(schema: Schema) -> Schema:
    """Describe one page of a list."""
    meta = record({"cursor": nullable(CURSOR), "has_more": BOOLEAN})
    return record({"data": rows(schema), "meta": meta})


def schemas(structs: Iterable[Any] = (), models: Iterable[type[BaseModel]] = ()) -> dict[str, Any]:
    """Build all schemas, by name.

    Args:
        structs: further types of answers, as msgspec describes them.
        models: further types of bodies, as pydantic describes them.
    """
    wire = [*EVENT_TYPES.values(), Citation, Usage, FinishReason, StreamState, *structs]
    _, components = msgspec.json.schema_components(wire, ref_template=_PLACE + "{name}")
    by_class = {struct.__name__: name for name, struct in EVENT_TYPES.items()}
    found = {by_class.get(name, name): schema for name, schema in components.items()}
    bodies: list[type[BaseModel]] = [ChatBody, *models]
    for model in bodies:
        body = model.model_json_schema(ref_template=_PLACE + "{model}")
        found |= body.pop("$defs", {})
        found[model.__name__] = body
    found["ChatBody"]["properties"]["prompt"] |= _PROMPT
    found |= _OWN
    for schema in found.values():
        if "description" in schema:  # a docstring: its first paragraph is for readers of the API
            text = schema["description"].split("\n\n")[0].replace("``", "`")
            schema["description"] = " ".join(text.split())
    return found


def _usage_row() -> Schema:
    """Describe a row of a usage report: what it stands for, and the sums."""
    keys = dict.fromkeys(get_args(By), STRING)
    known = ("cache_read_input_tokens", "cache_write_input_tokens", "thought_tokens")
    counts = {name: nullable(WHOLE) if name in known else WHOLE for name in COUNTS}
    cost = nullable({"type": "string", "pattern": r"^[0-9]+\.[0-9]{9}$"})
    ends = _counted(
        (reason.value for reason in FinishReason),
        "How many streams ended how; together they are `streams`.",
    )
    times = record(
        {
            "streams": _COUNTED | {"description": "Streams that had a first token."},
            "mean": _TIME,
            "p50": _TIME | {"description": "Estimated from `counts`, as is `p95`."},
            "p95": _TIME,
            "max": _TIME,
            "counts": _counted(
                (*map(str, BOUNDS), MORE),
                "Streams by the time that their first token took, in classes that are named by "
                "their longest; a class begins where the one before it ends.",
            ),
        }
    )
    about = "Milliseconds from the start of a stream to its first content event."
    first = nullable({**times, "description": about})
    sums = counts | {"cost": cost, "finish_reasons": ends, "first_token_ms": first}
    return record(keys | sums, optional=keys)


def _counted(names: Iterable[str], description: str) -> Schema:
    """Describe an object from names to how many there are; a name without any is not there."""
    return {
        "type": "object",
        "propertyNames": {"enum": list(names)},
        "additionalProperties": _COUNTED,
        "description": description,
    }


# What the parser checks and pydantic cannot tell. A tenant can have another limit than 2000.
_PROMPT: Final = {"minLength": 1, "pattern": r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f]+$"}
_DETAIL: Final = record({"field": STRING, "message": STRING})
_ERROR: Final = {"type": "string", "enum": list(CODES)}
_URLS: Final = rows(STRING)
_OWN: Final[dict[str, Any]] = {
    "ErrorBody": record(
        {"error": _ERROR, "message": STRING, "details": rows(_DETAIL)}, optional=("details",)
    ),
    "Answer": record(
        {
            "data": record(
                {
                    "stream_id": STRING,
                    "model": STRING,
                    "provider": STRING,
                    "text": STRING,
                    "thinking": STRING,
                    "tool_calls": rows(
                        record(
                            {
                                "tool_id": STRING,
                                "tool_name": STRING,
                                "arguments": {"type": "object"},
                                "invalid_arguments": STRING,
                            },
                            optional=("invalid_arguments",),
                        )
                    ),
                    "finish_reason": ref("FinishReason"),
                    "usage": ref("Usage"),
                    "citations": rows(ref("Citation")),
                }
            )
        }
    ),
    "StreamAnswer": record({"data": ref("StreamState")}),
    "Models": record(
        {"data": rows(record({"id": STRING, "default": BOOLEAN}), "The default model is first.")}
    ),
    "UsageRow": _usage_row(),
    "UsageReport": page(ref("UsageRow")),
    "OAuthError": record({"error": STRING, "error_description": STRING}),
    "TokenRequest": record(
        {
            "grant_type": {
                "type": "string",
                "enum": ["authorization_code", "client_credentials", "refresh_token"],
            },
            "client_id": STRING,
            "client_secret": STRING,
            "scope": STRING,
            "resource": STRING,
            "code": STRING,
            "redirect_uri": STRING,
            "code_verifier": {"type": "string", "pattern": "^[A-Za-z0-9._~-]{43,128}$"},
            "refresh_token": STRING,
        },
        optional=(
            "client_id", "client_secret", "scope", "resource", "code", "redirect_uri",
            "code_verifier", "refresh_token",
        ),
    ),
    "Token": record(
        {
            "access_token": STRING,
            "token_type": {"type": "string", "enum": ["Bearer"]},
            "expires_in": WHOLE,
            "scope": STRING,
            "refresh_token": STRING,
        },
        optional=("refresh_token",),
    ),
    "RevocationRequest": record(
        {
            "token": STRING,
            "token_type_hint": STRING,
            "client_id": STRING,
            "client_secret": STRING,
        },
        optional=("token_type_hint", "client_id", "client_secret"),
    ),
    "KeySet": record({"keys": rows(record({"kty": STRING, "kid": STRING, "alg": STRING}))}),
    "AuthorizationServerMetadata": record(
        {
            "issuer": STRING,
            "authorization_endpoint": STRING,
            "token_endpoint": STRING,
            "revocation_endpoint": STRING,
            "jwks_uri": STRING,
            "scopes_supported": _URLS,
            "response_types_supported": _URLS,
            "grant_types_supported": _URLS,
            "code_challenge_methods_supported": _URLS,
            "token_endpoint_auth_methods_supported": _URLS,
        }
    ),
    "ProtectedResourceMetadata": record(
        {
            "resource": STRING,
            "authorization_servers": _URLS,
            "scopes_supported": _URLS,
            "bearer_methods_supported": _URLS,
        }
    ),
    "Health": record({"status": {"type": "string", "enum": ["ok"]}}),
    "Readiness": record({"status": {"type": "string", "enum": ["ready"]}, "streams": WHOLE}),
}  # fmt: skip
