"""Performs effects with blocking calls; for plain threads, without asyncio."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar

import httpx2

from tellstream.client.connection import arguments, failures
from tellstream.client.effects import (
    Broken,
    Close,
    Effect,
    Flow,
    Head,
    NewToken,
    Open,
    Read,
    Sleep,
)
from tellstream.client.policy import Timeouts
from tellstream.client.tokens import Tokens, usable

TokenSource: TypeAlias = str | Callable[[], str]
"""A token, or a function that gets a fresh one."""
_Result = TypeVar("_Result")


class SyncTokens(Tokens):
    """Tokens of a blocking client; may be used by many threads."""

    def __init__(self, source: TokenSource) -> None:
        super().__init__(source if isinstance(source, str) else None)
        self._source = source
        self._lock = threading.Lock()

    def renew(self, stale: str | None) -> str:
        """Get a token other than ``stale``; many threads that ask at once share one."""
        with self._lock:
            if self.current is None or self.current == stale:
                assert not isinstance(self._source, str)
                self.current = usable(self._source())
            return self.current


class SyncDriver:
    """One connection at a time, on behalf of one flow after the other."""

    def __init__(self, http: httpx2.Client, tokens: SyncTokens, timeouts: Timeouts) -> None:
        self._http = http
        self._tokens = tokens
        self._timeouts = timeouts
        self._response: httpx2.Response | None = None
        self._chunks: Iterator[bytes] | None = None

    def run(self, flow: Flow[_Result]) -> _Result:
        """Run ``flow`` to its end. If it fails or is interrupted, the connection is closed."""
        try:
            return self._run(flow)
        except BaseException:
            self.close()
            raise
        finally:
            flow.close()

    def close(self) -> None:
        """Close the connection. May be called again."""
        response, self._response, self._chunks = self._response, None, None
        if response is not None:
            response.close()

    def _run(self, flow: Flow[_Result]) -> _Result:
        step: Callable[[Any], Effect] = flow.send
        given: object = None
        while True:
            try:
                effect = step(given)
            except StopIteration as stop:
                result: _Result = stop.value
                return result
            try:
                step, given = flow.send, self._perform(effect)
            except Broken as broken:
                step, given = flow.throw, broken

    def _perform(self, effect: Effect) -> object:
        match effect:
            case Read():
                return self._read()
            case Open():
                return self._open(effect)
            case Close():
                self.close()
            case Sleep():
                time.sleep(effect.seconds)
            case NewToken():
                return self._tokens.renew(effect.stale)
        return None

    def _open(self, effect: Open) -> Head:
        self.close()
        given = arguments(effect.request, effect.token, self._timeouts)
        with failures():
            response = self._http.send(self._http.build_request(**given), stream=True)
        self._response = response
        self._chunks = response.iter_bytes()
        return Head(response.status_code, response.headers)

    def _read(self) -> bytes | None:
        assert self._chunks is not None
        with failures():
            return next(self._chunks, None)
