"""What a request says of streams apart from its body: where to continue, and under which key."""

import re
from typing import Final
from urllib.parse import parse_qs

from tellstream.core.errors import RequestError
from tellstream.protocols.base import OutputProtocol
from tellstream.protocols.table import NATIVE, PROTOCOLS
from tellstream.server.asgi import RawHeaders

# Sequence numbers of a stream; a log holds some ten thousand.
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
# A structured string (RFC 9651), or the same without its quotes; 255 characters at most.
_KEY: Final = re.compile(r'"([ !#-\[\]-~]{1,255})"|([!#-\[\]-~]{1,255})')


def position(headers: RawHeaders, query_string: bytes) -> int:
    """Read the sequence number of the last event that the reader has; 0 for none.

    ``Last-Event-ID`` counts before ``?after=``.

    Raises:
        RequestError: ``invalid_request``, it is not a number, or given twice.
    """
    header = [value.decode("latin-1") for name, value in headers if name == b"last-event-id"]
    query = _given(query_string, "after")
    for given in (header, query):  # both, also the one that does not count
        if len(given) > 1 or not all(map(_NUMBER.fullmatch, given)):
            raise RequestError("invalid_request", "The position is not the id of an event.")
    return int((header or query or ["0"])[0])


def _given(query_string: bytes, name: str) -> list[str]:
    """Read the values of a field of the query."""
    if not query_string:
        return []
    return parse_qs(query_string.decode("latin-1"), keep_blank_values=True).get(name, [])


def wants_snapshot(query_string: bytes) -> bool:
    """Whether ``?snapshot=1`` is given.

    Raises:
        RequestError: ``invalid_request``, it has another value than 0 or 1, or is given twice.
    """
    given = _given(query_string, "snapshot") or ["0"]
    if given not in (["0"], ["1"]):
        raise RequestError("invalid_request", "snapshot is 1 or 0.")
    return given == ["1"]


def wanted_protocol(query_string: bytes) -> OutputProtocol:
    """Read ``?protocol=``; native if it is not given.

    Raises:
        RequestError: ``invalid_request``, there is no such protocol, or it is given twice.
    """
    given = _given(query_string, "protocol") or [NATIVE.name]
    if len(given) > 1 or given[0] not in PROTOCOLS:
        raise RequestError("invalid_request", f"protocol is one of {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[given[0]]


def idempotency_key(headers: RawHeaders) -> str | None:
    """Read ``Idempotency-Key``, quoted or not; None if there is none.

    Raises:
        RequestError: ``invalid_request``, it is malformed, or given twice.
    """
    given = [value.decode("latin-1") for name, value in headers if name == b"idempotency-key"]
    if not given:
        return None
    match = _KEY.fullmatch(given[0].strip())
    if len(given) > 1 or match is None:
        raise RequestError(
            "invalid_request", "Idempotency-Key is not one string of visible ASCII characters."
        )
    return match[1] or match[2]
