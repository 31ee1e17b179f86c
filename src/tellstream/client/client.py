"""An asynchronous client for one server, one token and one tenant.

It speaks the native protocol and gives typed events (``tellstream.core.events``). It opens one
connection per stream and does not reconnect.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import httpx2
import msgspec

from tellstream.core import events as ev
from tellstream.core.errors import ApiError
from tellstream.core.sse import SseDecoder

KEEP_ALIVE_SECONDS: Final = 45.0
"""Three keep-alive intervals of silence mean that the server is gone."""


class ClientStream:
    """One stream being read.

    Attributes:
        stream_id: the server's id of the stream.
    """

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self.stream_id = response.headers.get("X-Stream-Id", "")

    async def raw(self) -> AsyncIterator[bytes]:
        """Iterate over the bytes as they arrive."""
        try:
            async for chunk in self._response.aiter_raw():
                yield chunk
        except httpx2.HTTPError as error:
            raise ApiError(0, "connection_lost", str(error) or type(error).__name__) from error

    async def events(self) -> AsyncIterator[ev.Event]:
        """Iterate over the events; types newer than this client are passed over."""
        decoder = SseDecoder()
        async for chunk in self.raw():
            for event in decoder.feed(chunk):
                if event.event in ev.EVENT_TYPES:
                    yield ev.decode(event.event, event.data)


class AsyncTellstream:
    """A client; use it as ``async with``.

    Args:
        url: the server's address.
        token: an OAuth 2.0 access token.
        tenant: the tenant to act for.
    """

    def __init__(self, url: str, token: str, tenant: int) -> None:
        self._http = httpx2.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}", "X-Tenant": str(tenant)},
            timeout=httpx2.Timeout(10.0, read=KEEP_ALIVE_SECONDS),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        """Open the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the client."""
        await self._http.aclose()

    @asynccontextmanager
    async def stream(self, prompt: str, **fields: Any) -> AsyncIterator[ClientStream]:
        """Start a stream.

        Args:
            prompt: what to ask.
            fields: further fields of the request body.

        Raises:
            ApiError: the server refused, or is not there.
        """
        body = msgspec.json.encode({"prompt": prompt, **fields})
        request = self._http.build_request(
            "POST",
            "/v1/chat/stream",
            content=body,
            headers={"Content-Type": "application/json", "Accept": "text/event-stream"},
        )
        response = await self._send(request, stream=True)
        try:
            yield ClientStream(response)
        finally:
            await response.aclose()

    async def cancel(self, stream_id: str) -> dict[str, Any]:
        """Cancel a stream, also one that has ended; returns its state.

        Raises:
            ApiError: the stream is unknown, or the server is not there.
        """
        request = self._http.build_request("POST", f"/v1/streams/{stream_id}/cancel")
        response = await self._send(request)
        state: dict[str, Any] = msgspec.json.decode(response.content)["data"]
        return state

    async def _send(self, request: httpx2.Request, *, stream: bool = False) -> httpx2.Response:
        try:
            response = await self._http.send(request, stream=stream)
            if response.is_success:
                return response
            await response.aread()
        except httpx2.HTTPError as error:
            raise ApiError(0, "connection_failed", str(error) or type(error).__name__) from error
        try:
            body = msgspec.json.decode(response.content)
            code, message = str(body["error"]), str(body["message"])
        except (msgspec.DecodeError, KeyError, TypeError):
            code, message = "unexpected_answer", f"HTTP {response.status_code}"
        finally:
            await response.aclose()
        raise ApiError(response.status_code, code, message)
