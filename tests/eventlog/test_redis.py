"""The event log in Redis, with several workers: fencing, following, leases, idempotency."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from support.event_logs import KEY, created, everything, frames
from support.redis import RedisServer
from support.redis_logs import LEASE, die, follow, until, worker
from tellstream.eventlog import redis_tailer
from tellstream.eventlog.base import (
    READ_BYTES,
    FencedError,
    Idempotency,
    LogWriter,
    StreamKey,
    Taken,
)
from tellstream.eventlog.redis import RedisEventLog
from tellstream.eventlog.tail import WINDOW_BYTES


@pytest.fixture
def server(shared_redis: RedisServer) -> RedisServer:
    """A server with an empty database."""
    shared_redis.ask("FLUSHALL")
    return shared_redis


@pytest.fixture
async def pair(server: RedisServer) -> AsyncIterator[tuple[RedisEventLog, RedisEventLog]]:
    """Two workers."""
    async with worker(server.url) as one, worker(server.url) as other:
        yield one, other


# --- fencing --------------------------------------------------------------------------------------


async def test_a_claim_fences_the_append_under_way_and_all_later_ones(
    pair: tuple[RedisEventLog, RedisEventLog],
) -> None:
    one, other = pair
    writer = await created(one)
    await writer.append(1, frames(1, 3))
    under_way = asyncio.create_task(writer.append(4, frames(4, 1)))
    claimed = await other.claim(KEY, force=True)
    assert claimed is not None
    await asyncio.wait([under_way])
    if under_way.exception() is None:
        assert claimed.head == 4
    else:
        assert isinstance(under_way.exception(), FencedError)
        assert claimed.head == 3
    for _ in range(2):
        with pytest.raises(FencedError):
            await writer.append(writer.head + 1, frames(9, 1))
    await claimed.append(claimed.head + 1, frames(claimed.head + 1, 2), end=True)
    assert await everything(one) == frames(1, claimed.head)
    with pytest.raises(FencedError):
        await claimed.append(claimed.head + 1, frames(9, 1))


@pytest.mark.parametrize("seed", range(20))
async def test_two_producers_with_pauses_and_cancellations_make_one_log(
    pair: tuple[RedisEventLog, RedisEventLog], seed: int
) -> None:
    chance = random.Random(seed)
    last = 120
    fenced: list[int] = []

    async def produce(writer: LogWriter, pause_at: int) -> None:
        try:
            while writer.head < last:
                if writer.head >= pause_at:
                    await asyncio.sleep(chance.uniform(0, 0.02))
                count = chance.randint(1, 3)
                append = asyncio.create_task(
                    writer.append(writer.head + 1, frames(writer.head + 1, count))
                )
                if chance.random() < 0.3:
                    await asyncio.sleep(chance.choice((0, 0, 0.0005)))
                    append.cancel()
                await asyncio.wait([append])
                if not append.cancelled():
                    append.result()
            await writer.append(writer.head + 1, frames(writer.head + 1, 1), end=True)
        except FencedError:
            fenced.append(1)

    one, other = pair
    first = asyncio.create_task(produce(await created(one), chance.randint(0, 60)))
    readers = [asyncio.create_task(follow(await log.reader(KEY))) for log in (one, other, other)]
    await asyncio.sleep(chance.uniform(0, 0.05))
    claimed = await other.claim(KEY, force=True)
    if claimed is not None:
        await produce(claimed, last)
    await first
    assert len(fenced) == (1 if claimed is not None else 0)
    entry = await one.find(KEY)
    assert entry is not None
    assert entry.ended
    assert entry.head > last
    assert await follow(await other.reader(KEY)) == frames(1, entry.head)  # its news may be late
    for reader in readers:
        assert await reader == frames(1, entry.head)


async def test_readers_beside_a_fenced_producer_go_on_with_what_its_successor_appends(
    pair: tuple[RedisEventLog, RedisEventLog],
) -> None:
    one, other = pair
    writer = await created(one)
    await writer.append(1, frames(1, 3))
    following = asyncio.create_task(follow(await one.reader(KEY, 2)))
    await asyncio.sleep(0)
    claimed = await other.claim(KEY, force=True)
    assert claimed is not None
    await claimed.append(4, frames(4, 2), end=True)
    assert await following == frames(3, 3)


async def test_a_worker_that_claims_its_own_stream_goes_on_with_its_readers(
    pair: tuple[RedisEventLog, RedisEventLog],
) -> None:
    one, _ = pair
    writer = await created(one)
    await writer.append(1, frames(1, 3))
    following = asyncio.create_task(follow(await one.reader(KEY)))
    claimed = await one.claim(KEY, force=True)
    assert claimed is not None
    with pytest.raises(FencedError):
        await writer.append(4, frames(4, 1))
    await claimed.append(4, frames(4, 1), end=True)
    assert await following == frames(1, 4)


# --- following ------------------------------------------------------------------------------------


async def test_readers_in_another_process_get_every_frame_once_from_any_position(
    pair: tuple[RedisEventLog, RedisEventLog],
) -> None:
    one, other = pair
    writer = await created(one)
    await writer.append(1, frames(1, 50))
    readers: list[tuple[int, asyncio.Task[list[bytes]]]] = []
    for number in range(51, 400):
        await writer.append(number, frames(number, 1))
        if number % 20 == 0:
            after = random.Random(number).randint(0, number)
            log = other if number % 3 else one
            pause = 0.02 if number % 100 == 0 else 0.0
            reader = await log.reader(KEY, after)
            readers.append((after, asyncio.create_task(follow(reader, pause))))
    await writer.append(400, frames(400, 1), end=True)
    for after, reader_task in readers:
        assert await reader_task == frames(after + 1, 400 - after)
    assert not list(other._tails.foreign())


async def test_a_reader_that_falls_behind_the_window_fetches_what_left_it(
    pair: tuple[RedisEventLog, RedisEventLog],
) -> None:
    one, other = pair
    size = READ_BYTES // 4
    count = 4 * WINDOW_BYTES // size
    writer = await created(one)
    near, far = await one.reader(KEY), await other.reader(KEY)
    quick = asyncio.create_task(follow(await other.reader(KEY)))
    for number in range(1, count + 1):
        await writer.append(number, frames(number, 1, size), end=number == count)
    assert await quick == frames(1, count, size)
    assert near._tail.since(0) is None  # type: ignore[attr-defined]
    assert far._tail.since(0) is None  # type: ignore[attr-defined]
    assert await follow(near) == frames(1, count, size)
    assert await follow(far) == frames(1, count, size)


async def test_many_streams_are_followed_on_one_connection(
    server: RedisServer, pair: tuple[RedisEventLog, RedisEventLog]
) -> None:
    one, other = pair
    keys = [StreamKey(tenant, f"s{number}") for tenant in (1, 2) for number in range(60)]

    async def produce(key: StreamKey) -> None:
        writer = await created(one, key)
        for number in range(1, 31):
            await writer.append(
                number, [b"%d %s %d\n\n" % (*_bytes(key), number)], end=number == 30
            )

    def _bytes(key: StreamKey) -> tuple[int, bytes]:
        return key.tenant, key.stream_id.encode()

    async def consume(key: StreamKey) -> None:
        await until(lambda: other.find(key))
        found = await follow(await other.reader(key))
        assert found == [b"%d %s %d\n\n" % (*_bytes(key), number) for number in range(1, 31)]

    await asyncio.gather(*map(produce, keys), *map(consume, keys))
    # four of each worker, and the one that asks
    assert len(server.ask("CLIENT", "LIST").splitlines()) <= 9


async def test_a_stream_is_followed_at_once_though_redis_waits_for_news_of_others(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_tailer, "BLOCK_SECONDS", 600.0)
    async with worker(server.url) as one, worker(server.url) as other:
        for number in range(5):
            key = StreamKey(1, f"s{number}")
            writer = await created(one, key)
            await until(lambda: asyncio.sleep(0, other._tailer._waiting))
            following = asyncio.create_task(follow(await other.reader(key)))
            await writer.append(1, frames(1, 1))
            await writer.append(2, frames(2, 1), end=True)
            assert await following == frames(1, 2)


async def test_a_stream_is_followed_no_more_when_its_last_reader_leaves(
    pair: tuple[RedisEventLog, RedisEventLog],
) -> None:
    one, other = pair
    await created(one)
    readers = [await other.reader(KEY) for _ in range(2)]
    readers[0].close()
    assert [key for key, _ in other._tails.foreign()] == [KEY]
    readers[1].close()
    assert not list(other._tails.foreign())
    assert not list(one._tails.foreign())


async def test_the_producer_can_tell_when_it_was_last_followed_elsewhere(
    pair: tuple[RedisEventLog, RedisEventLog],
) -> None:
    one, other = pair
    await created(one)
    assert await one.followed(KEY) is None
    (await one.reader(KEY)).close()
    assert await one.followed(KEY) is None  # by its own process
    reader = await other.reader(KEY)
    assert (await one.followed(KEY) or 0.0) < 1.0

    async def long_ago() -> bool:
        return (await one.followed(KEY) or 0.0) > 0.3

    await until(long_ago)
    reader.close()

    async def just_now() -> bool:
        return not await long_ago()

    await until(just_now)
    assert await one.followed(StreamKey(1, "unknown")) is None


async def test_a_cancel_reaches_the_producer_and_nobody_else(server: RedisServer) -> None:
    asked: list[list[StreamKey]] = [[], [], []]
    async with (
        worker(server.url, cancels=asked[0]) as one,
        worker(server.url, cancels=asked[1]) as other,
        worker(server.url, cancels=asked[2]),
    ):
        writer = await created(one)
        await one.ask_cancel(KEY)  # from itself: nothing is said
        await other.ask_cancel(StreamKey(1, "unknown"))
        await other.ask_cancel(KEY)
        await until(lambda: asyncio.sleep(0, asked[0]))
        await writer.append(1, frames(1, 1), end=True)
        await other.ask_cancel(KEY)
        await asyncio.sleep(0.05)
    assert asked == [[KEY], [], []]


# --- leases ---------------------------------------------------------------------------------------


async def test_the_streams_of_a_dead_worker_become_orphans_and_each_is_claimed_once(
    server: RedisServer, pair: tuple[RedisEventLog, RedisEventLog]
) -> None:
    one, other = pair
    dead = RedisEventLog(server.url, 100.0, LEASE)
    await dead.start(lambda key: None)
    keys = [StreamKey(1, f"s{number}") for number in range(5)]
    for key in keys:
        await (await created(dead, key)).append(1, frames(1, 2))
    assert [await one.orphans(), await other.orphans()] == [[], []]
    assert await one.claim(keys[0]) is None
    await die(dead)
    assert sorted(await until(one.orphans)) == keys
    for key in keys:
        claims = await asyncio.gather(*(log.claim(key) for log in (one, other, one, other)))
        winners = [writer for writer in claims if writer is not None]
        assert len(winners) == 1
        assert winners[0].head == 2
        await winners[0].append(3, frames(3, 1), end=True)
        assert await everything(one, key) == frames(1, 3)
    assert await one.orphans() == []
    assert len(server.ask("ZRANGE", "tellstream:workers", 0, -1)) == 2


async def test_a_closed_worker_leaves_nothing_behind(server: RedisServer) -> None:
    async with worker(server.url) as log:
        await (await created(log)).append(1, frames(1, 1), end=True)
        await log.reader(KEY)
        await (await created(log, StreamKey(1, "other"))).append(1, frames(1, 1), end=True)
    kept = {name for name in server.ask("KEYS", "*") if not name.startswith(b"tellstream:{t:1:")}
    assert kept == set()


async def test_what_a_closed_worker_did_not_end_is_an_orphan_at_once(
    pair: tuple[RedisEventLog, RedisEventLog], server: RedisServer
) -> None:
    one, _ = pair
    async with worker(server.url, lease=100.0) as log:
        writer = await created(log)
        assert writer.head == 0
    assert await until(one.orphans) == [KEY]


async def test_a_stream_whose_writer_nobody_holds_is_given_up(
    pair: tuple[RedisEventLog, RedisEventLog],
) -> None:
    one, other = pair
    kept = await created(one, StreamKey(1, "kept"))
    await (await created(one)).append(1, frames(1, 1))
    assert await until(other.orphans) == [KEY]
    claimed = await until(lambda: one.claim(KEY))
    await claimed.append(2, frames(2, 1), end=True)
    await kept.append(1, frames(1, 1), end=True)
    assert await other.orphans() == []


# --- idempotency --------------------------------------------------------------------------


async def test_of_many_creates_in_two_processes_with_one_name_one_opens_a_log(
    pair: tuple[RedisEventLog, RedisEventLog],
) -> None:
    keys = [StreamKey(1, f"s{number}") for number in range(20)]
    found = await asyncio.gather(
        *(
            pair[number % 2].create(key, b"", Idempotency("name", f"body {key.stream_id}"))
            for number, key in enumerate(keys)
        )
    )
    writers = [writer for writer in found if not isinstance(writer, Taken)]
    assert len(writers) == 1
    winner = writers[0].key.stream_id
    taken = Taken(winner, f"body {winner}")
    assert [other for other in found if isinstance(other, Taken)] == [taken] * 19
    assert [await log.taken(1, "name") for log in pair] == [taken, taken]
    assert sum([await pair[0].find(key) is not None for key in keys]) == 1
