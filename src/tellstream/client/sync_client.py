"""The blocking client: the same surface without asyncio, for plain threads."""

import random
import ssl
import time
from collections.abc import Iterator
from typing import Any, Self

import httpx2

from tellstream.client import calls, requests
from tellstream.client.answers import ChatAnswer, Model, StreamState
from tellstream.client.connection import options
from tellstream.client.effects import Flow
from tellstream.client.policy import ResumePolicy, Timeouts, checked
from tellstream.client.reading import Arrived
from tellstream.client.session import Session
from tellstream.client.stream import OpenStream
from tellstream.client.sync_driver import SyncDriver, SyncTokens, TokenSource
from tellstream.core import events as ev
from tellstream.core.transcript import Transcript


class Stream(OpenStream):
    """One stream; open it with ``with``, read it with ``for``.

    It yields typed events (``tellstream.core.events``) until ``stream_end``, reconnecting as often
    as needed: each event once, in order. Types that this client does not know are passed over.
    Reading may be left and taken up again. Only one thread may read at a time; ``cancel`` may be
    called from any.
    """

    def __init__(self, client: "Tellstream", driver: SyncDriver, session: Session) -> None:
        super().__init__(session)
        self._client = client
        self._driver = driver

    def __enter__(self) -> Self:
        """Send the request.

        Raises:
            ApiError: the server refused, or is not there.
        """
        self._enter()
        self._driver.run(self._session.open())
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection; the stream goes on at the server."""
        self._closed = True
        self._driver.close()

    def __iter__(self) -> Iterator[ev.Event]:
        return self

    def __next__(self) -> ev.Event:
        """Wait for the next event.

        Raises:
            ConnectionLostError: the stream could not be reached again within the budget.
            StreamProtocolError: the server breaks the protocol.
            AnswerError: the server refuses to go on with this stream.
        """
        while (arrived := self._next()) is not None:
            if arrived.event is not None:
                return arrived.event
        raise StopIteration

    def events(self) -> Iterator[ev.Event]:
        """Iterate over the events, the same as iterating over the stream."""
        return self

    def raw(self) -> Iterator[bytes]:
        """Iterate over whole native frames as bytes, also those of unknown types.

        Raises:
            ApiError: see ``__next__``.
        """
        while (arrived := self._next()) is not None:
            yield arrived.frame

    def collect(self) -> Transcript:
        """Read to the end and return the whole answer.

        Raises:
            ApiError: see ``__next__``.
        """
        while self._next() is not None:
            pass
        return self.transcript

    def cancel(self) -> StreamState:
        """Cancel the stream at the server; reading then gives its end.

        Raises:
            ApiError: the server refused, or is not there.
        """
        return self._client.cancel(self.stream_id)

    def _next(self) -> Arrived | None:
        self._check_open()
        arrived = self._session.take()
        if arrived is None:
            self._driver.run(self._session.more())
            arrived = self._session.take()
        return arrived


class Tellstream:
    """A client for one server and one tenant; use it as ``with``. Threads may share it.

    Args:
        url: the server's address.
        token: an OAuth 2.0 access token, or a function that gets a fresh one; it is
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
        self._tokens = SyncTokens(token)
        self._ground = calls.Ground(self._tokens, policy, time.monotonic, random.random)
        self._http = httpx2.Client(**options(url, tenant, timeouts, verify))

    def __enter__(self) -> Self:
        """Open the client."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the client and its connections."""
        self.close()

    def close(self) -> None:
        """Close the client and its connections."""
        self._http.close()

    def stream(self, prompt: str, *, idempotency_key: str | None = None, **fields: Any) -> Stream:
        """Start a stream, when the result is opened with ``with``.

        Args:
            prompt: what to ask.
            idempotency_key: names this request, so that the same one made again finds the same
                stream; made up if omitted.
            fields: further fields of the request body; None counts as omitted.

        Raises:
            ValueError: the key or a field cannot be sent.
        """
        return self._open(Session.starting(self._ground, prompt, fields, idempotency_key))

    def resume(self, stream_id: str, after: int = 0, *, snapshot: bool = False) -> Stream:
        """Attach to a stream that exists, when the result is opened with ``with``.

        Args:
            stream_id: which one.
            after: sequence number of the last event not to be repeated; 0 for all.
            snapshot: let the server join what it can; sequence numbers may then jump.

        Raises:
            ValueError: the id or the number cannot be those of a stream.
        """
        return self._open(Session.following(self._ground, stream_id, after, snapshot=snapshot))

    def chat(self, prompt: str, *, idempotency_key: str | None = None, **fields: Any) -> ChatAnswer:
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
        return self._run(calls.call(request, self._ground, ChatAnswer, repeatable=False, key=key))

    def models(self) -> list[Model]:
        """List the models that the tenant may use.

        Raises:
            ApiError: the server refused, or is not there.
        """
        return self._run(calls.call(requests.MODELS, self._ground, list[Model], repeatable=True))

    def state(self, stream_id: str) -> StreamState:
        """Ask for the state of a stream.

        Raises:
            ApiError: the stream is unknown, or the server is not there.
        """
        request = requests.state(stream_id)
        return self._run(calls.call(request, self._ground, StreamState, repeatable=True))

    def cancel(self, stream_id: str) -> StreamState:
        """Cancel a stream, also one that has ended; returns its state.

        Raises:
            ApiError: the stream is unknown, or the server is not there.
        """
        request = requests.cancel(stream_id)
        return self._run(calls.call(request, self._ground, StreamState, repeatable=True))

    def _open(self, session: Session) -> Stream:
        return Stream(self, self._driver(), session)

    def _driver(self) -> SyncDriver:
        return SyncDriver(self._http, self._tokens, self._timeouts)

    def _run(self, flow: Flow[calls.Answer]) -> calls.Answer:
        return self._driver().run(flow)
