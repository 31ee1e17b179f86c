"""The event log in Redis as several workers have it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tellstream.eventlog.base import LogReader
from tellstream.eventlog.redis import RedisEventLog

LEASE = 0.6
PATIENCE = 20.0


@asynccontextmanager
async def worker(
    url: str, *, retention: float = 100.0, lease: float = LEASE, cancels: Any = None
) -> AsyncIterator[RedisEventLog]:
    """A log as one worker has it."""
    log = RedisEventLog(url, retention, lease)
    await log.start((lambda key: None) if cancels is None else cancels.append)
    try:
        yield log
    finally:
        await log.close()


async def die(log: RedisEventLog) -> None:
    """End a worker as kill -9 does: Redis is not told."""
    for task in log._tasks:
        task.cancel()
    await asyncio.wait(log._tasks)
    log._tasks = []
    await log.close()


async def until(check: Callable[[], Awaitable[Any]]) -> Any:
    """Wait for something that is true soon."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await check()):  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.01)
    return found


async def follow(
    reader: LogReader, pause: float = 0.0, before: Sequence[bytes] = ()
) -> list[bytes]:
    """Read to the end of the stream, as a response does.

    Args:
        reader: is closed at the end.
        pause: seconds after each portion.
        before: what it has read already.
    """
    found = list(before)
    more = asyncio.Event()
    reader.subscribe(more.set)
    async with asyncio.timeout(PATIENCE):
        while not reader.ended:
            if read := await reader.read():
                found += read
                await asyncio.sleep(pause)
            else:
                await more.wait()
                more.clear()
    reader.close()
    return found
