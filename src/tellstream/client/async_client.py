"""The asynchronous client."""

import random
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any, Self

import httpx2

from tellstream.client import calls, requests
from tellstream.client.answers import ChatAnswer, Model, StreamState
from tellstream.client.async_driver import AsyncDriver, AsyncTokens, TokenSource
from tellstream.client.connection import options
from tellstream.client.effects import Flow
from tellstream.client.policy import ResumePolicy, Timeouts, checked
from tellstream.client.reading import Arrived
from tellstream.client.session import Session
from tellstream.client.stream import OpenStream
from tellstream.core import events as ev
from tellstream.core.transcript import Transcript


class AsyncStream(OpenStream):
    """One stream; open it with ``async with``, read it with ``async for``.

    It yields typed events (``tellstream.core.events``) until ``stream_end``, reconnecting as often
    as needed: each event once, in order. Types that this client does not know are passed over.
    Reading may be left and taken up again; a read that was cancelled has lost nothing. Only one
    task may read at a time.
    """

    def __init__(self, client: "AsyncTellstream", driver: AsyncDriver, session: Session) -> None:
        super().__init__(session)
        self._client = client
        self._driver = driver

    async def __aenter__(self) -> Self:
        """Send the request.

        Raises:
            ApiError: the server refused, or is not there.
        """
        self._enter()
        await self._driver.run(self._session.open())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection; the stream goes on at the server."""
        self._closed = True
        await self._driver.close()

    def __aiter__(self) -> AsyncIterator[ev.Event]:
        return self

    async def __anext__(self) -> ev.Event:
        """Wait for the next event.

        Raises:
            ConnectionLostError: the stream could not be reached again within the budget.
            StreamProtocolError: the server breaks the protocol.
            AnswerError: the server refuses to go on with this stream.
        """
        while (arrived := await self._next()) is not None:
            if arrived.event is not None:
                return arrived.event
        raise StopAsyncIteration

    def events(self) -> AsyncIterator[ev.Event]:
        """Iterate over the events, the same as iterating over the stream."""
        return self

    async def raw(self) -> AsyncIterator[bytes]:
        """Iterate over whole native frames as bytes, also those of unknown types.

        Raises:
            ApiError: see ``__anext__``.
        """
        while (arrived := await self._next()) is not None:
            yield arrived.frame

    async def collect(self) -> Transcript:
        """Read to the end and return the whole answer.

        Raises:
            ApiError: see ``__anext__``.
        """
        while await self._next() is not None:
            pass
        return self.transcript

    async def cancel(self) -> StreamState:
        """Cancel the stream at the server; reading then gives its end.

        Raises:
            ApiError: the server refused, or is not there.
        """
        return await self._client.cancel(self.stream_id)

    async def _next(self) -> Arrived | None:
        self._check_open()
        arrived = self._session.take()
        if arrived is None:
            await self._driver.run(self._session.more())
            arrived = self._session.take()
        return arrived


class AsyncTellstream:
    """A client for one server and one tenant; use it as ``async with``.

    Args:
        url: the server's address.
        token: an OAuth 2.0 access token, or a function (async or not) that gets a fresh one; it is
            asked at first and again when the server refuses a token.
        tenant: the tenant to act for.
        timeouts: how long to wait for the network.
        policy: how long and how often to try again.
        verify: how to verify the server's certificate.

    Raises:
        ValueError: the address, the token or a setting cannot be used.
    """

    def __init__(
        self,
        url: str,
        token: TokenSource,
        tenant: int,
        *,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - immutable
        policy: ResumePolicy = ResumePolicy(),  # noqa: B008 - immutable
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        checked(timeouts)
        checked(policy)
        self._timeouts = timeouts
        self._tokens = AsyncTokens(token)
        self._ground = calls.Ground(self._tokens, policy, time.monotonic, random.random)
        self._http = httpx2.AsyncClient(**options(url, tenant, timeouts, verify))

    async def __aenter__(self) -> Self:
        """Open the client."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the client and its connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the client and its connections."""
        await self._http.aclose()

    def stream(
        self, prompt: str, *, idempotency_key: str | None = None, **fields: Any
    ) -> AsyncStream:
        """Start a stream, when the result is opened with ``async with``.

        Args:
            prompt: what to ask.
            idempotency_key: names this request, so that the same one made again finds the same
                stream; made up if omitted.
            fields: further fields of the request body; None counts as omitted.

        Raises:
            ValueError: the key or a field cannot be sent.
        """
        return self._open(Session.starting(self._ground, prompt, fields, idempotency_key))

    def resume(self, stream_id: str, after: int = 0, *, snapshot: bool = False) -> AsyncStream:
        """Attach to a stream that exists, when the result is opened with ``async with``.

        Args:
            stream_id: which one.
            after: sequence number of the last event not to be repeated; 0 for all.
            snapshot: let the server join what it can; sequence numbers may then jump.

        Raises:
            ValueError: the id or the number cannot be those of a stream.
        """
        return self._open(Session.following(self._ground, stream_id, after, snapshot=snapshot))

    async def chat(
        self, prompt: str, *, idempotency_key: str | None = None, **fields: Any
    ) -> ChatAnswer:
        """Ask and wait for the whole answer. Not sent again once the server may have seen it.

        Args:
            prompt: what to ask.
            idempotency_key: see ``stream``.
            fields: see ``stream``.

        Raises:
            ApiError: the server refused, the generation failed, or the server is not there.
        """
        key = requests.new_key(idempotency_key)
        request = requests.chat(prompt, fields, key, self._timeouts.answer)
        return await self._run(
            calls.call(request, self._ground, ChatAnswer, repeatable=False, key=key)
        )

    async def models(self) -> list[Model]:
        """List the models that the tenant may use.

        Raises:
            ApiError: the server refused, or is not there.
        """
        return await self._run(
            calls.call(requests.MODELS, self._ground, list[Model], repeatable=True)
        )

    async def state(self, stream_id: str) -> StreamState:
        """Ask for the state of a stream.

        Raises:
            ApiError: the stream is unknown, or the server is not there.
        """
        request = requests.state(stream_id)
        return await self._run(calls.call(request, self._ground, StreamState, repeatable=True))

    async def cancel(self, stream_id: str) -> StreamState:
        """Cancel a stream, also one that has ended; returns its state.

        Raises:
            ApiError: the stream is unknown, or the server is not there.
        """
        request = requests.cancel(stream_id)
        return await self._run(calls.call(request, self._ground, StreamState, repeatable=True))

    def _open(self, session: Session) -> AsyncStream:
        return AsyncStream(self, self._driver(), session)

    def _driver(self) -> AsyncDriver:
        return AsyncDriver(self._http, self._tokens, self._timeouts)

    async def _run(self, flow: Flow[calls.Answer]) -> calls.Answer:
        return await self._driver().run(flow)
