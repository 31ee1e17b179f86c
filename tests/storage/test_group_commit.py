"""Entries that come while a group is written are the next group."""

import asyncio
import threading

import pytest

from tellstream.core.errors import ServerError
from tellstream.storage.base import LedgerUnavailableError
from tellstream.storage.group_commit import GroupCommit


class Writer:
    """Doubles numbers; holds the thread until it is let go; refuses 13; 0 breaks everything."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.free = threading.Event()
        self.free.set()
        self.busy = threading.Event()
        self.stopped = 0

    def write(self, entries: list[int]) -> list[int | ServerError]:
        self.busy.set()
        assert self.free.wait(10)
        self.groups.append(entries)
        if 0 in entries:
            raise OSError("broken")
        if 13 in entries:
            raise ValueError("13")
        return [2 * entry for entry in entries]

    def translate(self, error: Exception) -> ServerError:
        if isinstance(error, OSError):
            return LedgerUnavailableError("broken")
        return ServerError("server_error", reason=str(error))

    def stop(self) -> None:
        self.stopped += 1

    def group(self) -> GroupCommit[int, int]:
        group = GroupCommit(self.write, self.translate, self.stop)
        group.start()
        return group


async def awaited(group: GroupCommit[int, int], entry: int) -> int:
    return int(await group.submit(entry))


async def submitted(
    writer: Writer, group: GroupCommit[int, int], *entries: int
) -> list[int | BaseException]:
    """Submit 1, and while it is being written the ``entries``."""
    writer.free.clear()
    writer.busy.clear()
    first = asyncio.ensure_future(awaited(group, 1))
    await asyncio.to_thread(writer.busy.wait, 10)
    tasks = [asyncio.ensure_future(awaited(group, entry)) for entry in entries]
    await asyncio.sleep(0)
    writer.free.set()
    assert await first == 2
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_came_meanwhile_is_written_together() -> None:
    writer = Writer()
    group = writer.group()
    assert await submitted(writer, group, *range(20, 120)) == [2 * n for n in range(20, 120)]
    assert writer.groups == [[1], list(range(20, 120))]
    await group.close()
    assert writer.stopped == 1


async def test_one_refused_entry_is_found_by_writing_one_by_one() -> None:
    writer = Writer()
    group = writer.group()
    results = await submitted(writer, group, 12, 13, 14)
    assert results[::2] == [24, 28]
    assert isinstance(results[1], ServerError)
    assert writer.groups == [[1], [12, 13, 14], [12], [13], [14]]
    await group.close()


async def test_a_broken_store_is_not_asked_again_for_each_entry() -> None:
    writer = Writer()
    group = writer.group()
    results = await submitted(writer, group, 5, 0, 6)
    assert [type(result) for result in results] == [LedgerUnavailableError] * 3
    assert writer.groups == [[1], [5, 0, 6]]
    assert await group.submit(3) == 6
    await group.close()


async def test_a_cancelled_caller_gets_its_cancellation_after_the_write() -> None:
    writer = Writer()
    group = writer.group()
    writer.free.clear()
    task = asyncio.ensure_future(awaited(group, 4))
    await asyncio.to_thread(writer.busy.wait, 10)
    task.cancel()
    await asyncio.sleep(0.01)
    assert not task.done()
    writer.free.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert writer.groups == [[4]]
    await group.close()


async def test_a_cancelled_caller_does_not_leave_an_error_behind() -> None:
    """It would be reported as never retrieved, which fails this test."""
    writer = Writer()
    group = writer.group()
    task = asyncio.ensure_future(awaited(group, 0))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await group.close()


async def test_close_writes_what_waits_and_refuses_what_comes_later() -> None:
    writer = Writer()
    group = writer.group()
    tasks = [asyncio.ensure_future(awaited(group, n)) for n in range(1, 5)]
    await asyncio.sleep(0)
    await asyncio.gather(group.close(), group.close())
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8]
    with pytest.raises(LedgerUnavailableError):
        await group.submit(5)
    assert writer.stopped == 1
