"""The ASGI types we use."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias

import msgspec

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
RawHeaders: TypeAlias = list[tuple[bytes, bytes]]

NO_STORE: Final = {"Cache-Control": "no-store"}

encode: Final = msgspec.json.Encoder().encode
"""Encode a JSON response body."""


def raw_headers(headers: Mapping[str, str]) -> RawHeaders:
    """Encode headers as ASGI wants them; values must be Latin-1 without control characters."""
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
