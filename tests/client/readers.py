"""One stream, read by either client from beginning to end."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tellstream.client import ApiError, AsyncTellstream, ResumePolicy, Tellstream
from tellstream.core import events as ev
from tellstream.core.transcript import Transcript

FAST = ResumePolicy(give_up=20, start=20, base=0.002, cap=0.01)
"""Patient, but quick: waits of some milliseconds."""


@dataclass
class Outcome:
    """What a reader got."""

    events: list[ev.Event] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    transcript: Transcript = field(default_factory=Transcript)
    stream_id: str = ""
    error: ApiError | None = None


def read(kind: str, url: str, **options: Any) -> Outcome:
    """Read a stream with the ``async`` or the ``sync`` client; see ``_read`` for the options."""
    return asyncio.run(read_async(url, **options)) if kind == "async" else read_sync(url, **options)


async def read_async(
    url: str,
    *,
    token: Any = "token",
    policy: ResumePolicy = FAST,
    resume: dict[str, Any] | None = None,
    raw: bool = False,
    fields: dict[str, Any] | None = None,
    **settings: Any,
) -> Outcome:
    got = Outcome()
    async with AsyncTellstream(url, token, 1, policy=policy, **settings) as client:
        stream = (
            client.stream("Hello", **fields or {}) if resume is None else client.resume(**resume)
        )
        try:
            async with stream:
                got.stream_id = stream.stream_id
                if raw:
                    async for frame in stream.raw():
                        got.frames.append(frame)
                else:
                    async for event in stream:
                        got.events.append(event)
                        got.positions.append(stream.position)
        except ApiError as error:
            got.error = error
        got.transcript = stream.transcript
    return got


def read_sync(
    url: str,
    *,
    token: Any = "token",
    policy: ResumePolicy = FAST,
    resume: dict[str, Any] | None = None,
    raw: bool = False,
    fields: dict[str, Any] | None = None,
    **settings: Any,
) -> Outcome:
    got = Outcome()
    with Tellstream(url, token, 1, policy=policy, **settings) as client:
        stream = (
            client.stream("Hello", **fields or {}) if resume is None else client.resume(**resume)
        )
        try:
            with stream:
                got.stream_id = stream.stream_id
                if raw:
                    got.frames += stream.raw()
                else:
                    for event in stream:
                        got.events.append(event)
                        got.positions.append(stream.position)
        except ApiError as error:
            got.error = error
        got.transcript = stream.transcript
    return got


def call(kind: str, url: str, name: str, *arguments: Any, **settings: Any) -> Any:
    """Call one method of either client."""
    if kind == "sync":
        with Tellstream(url, "token", 1, **{"policy": FAST, **settings}) as client:
            return getattr(client, name)(*arguments)
    return asyncio.run(_call(url, lambda client: getattr(client, name)(*arguments), settings))


async def _call(url: str, make: Callable[[AsyncTellstream], Any], settings: dict[str, Any]) -> Any:
    async with AsyncTellstream(url, "token", 1, **{"policy": FAST, **settings}) as client:
        return await make(client)
