"""What the OpenAPI document says of the routes for clients that people already have."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from tellstream.protocols.ag_ui_request import RunBody
from tellstream.protocols.openai_chat_request import CompletionBody
from tellstream.protocols.ui_message_request import UiBody
from tellstream.server.openapi_operations import (
    CHAT_REFUSALS,
    JSON,
    KEY,
    NOTHING,
    SSE,
    Media,
    Operation,
    json,
)
from tellstream.server.openapi_schemas import STRING, WHOLE, Schema, nullable, record, ref, rows

MODELS: Final[tuple[type[BaseModel], ...]] = (CompletionBody, UiBody, RunBody)
"""The bodies that have schemas of their own."""
_ANYTHING: Final[Schema] = {"type": "object"}
SCHEMAS: Final[Mapping[str, Schema]] = {
    "OpenAIError": record(
        {
            "error": record(
                {"message": STRING, "type": STRING, "param": nullable(STRING), "code": STRING}
            )
        }
    ),
    "OpenAICompletion": record(
        {
            "id": STRING,
            "object": {"const": "chat.completion"},
            "created": WHOLE,
            "model": STRING,
            "choices": rows(_ANYTHING),
            "usage": _ANYTHING,
        }
    ),
    "OpenAIModels": record(
        {
            "object": {"const": "list"},
            "data": rows(
                record(
                    {
                        "id": STRING,
                        "object": {"const": "model"},
                        "created": WHOLE,
                        "owned_by": STRING,
                    }
                )
            ),
        }
    ),
    "TicketAnswer": record(
        {"data": record({"ticket": STRING, "expires_at": WHOLE, "url": STRING})}
    ),
}


def _events(what: str) -> Media:
    return {SSE: {"type": "array", "description": f"Server-sent events; the data is {what}."}}


def _openai(answers: Mapping[int, Media], *refusals: int) -> dict[int, Media]:
    """Every refusal has the shape of that protocol."""
    said = (400, 401, 403, 404, 413, 429, 500, 503, *refusals)
    return {**dict.fromkeys(said, json("OpenAIError")), **answers}


_COMPLETION: Final[Any] = {
    **json("OpenAICompletion"),
    **_events("a `chat.completion.chunk`, or `[DONE]` at the end"),
}

OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("POST", "/v1/streams/{id}/tickets"): Operation({201: json("TicketAnswer")}, (410,)),
    ("POST", "/v1/chat/completions"): Operation(
        _openai({200: _COMPLETION}, 408, 409, 410, 415, 502, 504),
        body={JSON: ref("CompletionBody")},
        parameters=(KEY,),
    ),
    ("GET", "/openai/v1/models"): Operation(_openai({200: json("OpenAIModels")})),
    ("POST", "/v1/ui/chat"): Operation(
        {200: _events("a part of a UI message, or `[DONE]` at the end")},
        CHAT_REFUSALS,
        {JSON: ref("UiBody")},
        (KEY,),
    ),
    ("GET", "/v1/ui/chat/{id}/stream"): Operation(
        {200: _events("a part of a UI message, or `[DONE]` at the end"), 204: NOTHING}, (410,)
    ),
    ("POST", "/v1/ui/chat/{id}/stop"): Operation({202: json("StreamAnswer"), 204: NOTHING}, (410,)),
    ("POST", "/v1/ag-ui"): Operation(
        {200: _events("an event of AG-UI 1.0")}, CHAT_REFUSALS, {JSON: ref("RunBody")}, (KEY,)
    ),
}
