"""The event log in Redis when things go wrong: lost replies, crashes, hangs, lost data."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.event_logs import KEY, created, everything, frames
from support.redis import Proxy, RedisServer, proxy_to, redis_server
from support.redis_logs import LEASE, die, follow, until, worker
from tellstream.core.errors import RequestError
from tellstream.eventlog import redis_tailer
from tellstream.eventlog.base import (
    FencedError,
    Idempotency,
    LogEntry,
    LogReader,
    LogUnavailableError,
    LogWriter,
    StreamKey,
    Taken,
)
from tellstream.eventlog.redis import RedisEventLog
from tellstream.eventlog.redis_keys import log_key, meta_key
from tellstream.eventlog.redis_rounds import OUTAGE_SECONDS


@pytest.fixture
def server(shared_redis: RedisServer) -> RedisServer:
    """A server with an empty database."""
    shared_redis.ask("FLUSHALL")
    return shared_redis


@pytest.fixture
def private(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that may be killed."""
    with redis_server(tmp_path) as running:
        yield running


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncIterator[Proxy]:
    async with proxy_to(server) as running:
        yield running


@pytest.fixture
async def log(proxy: Proxy) -> AsyncIterator[RedisEventLog]:
    """A worker whose replies may be lost; its heart beats rarely, so that it takes none of them."""
    async with worker(proxy.url, lease=1000.0) as opened:
        yield opened


async def lose_the_tailer(log: RedisEventLog) -> None:
    """Take the connection that waits for news away, so that it takes no reply that is lost."""
    for task in log._tasks[1:]:
        task.cancel()
    await asyncio.wait(log._tasks[1:])
    await log._tailer.close()


# --- lost replies ---------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize("losses", [1, 2])
async def test_an_append_whose_reply_is_lost_happens_once(
    proxy: Proxy, log: RedisEventLog, end: bool, losses: int
) -> None:
    await lose_the_tailer(log)
    writer = await created(log)
    await writer.append(1, frames(1, 2))
    reader = await log.reader(KEY)
    proxy.lossy = losses
    await writer.append(3, frames(3, 2), record=b"new", end=end)
    assert proxy.lost == losses
    assert writer.head == 4
    assert await reader.read() == frames(1, 4)
    assert reader.ended is end
    assert await log.find(KEY) == LogEntry(b"new", 4, end)
    if not end:
        await writer.append(5, frames(5, 1), end=True)
    assert await everything(log) == frames(1, 4 if end else 5)


async def test_a_create_whose_reply_is_lost_opens_its_log_and_takes_its_name(
    proxy: Proxy, log: RedisEventLog
) -> None:
    await lose_the_tailer(log)
    proxy.lossy = 1
    writer = await log.create(KEY, b"", Idempotency("name", "body"))
    assert proxy.lost == 1
    assert not isinstance(writer, Taken)
    await writer.append(1, frames(1, 1), end=True)
    other = await log.create(StreamKey(1, "other"), b"", Idempotency("name", "other"))
    assert other == Taken("s", "body")


async def test_a_claim_whose_reply_is_lost_is_made_once(
    server: RedisServer, proxy: Proxy, log: RedisEventLog
) -> None:
    await lose_the_tailer(log)
    dead = RedisEventLog(server.url, 100.0, LEASE)
    await dead.start(lambda key: None)
    writer = await created(dead)
    await writer.append(1, frames(1, 1))
    await die(dead)
    await until(log.orphans)
    proxy.lossy = 2
    claimed = await log.claim(KEY)
    assert proxy.lost == 2
    assert claimed is not None
    assert await log.claim(KEY) is None
    await claimed.append(2, frames(2, 1), end=True)
    assert await everything(log) == frames(1, 2)


async def test_a_stream_whose_creator_never_heard_of_it_is_ended_by_somebody(
    proxy: Proxy, server: RedisServer
) -> None:
    async with worker(proxy.url, lease=3.0) as log, worker(server.url) as other:
        proxy.lossy = 1_000_000
        with pytest.raises(LogUnavailableError):
            await log.create(KEY, b"record", Idempotency("name", "body"))
        proxy.lossy = 0
        assert await until(other.orphans) == [KEY]
        claimed = await other.claim(KEY)
        assert claimed is not None
        await claimed.append(1, frames(1, 1), end=True, release=True)
        assert await log.taken(1, "name") is None


async def test_scripts_that_redis_forgot_are_loaded_again(
    server: RedisServer, log: RedisEventLog
) -> None:
    writer = await created(log)
    await writer.append(1, frames(1, 1))
    server.ask("SCRIPT", "FLUSH")
    await writer.append(2, frames(2, 1), end=True)
    assert await everything(log) == frames(1, 2)


