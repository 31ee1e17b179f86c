"""One stream over as many connections as it takes: all decisions, no input or output.

The rules:

- Until an answer came, the same POST with the same idempotency key is sent again; any HTTP error
  is the answer.
- After that the stream is followed by its id, from the last event that arrived. An overloaded or
  failing server is asked again within the budget; any other refusal is final.
- A connection that ends without ``stream_end`` was lost, however it ended.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final, Self

from tellstream.client import requests
from tellstream.client.calls import Ground, authorized, refusal
from tellstream.client.effects import Broken, Close, Flow, Head, Read, Request, Sleep
from tellstream.client.errors import (
    ConnectionFailedError,
    ConnectionLostError,
    StreamProtocolError,
    retry_after,
)
from tellstream.client.folding import Folding
from tellstream.client.policy import STABLE_SECONDS
from tellstream.client.reading import MAX_POSITION, Arrived, Reading
from tellstream.core.errors import ApiError

_OK: Final = 200
_NO_CONTENT: Final = 204
_TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Answers to a reconnection after which it is tried again."""


class Session:
    """One stream being read; made by ``starting`` or ``following``.

    Attributes:
        idempotency_key: of the request that starts the stream, or None.
        position: sequence number of the last event that was taken.
        folding: the fold of the events that were taken.
    """

    def __init__(
        self, ground: Ground, start: Request | None, reading: Reading, *, snapshot: bool = False
    ) -> None:
        self.idempotency_key = None if start is None else start.headers["Idempotency-Key"]
        self.position = reading.position
        self.folding = Folding()
        self._ground = ground
        self._start = start
        self._reading = reading
        self._after = reading.position
        self._snapshot = snapshot
        self._arrived: deque[Arrived] = deque()
        self._over = False
        self._connected = False
        self._answered = start is None
        budget = ground.policy.give_up if self._answered else ground.policy.start
        self._backoff = ground.backoff(budget)
        self._opened_at = self._heard_at = ground.now()

    @classmethod
    def starting(
        cls, ground: Ground, prompt: str, fields: Mapping[str, Any], key: str | None
    ) -> Self:
        """Prepare a new stream.

        Raises:
            ValueError: the key or a field cannot be sent.
        """
        start = requests.start(prompt, fields, requests.new_key(key))
        return cls(ground, start, Reading("", 0, snapshot=False))

    @classmethod
    def following(cls, ground: Ground, stream_id: str, after: int, *, snapshot: bool) -> Self:
        """Prepare to read a stream that exists.

        Raises:
            ValueError: the id or the position cannot be those of a stream.
        """
        if not 0 <= after <= MAX_POSITION:
            raise ValueError(f"after must be from 0 to {MAX_POSITION}")
        reading = Reading(requests.checked_id(stream_id), after, snapshot=snapshot)
        return cls(ground, None, reading, snapshot=snapshot)

    @property
    def stream_id(self) -> str:
        """The server's id of the stream; empty before the first answer."""
        return self._reading.stream_id

    def take(self) -> Arrived | None:
        """Take the next event that has arrived; None if there is none."""
        if not self._arrived:
            return None
        arrived = self._arrived.popleft()
        self.position = arrived.position
        if arrived.event is not None:
            self.folding.add(arrived.event)
        return arrived

    def open(self) -> Flow[None]:
        """Get the first answer.

        Raises:
            ApiError: see ``more``; and ``ConnectionFailedError``, no answer came to the request
                that starts the stream.
        """
        yield from self._connect()

    def more(self) -> Flow[None]:
        """Go on until an event can be taken, or, if there is still none then, to the end.

        Raises:
            ConnectionLostError: the budget of one outage is used up.
            StreamProtocolError: the server breaks the protocol.
            AnswerError: the server refuses to go on with this stream.
        """
        while not (self._arrived or self._over):
            if self._reading.fault is not None:
                raise self._reading.fault
            if self._connected:
                yield from self._read()
            else:
                yield from self._connect()
        if self._over:
            yield Close()

    def _read(self) -> Flow[None]:
        self._connected = False  # until it returns: a cancelled read takes the connection with it
        cause: Exception | None = None
        try:
            chunk = yield Read()
        except Broken as broken:
            chunk, cause = None, broken
        if chunk is None:
            if self._heard_at - self._opened_at >= STABLE_SECONDS:
                self._backoff.progress()
            yield Close()
            yield Sleep(self._wait(cause))
            return
        self._connected = True
        self._heard_at = self._ground.now()
        self._arrived += self._reading.feed(chunk)
        self._over = self._reading.over
        if self._arrived:
            self._backoff.progress()

    def _connect(self) -> Flow[None]:
        """Try until an answer decides: connected, over, or an error."""
        while not (self._connected or self._over):
            seconds = 0.0
            cause: Exception
            try:
                head = yield from authorized(self._request(), self._ground.tokens)
                error = yield from self._judge(head)
            except Broken as broken:
                cause = broken
            else:
                if error is None:
                    continue
                cause = error
                seconds = retry_after(head.headers) or 0.0
            yield Sleep(self._wait(cause, seconds))

    def _request(self) -> Request:
        if self._start is not None and not self._answered:
            return self._start
        return requests.follow(self.stream_id, self._reading.position, snapshot=self._snapshot)

    def _judge(self, head: Head) -> Flow[ApiError | None]:
        """Decide on the head of an answer; gives the error after which to try again, if any."""
        if head.status == _OK:
            self._begin(head)
        elif head.status == _NO_CONTENT and self._answered:
            yield Close()
            if self._reading.position > self._after:
                raise StreamProtocolError("the server ended the stream without stream_end")
            self._over = True  # the caller had everything already
        else:
            error = yield from refusal(head)
            if self._answered and head.status in _TRANSIENT:
                return error
            raise error
        return None

    def _begin(self, head: Head) -> None:
        content_type = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != "text/event-stream":
            raise StreamProtocolError(f"an event stream was expected, not {content_type!r}")
        named = head.headers.get("x-stream-id", "")
        if named and not requests.is_id(named):
            raise StreamProtocolError("the stream has an impossible id")
        if not self._answered:
            self._answered = True
            self._reading.stream_id = named
            self._backoff = self._ground.backoff(self._ground.policy.give_up)
        elif named not in {"", self.stream_id}:
            raise StreamProtocolError("the server answers with another stream")
        self._connected = True
        self._reading.connected()
        self._opened_at = self._heard_at = self._ground.now()

    def _wait(self, cause: Exception | None, asked: float = 0.0) -> float:
        """Decide how long to wait after a failure.

        Raises:
            ConnectionFailedError: the budget is used up, and no answer ever came.
            ConnectionLostError: the budget is used up, or the stream has no name to ask for.
        """
        reason = str(cause) if cause is not None else "the answer ended before its end"
        at_least = max(asked, self._reading.retry_seconds)
        seconds = self._backoff.wait(self._ground.now(), self._ground.chance(), at_least)
        if seconds is None and not self._answered:
            raise ConnectionFailedError(reason, self.idempotency_key) from cause
        if seconds is None or (self._answered and not self.stream_id):
            raise ConnectionLostError(self.stream_id, self.position, reason) from cause
        return seconds
