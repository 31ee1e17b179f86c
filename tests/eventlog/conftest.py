"""The event logs that the contract is tested against: one row each."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

import pytest

from support.event_logs import RETENTION, Clock, created, frames
from support.redis import RedisServer, redis_server
from tellstream.eventlog.base import EventLog, LogWriter
from tellstream.eventlog.memory import MemoryEventLog
from tellstream.eventlog.redis import RedisEventLog
from tellstream.eventlog.sqlite import SqliteEventLog

Opener: TypeAlias = Callable[[pytest.FixtureRequest, Clock], AbstractAsyncContextManager[EventLog]]


@asynccontextmanager
async def memory_log(_request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[EventLog]:
    log = MemoryEventLog(RETENTION, clock)
    await log.start(lambda key: None)
    try:
        yield log
    finally:
        await log.close()


@asynccontextmanager
async def sqlite_log(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[EventLog]:
    folder = request.getfixturevalue("tmp_path")
    log = SqliteEventLog(folder / "events.db", RETENTION, clock)
    await log.start(lambda key: None)
    try:
        yield log
    finally:
        await log.close()


@asynccontextmanager
async def redis_log(request: pytest.FixtureRequest, _clock: Clock) -> AsyncIterator[EventLog]:
    server: RedisServer = request.getfixturevalue("shared_redis")
    server.ask("FLUSHALL")
    log = RedisEventLog(server.url, RETENTION, lease=10.0)
    await log.start(lambda key: None)
    try:
        yield log
    finally:
        await log.close()


# How to give an empty open log, and to close it afterwards. What a row needs more, a folder or the
# address of a server, it takes from a (synchronous) fixture: ``request.getfixturevalue(name)``.
IMPLEMENTATIONS: dict[str, Opener] = {
    "memory": memory_log,
    "sqlite": sqlite_log,
    "redis": redis_log,
}


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for all tests that do it no harm; each begins with an empty database."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=IMPLEMENTATIONS)
async def log(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[EventLog]:
    """An open log without streams."""
    async with IMPLEMENTATIONS[request.param](request, clock) as opened:
        yield opened


@pytest.fixture
async def writer(log: EventLog) -> LogWriter:
    """The writer of the running stream ``KEY``, which has three frames."""
    made = await created(log)
    await made.append(1, frames(1, 3))
    return made