async def test_followers_whose_connection_is_cut_miss_nothing_and_repeat_nothing(
    server: RedisServer,
) -> None:
    async with worker(server.url) as one, worker(server.url) as other:
        writer = await created(one)
        readers = [asyncio.create_task(follow(await other.reader(KEY))) for _ in range(3)]
        for number in range(1, 300):
            await writer.append(number, frames(number, 1))
            if number % 50 == 0:
                server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await writer.append(300, frames(300, 1), end=True)
        for reader in readers:
            assert await reader == frames(1, 300)


# --- outages --------------------------------------------------------------------------------------


async def test_a_killed_redis_loses_nothing_that_was_acknowledged_and_streams_go_on(
    private: RedisServer,
) -> None:
    last, streams = 400, 8
    acknowledged = dict.fromkeys(range(streams), 0)
    at_the_kill: dict[int, int] = {}

    async def produce(writer: LogWriter, number: int) -> None:
        while writer.head < last:
            first = writer.head + 1
            await writer.append(first, frames(first, 1), end=first == last)
            acknowledged[number] = first
            await asyncio.sleep(0.002)

    async with worker(private.url) as one, worker(private.url) as other:
        keys = [StreamKey(1, f"s{number}") for number in range(streams)]
        writers = [await created(one, key) for key in keys]
        readers = [
            asyncio.create_task(follow(await log.reader(key)))
            for key in keys
            for log in (one, other)
        ]
        producers = [
            asyncio.create_task(produce(writer, number)) for number, writer in enumerate(writers)
        ]
        await until(lambda: asyncio.sleep(0, min(acknowledged.values()) > last // 4))
        private.kill()
        at_the_kill |= acknowledged
        await asyncio.to_thread(private.start)
        for number, key in enumerate(keys):
            entry = await other.find(key)
            assert entry is not None
            assert entry.head >= at_the_kill[number]
        await asyncio.gather(*producers)
        for reader in readers:
            assert await reader == frames(1, last)
        assert [await everything(other, key) for key in keys] == [frames(1, last)] * streams
    assert min(at_the_kill.values()) < last


@pytest.mark.parametrize("how", ["hangs", "is gone"])
async def test_an_append_in_a_long_outage_fails_and_may_be_made_again_with_more(
    private: RedisServer, how: str
) -> None:
    async with worker(private.url) as one, worker(private.url) as other:
        writer = await created(one)
        await writer.append(1, frames(1, 2))
        readers = [await log.reader(KEY) for log in (one, other)]
        following = [
            asyncio.create_task(follow(reader, before=await reader.read())) for reader in readers
        ]
        started = asyncio.get_running_loop().time()
        (private.pause if how == "hangs" else private.kill)()
        with pytest.raises(LogUnavailableError):
            await writer.append(3, frames(3, 1))
        took = asyncio.get_running_loop().time() - started
        assert OUTAGE_SECONDS <= took < 3 * OUTAGE_SECONDS
        assert writer.head == 2
        with pytest.raises(LogUnavailableError):
            await writer.append(3, frames(3, 2), record=b"more")
        calls: list[Any] = await asyncio.gather(
            one.find(KEY), other.claim(KEY, force=True), one.taken(1, "n"), other.ask_cancel(KEY),
            one.followed(KEY), other.create(StreamKey(1, "x"), b""), other.reader(KEY, 9),
            return_exceptions=True,
        )  # fmt: skip
        assert [type(result) for result in calls] == [LogUnavailableError] * 7
        await asyncio.to_thread(private.resume if how == "hangs" else private.start)
        await writer.append(3, frames(3, 3), record=b"most")
        await writer.append(6, frames(6, 1), end=True)
        assert await asyncio.gather(*following) == [frames(1, 6)] * 2
        assert await one.find(KEY) == LogEntry(b"most", 6, ended=True)


async def test_after_an_outage_nobody_takes_the_living_for_dead(private: RedisServer) -> None:
    async with worker(private.url) as one, worker(private.url) as other:
        dead = RedisEventLog(private.url, 100.0, LEASE)
        await dead.start(lambda key: None)
        lost = await created(dead, StreamKey(1, "lost"))
        writers = [await created(one, StreamKey(1, f"s{number}")) for number in range(10)]
        await until(lambda: asyncio.sleep(0, time.monotonic() > other._worker._trusted_from))
        private.pause()
        # One is slower than the other to come back.
        heartbeat = one._tasks.pop(0)
        heartbeat.cancel()
        await asyncio.wait([heartbeat])
        await die(dead)
        await asyncio.sleep(2 * LEASE)
        private.resume()
        await until(lambda: _answers(other))
        assert await other.orphans() == []
        await until(lambda: asyncio.sleep(0, time.monotonic() - other._worker._beat_at < LEASE / 4))
        assert await other.orphans() == []
        one._tasks.append(asyncio.create_task(one._worker.keep()))
        assert await until(other.orphans) == [lost.key]
        for writer in writers:
            await writer.append(1, frames(1, 1), end=True)


async def _answers(log: RedisEventLog) -> bool:
    try:
        await log.find(KEY)
    except LogUnavailableError:
        return False
    return True


async def test_a_redis_without_memory_refuses_appends_and_takes_them_later(
    private: RedisServer,
) -> None:
    async with worker(private.url) as log:
        writer = await created(log)
        await writer.append(1, frames(1, 1))
        private.ask("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(LogUnavailableError) as caught:
            await writer.append(2, frames(2, 1))
        assert "maxmemory" in str(caught.value.reason)
        assert await everything(log) == frames(1, 1)
        private.ask("CONFIG", "SET", "maxmemory", "0")
        await writer.append(2, frames(2, 2), end=True)
        assert await everything(log) == frames(1, 3)


async def test_a_log_can_be_closed_in_an_outage(private: RedisServer) -> None:
    async with worker(private.url) as log:
        writer = await created(log)
        private.kill()
        append = asyncio.create_task(writer.append(1, frames(1, 1)))
        await asyncio.sleep(0.05)
    with pytest.raises(LogUnavailableError):
        await append


# --- lost data ------------------------------------------------------------------------------------


async def test_a_writer_whose_last_frames_redis_lost_is_refused_and_the_stream_is_an_orphan(
    server: RedisServer,
) -> None:
    async with worker(server.url) as one, worker(server.url) as other:
        writer = await created(one)
        await writer.append(1, frames(1, 3))
        ahead = asyncio.create_task(follow(await other.reader(KEY, 3)))
        server.ask("XDEL", log_key(KEY), "3-0")
        with pytest.raises(FencedError):
            await writer.append(4, frames(4, 1))
        with pytest.raises(RequestError) as caught:
            await other.reader(StreamKey(1, "s"), 4)
        assert caught.value.code == "conflict"
        assert await until(other.orphans) == [KEY]
        assert await until(one.orphans) == [KEY]
        ahead.cancel()
        await asyncio.wait([ahead])


@pytest.mark.parametrize("name", ["log", "meta"])
async def test_a_writer_whose_stream_redis_forgot_is_refused(
    server: RedisServer, name: str
) -> None:
    async with worker(server.url) as log:
        writer = await created(log)
        await writer.append(1, frames(1, 3))
        server.ask("DEL", {"log": log_key, "meta": meta_key}[name](KEY))
        with pytest.raises(FencedError):
            await writer.append(4, frames(4, 1))


@pytest.mark.parametrize("what", ["everything", "frames between", "the end"])
async def test_followers_of_a_log_that_lost_frames_are_ended_not_left_waiting(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(redis_tailer, "FOLLOW_SECONDS", 0.2)
    async with worker(server.url) as one, worker(server.url) as other:
        writer = await created(one)
        await writer.append(1, frames(1, 3))
        reader = await other.reader(KEY)
        following = asyncio.create_task(follow(reader, before=await reader.read()))
        if what == "everything":
            server.ask("FLUSHALL")
        elif what == "frames between":
            server.ask("XADD", log_key(KEY), "5-0", "d", b"5")
        else:  # the log ended below what was seen
            server.ask("XDEL", log_key(KEY), "3-0")
            claimed = await one.claim(KEY, force=True)
            assert claimed is not None
            assert claimed.head == 2
            server.ask("HDEL", meta_key(KEY), "open")
            server.ask("HSET", meta_key(KEY), "seq", 2)
        assert await following == frames(1, 3)


async def test_a_reader_is_never_given_frames_from_behind_a_hole(server: RedisServer) -> None:
    async with worker(server.url) as log:
        writer = await created(log)
        await writer.append(1, frames(1, 9), end=True)
        server.ask("XDEL", log_key(KEY), "4-0")
        reader: LogReader = await log.reader(KEY)
        assert await reader.read() == frames(1, 3)
        with pytest.raises(LogUnavailableError):
            await reader.read()


async def test_one_damaged_log_harms_no_other_that_is_appended_to_with_it(
    server: RedisServer,
) -> None:
    async with worker(server.url) as log:
        bad, good = await created(log), await created(log, StreamKey(1, "good"))
        server.ask("XADD", log_key(KEY), "50-0", "d", b"x")
        server.ask("XDEL", log_key(KEY), "50-0")
        results = await asyncio.gather(
            bad.append(1, frames(1, 1)), good.append(1, frames(1, 1)), return_exceptions=True
        )
        assert isinstance(results[0], FencedError)
        assert results[1] is None
