"""The ASGI types we use."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

import msgspec

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
RawHeaders: TypeAlias = list[tuple[bytes, bytes]]

MAX_NAMES: Final = 256
"""Names of response headers that are remembered as they are written; there are some thirty."""
NO_STORE: Final = {"Cache-Control": "no-store"}

encode: Final = msgspec.json.Encoder().encode
"""Encode a JSON response body."""


def raw_headers(headers: Mapping[str, str]) -> RawHeaders:
    """Encode headers as ASGI wants them; values must be Latin-1 without control characters."""
    return [(_raw_name(name), value.encode("latin-1")) for name, value in headers.items()]


@lru_cache(MAX_NAMES)
def _raw_name(name: str) -> bytes:
    return name.lower().encode()
