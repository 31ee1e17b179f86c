"""Reading a request body: counted, timed, and only of the one kind we understand."""

import asyncio
from typing import Final

from tellstream.core.errors import RequestError
from tellstream.server.asgi import RawHeaders, Receive

MAX_BODY_BYTES: Final = 256 * 1024
"""A prompt of 2,000 characters with twenty messages of history is a quarter of this."""
BODY_SECONDS: Final = 10.0
"""For the whole body, from the end of the head."""


class ClientGoneError(Exception):
    """The client left before its request was complete; there is nobody to answer."""


def check_declared_size(headers: RawHeaders, limit: int = MAX_BODY_BYTES) -> None:
    """Refuse a body whose declared length is too large, before anything is read.

    Raises:
        RequestError: ``payload_too_large``.
    """
    for name, value in headers:
        if name == b"content-length" and int(value) > limit:
            raise RequestError("payload_too_large")


def check_json(headers: RawHeaders) -> None:
    """Accept ``application/json`` in UTF-8 without content encoding.

    Raises:
        RequestError: ``unsupported_media_type``.
    """
    named = {name: value.lower() for name, value in headers}
    media_type, _, parameters = named.get(b"content-type", b"").partition(b";")
    charset = parameters.replace(b" ", b"").replace(b'"', b"")
    if (
        media_type.strip() != b"application/json"
        or charset not in {b"", b"charset=utf-8", b"charset=utf8"}
        or named.get(b"content-encoding", b"identity") != b"identity"
    ):
        raise RequestError("unsupported_media_type")


async def read_body(
    receive: Receive, limit: int = MAX_BODY_BYTES, *, is_here: bool = False
) -> bytes:
    """Read the whole body.

    Args:
        receive: the ASGI callable.
        limit: bytes.
        is_here: it has arrived, so that no time needs to be taken.

    Raises:
        RequestError: ``payload_too_large``; ``request_timeout`` after ``BODY_SECONDS``.
        ClientGoneError: the client disconnected.
    """
    if is_here:
        return await _received(receive, limit)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _received(receive, limit)
    except TimeoutError as error:
        raise RequestError("request_timeout") from error


async def _received(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk: bytes = message.get("body", b"")
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise RequestError("payload_too_large")
        if not message.get("more_body", False):
            return chunk if len(chunks) == 1 else b"".join(chunks)
