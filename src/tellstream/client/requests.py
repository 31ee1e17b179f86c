"""The requests of the HTTP surface, as values."""

import re
import uuid
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tellstream.client.effects import Request

_STREAM_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
# What fits between the quotes of a structured string (RFC 9651), so that any server can read it.
_KEY: Final = re.compile(r"[!#-\[\]-~]{1,255}")
_JSON: Final = {"Content-Type": "application/json"}
MODELS: Final = Request("GET", "/v1/models")


def start(prompt: str, fields: Mapping[str, Any], idempotency_key: str) -> Request:
    """Start a stream."""
    headers = {**_JSON, "Accept": "text/event-stream", "Idempotency-Key": idempotency_key}
    return Request("POST", "/v1/chat/stream", headers, _body(prompt, fields))


def follow(stream_id: str, after: int, *, snapshot: bool) -> Request:
    """Read a stream after a position."""
    headers = {"Accept": "text/event-stream"}
    if after:
        headers["Last-Event-ID"] = str(after)
    query = "?snapshot=1" if snapshot else ""
    return Request("GET", f"/v1/streams/{stream_id}/events{query}", headers)


def chat(prompt: str, fields: Mapping[str, Any], key: str, read_seconds: float) -> Request:
    """Wait for a whole answer."""
    headers = {**_JSON, "Idempotency-Key": key}
    return Request("POST", "/v1/chat", headers, _body(prompt, fields), read_seconds)


def state(stream_id: str) -> Request:
    """Ask for a stream's state."""
    return Request("GET", f"/v1/streams/{checked_id(stream_id)}")


def cancel(stream_id: str) -> Request:
    """Cancel a stream."""
    return Request("POST", f"/v1/streams/{checked_id(stream_id)}/cancel")


def is_id(stream_id: str) -> bool:
    """Tell whether ``stream_id`` can be the id of a stream."""
    return _STREAM_ID.fullmatch(stream_id) is not None


def checked_id(stream_id: str) -> str:
    """Check an id that becomes part of a path.

    Raises:
        ValueError: it can never be the id of a stream.
    """
    if not is_id(stream_id):
        raise ValueError(f"{stream_id!r} is not the id of a stream")
    return stream_id


def new_key(given: str | None) -> str:
    """Check the caller's idempotency key, or make one.

    Raises:
        ValueError: it is not 1 to 255 visible ASCII characters without quotes and backslashes.
    """
    if given is None:
        return str(uuid.uuid4())
    if not _KEY.fullmatch(given):
        raise ValueError('an idempotency key is 1 to 255 visible ASCII characters but " and \\')
    return given


def _body(prompt: str, fields: Mapping[str, Any]) -> bytes:
    """Encode the body; fields that are None are left to the server's defaults."""
    given = {name: value for name, value in fields.items() if value is not None}
    return msgspec.json.encode({"prompt": prompt, **given})
