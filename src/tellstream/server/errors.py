"""A ``ChatError`` as an HTTP response of the native protocol: one constant body per code."""

import math
from typing import Any, Final

from tellstream.auth.bearer import challenge
from tellstream.core.errors import ChatError
from tellstream.server.asgi import NO_STORE

_DEFAULT_RETRY_AFTER: Final = 5
"""Seconds to advise with 429 and 503 when nobody said how long."""
_MUST_ADVISE: Final = frozenset({429, 503})


def error_body(error: ChatError) -> dict[str, Any]:
    """Build the JSON body: code, safe message, and the fields of a validation error."""
    body: dict[str, Any] = {"error": error.code, "message": error.message}
    if error.details:
        body["details"] = [{"field": name, "message": text} for name, text in error.details]
    return body


def error_headers(error: ChatError, resource_metadata_url: str) -> dict[str, str]:
    """Build the headers: advice when to retry, and how to authenticate."""
    headers = dict(NO_STORE)
    if error.status in _MUST_ADVISE or error.retry_after is not None:
        seconds = _DEFAULT_RETRY_AFTER if error.retry_after is None else error.retry_after
        headers["Retry-After"] = str(max(1, math.ceil(seconds)))
    authenticate = challenge(error, resource_metadata_url)
    if authenticate is not None:
        headers["WWW-Authenticate"] = authenticate
    if error.code == "request_timeout":
        headers["Connection"] = "close"
    return headers
