"""Following a stream's log on behalf of one HTTP client.

The head is held until the first events or the commit time, so that an early failure keeps its
status. From then on: write whatever is new, one write per wake-up, frames shared with all other
readers; a keep-alive comment after silence, only between frames. Nothing is queued here: the
transport's buffer is the only one, and while it is full this reader waits, alone.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from tellstream.core.errors import ChatError
from tellstream.core.frames import KEEP_ALIVE
from tellstream.core.snapshot import Snapshot
from tellstream.eventlog.base import LogReader
from tellstream.server.body import ClientGoneError
from tellstream.server.call import Call
from tellstream.server.pulse import Pulse
from tellstream.streams.attachment import Attachment
from tellstream.streams.drain import DrainNotice

RETRY: Final = b"retry: 1000\n"
"""Milliseconds until a reader should come back when this process stops. A line without a blank
line, like the keep-alive comment: it belongs to the next event, if there is one."""

SSE_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}


class Pace(NamedTuple):
    """When a response writes what nobody asked for.

    Attributes:
        commit: seconds to hold the head at most.
        heartbeat: seconds of silence before a keep-alive comment.
        drain: tells that this process is about to stop.
    """

    commit: float
    heartbeat: float
    drain: DrainNotice


async def follow(
    attachment: Attachment,
    call: Call,
    pace: Pace,
    *,
    failure: Callable[[list[bytes]], ChatError | None] = lambda _frames: None,
    fold_first: bool = False,
    encode: Callable[[list[bytes]], bytes] = b"".join,
    headers: Mapping[str, str] = SSE_HEADERS,
) -> None:
    """Write a stream's events to the client until the end or until the client leaves.

    When this process is about to stop, the client is advised when to come back. A stream that is
    produced elsewhere goes on there, so its connection here is closed then.

    Args:
        attachment: to the stream; not closed here.
        call: the request to answer.
        pace: when to write.
        failure: asked with the first frames before the head goes out: an error to answer with
            instead.
        fold_first: begin with a snapshot of what is in the log now.
        encode: says frames in the client's protocol; a batch may come to nothing.
        headers: of the response.

    Raises:
        ChatError: what ``failure`` gave.
    """
    response = _Response(attachment, call, pace, encode)
    try:
        await response.run(failure, headers, fold_first=fold_first)
    finally:
        response.close()


class _Response:
    """One response on its way.

    While its task waits, whoever appends to the log writes here without waking it, as long as the
    client keeps up. What takes longer is the task's: the head, older frames, silence, the end, and
    a client that is slow.
    """

    def __init__(
        self,
        attachment: Attachment,
        call: Call,
        pace: Pace,
        encode: Callable[[list[bytes]], bytes],
    ) -> None:
        self._time = asyncio.get_running_loop().time
        self._attachment = attachment
        self._reader = attachment.reader
        self._call = call
        self._pipe = call.pipe
        self._pace = pace
        self._encode = encode
        self._quiet_since = self._time()
        self._failed: Exception | None = None
        self._pulse = Pulse(call.receive, call.pipe)
        self._reader.subscribe(self._appended)
        pace.drain.subscribe(self._pulse.wake)

    def close(self) -> None:
        """Wait for nothing more."""
        self._pace.drain.unsubscribe(self._pulse.wake)
        self._pulse.close()

    async def run(
        self,
        failure: Callable[[list[bytes]], ChatError | None],
        headers: Mapping[str, str],
        *,
        fold_first: bool,
    ) -> None:
        """Write events to the end; see ``follow``."""
        time, call, pulse, pace, reader = (
            self._time, self._call, self._pulse, self._pace, self._reader,
        )  # fmt: skip
        commit_at = self._quiet_since + pace.commit
        advised = False
        frames = await _snapshot(reader) if fold_first else await reader.read()
        while not pulse.gone:
            leave = pace.drain.given and not self._attachment.here
            if call.status is None and (frames or leave or time() >= commit_at):
                error = failure(frames)
                if error is not None:
                    raise error
                await call.head(200, headers)
            if pace.drain.given and call.status is not None and not advised:
                advised = True
                await self._write(RETRY)
            written = self._encode(frames) if frames else b""
            if written:
                await self._write(written)
            elif frames:
                await asyncio.sleep(0)  # nothing that is to be said: look for more, but not alone
            elif reader.ended or leave:
                await call.send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            elif call.status is None:
                await pulse.wait(commit_at)
            elif time() >= self._quiet_since + pace.heartbeat:
                await self._write(KEEP_ALIVE)
            else:
                await self._wait()
            frames = await reader.read()

    async def _wait(self) -> None:
        """Wait for what ``_appended`` cannot do."""
        await self._pulse.wait(self._quiet_since + self._pace.heartbeat)
        if self._failed is not None:
            raise self._failed

    def _appended(self) -> None:
        """Write what was appended, or wake the task; must not fail, the log is calling."""
        pipe = self._pipe
        if pipe is None or not self._pulse.waiting or not pipe.ready:
            self._pulse.wake()
            return
        try:
            frames = self._reader.take()
            written = self._encode(frames) if frames else b""
        except Exception as error:  # noqa: BLE001 - raised in the task
            self._failed = error
            self._pulse.wake()
            return
        if written:
            pipe.write(written)
            self._call.sent += len(written)
            self._quiet_since = self._time()
        if frames is None or self._reader.behind or self._reader.ended:
            self._pulse.wake()

    async def _write(self, data: bytes) -> None:
        self._call.sent += len(data)
        await self._call.send({"type": "http.response.body", "body": data, "more_body": True})
        self._quiet_since = self._time()


async def _snapshot(reader: LogReader) -> list[bytes]:
    """Fold everything that can be read now, in portions that hold nobody else up."""
    folded: list[bytes] = []
    fold = Snapshot()
    while frames := await reader.read():
        folded += fold.feed(frames)
        await asyncio.sleep(0)
    return folded + fold.flush()


async def collect(reader: LogReader, call: Call) -> list[bytes]:
    """Wait for the end of the stream and give all its frames.

    Raises:
        ClientGoneError: the client left before the end.
    """
    pulse = Pulse(call.receive, call.pipe)
    reader.subscribe(pulse.wake)
    frames: list[bytes] = []
    try:
        while not reader.ended:
            if pulse.gone:
                raise ClientGoneError
            new = await reader.read()
            frames += new
            if not new and not reader.ended:
                await pulse.wait()
    finally:
        pulse.close()
    return frames
