"""Asking a running server, and keeping everything it says."""

import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy

from support.server import Running
from tellstream.core import events as ev
from tellstream.core import grammar
from tellstream.core.sse import SseDecoder
from tellstream.core.transcript import Transcript, fold


@dataclass
class Reply:
    """An HTTP answer, and the stream in it."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    json: Any = None
    events: list[ev.Event] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    @property
    def transcript(self) -> Transcript:
        return fold(self.events)

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]


def parse(body: bytes) -> tuple[list[ev.Event], list[str]]:
    """Decode a native stream with a decoder of its own; check frames and grammar."""
    frames = SseDecoder().feed(body)
    events = [ev.decode(frame.event, frame.data) for frame in frames]
    grammar.check(events)
    ids = [frame.id for frame in frames]
    assert ids == [str(number) for number in range(1, len(frames) + 1)]
    order = [event.id for event in events]
    assert order == sorted(set(order))
    return events, ids


async def ask(
    server: Running,
    body: Any,
    *,
    path: str = "/v1/chat/stream",
    headers: dict[str, str] | None = None,
    tenant: int = 1,
) -> Reply:
    """POST ``body``; a stream must be whole and grammatical."""
    sent = {**server.headers(tenant), "Content-Type": "application/json", **(headers or {})}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with (
        aiohttp.ClientSession() as session,
        session.post(server.url + path, headers=sent, data=data) as response,
    ):
        reply = Reply(response.status, response.headers, await response.read())
        if response.content_type == "text/event-stream":
            reply.events, reply.ids = parse(reply.body)
        elif response.content_type == "application/json":
            reply.json = await response.json()
        return reply
