"""Following a stream's log on behalf of one HTTP client.

The head is held until the first events or the commit time, so that an early failure keeps its
status. From then on: write whatever is new, one write per wake-up, frames shared with all other
readers; a keep-alive comment after silence, only between frames. Nothing is queued here: the
transport's buffer is the only one, and while it is full this reader waits, alone.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from tellstream.core.errors import ChatError
from tellstream.core.frames import KEEP_ALIVE
from tellstream.eventlog.base import LogReader
from tellstream.server.body import ClientGoneError
from tellstream.server.call import Call
from tellstream.server.pulse import Pulse

SSE_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}


async def follow(
    reader: LogReader,
    call: Call,
    *,
    commit: float,
    heartbeat: float,
    failure: Callable[[], ChatError | None] = lambda: None,
) -> None:
    """Write a stream's events to the client until the end or until the client leaves.

    Args:
        reader: a reader of the stream's log; not closed here.
        call: the request to answer.
        failure: asked before the head goes out: an error to answer with instead.
        commit: seconds to hold the head at most.
        heartbeat: seconds of silence before a keep-alive comment.

    Raises:
        ChatError: what ``failure`` gave.
    """
    time = asyncio.get_running_loop().time
    pulse = Pulse(call.receive)
    reader.subscribe(pulse.wake)
    quiet_since = time()
    commit_at = quiet_since + commit
    try:
        while not pulse.gone:
            frames = await reader.read()
            if call.status is None and (frames or time() >= commit_at):
                error = failure()
                if error is not None:
                    raise error
                await call.head(200, SSE_HEADERS)
            if frames:
                await _write(call, b"".join(frames))
                quiet_since = time()
            elif reader.ended:
                await call.send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            elif call.status is None:
                await pulse.wait(commit_at)
            elif time() >= quiet_since + heartbeat:
                await _write(call, KEEP_ALIVE)
                quiet_since = time()
            else:
                await pulse.wait(quiet_since + heartbeat)
    finally:
        pulse.close()


async def collect(reader: LogReader, call: Call) -> list[bytes]:
    """Wait for the end of the stream and give all its frames.

    Raises:
        ClientGoneError: the client left before the end.
    """
    pulse = Pulse(call.receive)
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


async def _write(call: Call, data: bytes) -> None:
    await call.send({"type": "http.response.body", "body": data, "more_body": True})
