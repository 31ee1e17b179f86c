"""Performs effects with asyncio."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from inspect import isawaitable
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

TokenSource: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A token, or a function (async or not) that gets a fresh one."""
_Result = TypeVar("_Result")


class AsyncTokens(Tokens):
    """Tokens of an asynchronous client."""

    def __init__(self, source: TokenSource) -> None:
        super().__init__(source if isinstance(source, str) else None)
        self._source = source
        self._lock = asyncio.Lock()

    async def renew(self, stale: str | None) -> str:
        """Get a token other than ``stale``; many streams that ask at once share one."""
        async with self._lock:
            if self.current is None or self.current == stale:
                assert not isinstance(self._source, str)
                got = self._source()
                self.current = usable(await got if isawaitable(got) else got)
            return self.current


class AsyncDriver:
    """One connection at a time, on behalf of one flow after the other."""

    def __init__(self, http: httpx2.AsyncClient, tokens: AsyncTokens, timeouts: Timeouts) -> None:
        self._http = http
        self._tokens = tokens
        self._timeouts = timeouts
        self._response: httpx2.Response | None = None
        self._chunks: AsyncGenerator[bytes] | None = None

    async def run(self, flow: Flow[_Result]) -> _Result:
        """Run ``flow`` to its end. If it fails or is cancelled, the connection is closed."""
        try:
            return await self._run(flow)
        except BaseException:
            await self.close()
            raise
        finally:
            flow.close()

    async def close(self) -> None:
        """Close the connection. May be called again."""
        chunks, self._chunks = self._chunks, None
        response, self._response = self._response, None
        try:
            if chunks is not None:
                await chunks.aclose()
        finally:
            if response is not None:
                await response.aclose()

    async def _run(self, flow: Flow[_Result]) -> _Result:
        step: Callable[[Any], Effect] = flow.send
        given: object = None
        while True:
            try:
                effect = step(given)
            except StopIteration as stop:
                result: _Result = stop.value
                return result
            try:
                step, given = flow.send, await self._perform(effect)
            except Broken as broken:
                step, given = flow.throw, broken

    async def _perform(self, effect: Effect) -> object:
        match effect:
            case Read():
                return await self._read()
            case Open():
                return await self._open(effect)
            case Close():
                await self.close()
            case Sleep():
                await asyncio.sleep(effect.seconds)
            case NewToken():
                return await self._tokens.renew(effect.stale)
        return None

    async def _open(self, effect: Open) -> Head:
        await self.close()
        given = arguments(effect.request, effect.token, self._timeouts)
        with failures():
            response = await self._http.send(self._http.build_request(**given), stream=True)
        self._response = response
        self._chunks = response.aiter_bytes()
        return Head(response.status_code, response.headers)

    async def _read(self) -> bytes | None:
        assert self._chunks is not None
        with failures():
            return await anext(self._chunks, None)
