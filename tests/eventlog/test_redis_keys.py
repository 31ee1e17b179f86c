"""What the event log keeps in Redis, under which names, and for how long."""

import pytest

from support.event_logs import KEY, everything, frames
from support.redis import RedisServer
from support.redis_logs import until, worker
from tellstream.core.errors import RequestError
from tellstream.eventlog.base import (
    Idempotency,
    LogEntry,
    LogUnavailableError,
    StreamKey,
    Taken,
)
from tellstream.eventlog.redis_keys import log_key, meta_key, stream_of


@pytest.fixture
def server(shared_redis: RedisServer) -> RedisServer:
    """A server with an empty database."""
    shared_redis.ask("FLUSHALL")
    return shared_redis


@pytest.mark.parametrize(
    "key", [StreamKey(1, "s"), StreamKey(2**63 - 1, "str_01:x-_"), StreamKey(7, "ü:s:9}{")]
)
def test_a_name_leads_back_to_its_stream(key: StreamKey) -> None:
    assert stream_of(meta_key(key)) == stream_of(log_key(key)) == key


async def test_frames_and_name_go_after_the_retention_and_the_record_stays(
    server: RedisServer,
) -> None:
    async with worker(server.url, retention=0.2) as log:
        writer = await log.create(KEY, b"old", Idempotency("name", "body"))
        assert not isinstance(writer, Taken)
        await writer.append(1, frames(1, 2))
        running = server.ask("PTTL", log_key(KEY))
        await writer.append(3, frames(3, 1), record=b"new", end=True)
        assert await everything(log) == frames(1, 3)
        late = await log.reader(KEY)

        async def expired() -> bool:
            return bool(server.ask("EXISTS", log_key(KEY)) == 0)

        await until(expired)
        with pytest.raises(RequestError) as caught:
            await log.reader(KEY)
        assert caught.value.code == "not_found"
        with pytest.raises(LogUnavailableError):
            await late.read()
        assert await log.taken(1, "name") is None
        assert await log.find(KEY) == LogEntry(b"new", 3, ended=True)
    assert running > 86_400_000
    assert 0 < server.ask("PTTL", meta_key(KEY)) <= 86_400_200


async def test_every_key_of_a_stream_names_its_tenant(server: RedisServer) -> None:
    async with worker(server.url) as log:
        writer = await log.create(StreamKey(101, "s"), b"", Idempotency("name", "body"))
        assert not isinstance(writer, Taken)
        await writer.append(1, frames(1, 1))
        names = {name for name in server.ask("KEYS", "*") if b"worker" not in name}
        assert names == {
            b"tellstream:{t:101:s:s}:log",
            b"tellstream:{t:101:s:s}:meta",
            b"tellstream:{t:101:i:name}",
        }
        assert await log.find(StreamKey(102, "s")) is None
        assert await log.taken(102, "name") is None
        await writer.append(2, frames(2, 1), end=True)
