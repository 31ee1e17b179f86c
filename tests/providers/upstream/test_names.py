"""Look-ups of names: one for all who ask together, remembered for a moment, failures never."""

import asyncio
import socket
from typing import Any

import pytest

from tellstream.providers import names
from tellstream.providers.names import Names

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]

# The standard loop's look-up can be replaced by one that is slow or fails when a test says so.
pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])


class Resolver:
    """Answers when ``answer`` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self.look_up)

    async def look_up(self, host: str, port: int, **_: object) -> list[Any]:
        self.asked.append(host)
        return await asyncio.shield(self.answer)


@pytest.fixture
async def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    return Resolver(monkeypatch)


async def test_who_ask_together_ask_once(resolver: Resolver) -> None:
    known = Names()
    asking = [asyncio.create_task(known.look_up("h", 80)) for _ in range(5)]
    other = asyncio.create_task(known.look_up("other", 80))
    await asyncio.sleep(0.01)
    asking[0].cancel()  # takes it from nobody
    resolver.answer.set_result(FOUND)
    assert await asyncio.gather(*asking[1:], other) == [FOUND] * 5
    assert await known.look_up("h", 80) == FOUND
    assert sorted(resolver.asked) == ["h", "other"]
    with pytest.raises(asyncio.CancelledError):
        await asking[0]
    await known.close()


async def test_addresses_are_forgotten_after_a_while(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "REMEMBER_SECONDS", 0.01)
    known = Names()
    resolver.answer.set_result(FOUND)
    for _ in range(2):
        assert await known.look_up("h", 80) == FOUND
        await asyncio.sleep(0.05)
    assert resolver.asked == ["h", "h"]
    await known.close()


async def test_a_failure_is_told_to_all_who_asked_and_not_remembered(resolver: Resolver) -> None:
    known = Names()
    asking = [asyncio.create_task(known.look_up("h", 80)) for _ in range(2)]
    await asyncio.sleep(0.01)
    resolver.answer.set_exception(socket.gaierror("no such name"))
    for task in asking:
        with pytest.raises(socket.gaierror):
            await task
    with pytest.raises(socket.gaierror):
        await known.look_up("h", 80)
    assert resolver.asked == ["h", "h"]
    await known.close()


async def test_closing_ends_a_look_up_that_nobody_answers(resolver: Resolver) -> None:
    known = Names()
    asking = asyncio.create_task(known.look_up("h", 80))
    await asyncio.sleep(0.01)
    await known.close()
    with pytest.raises(OSError, match="closed"):  # nobody has cancelled who asked
        await asking
    assert len(asyncio.all_tasks()) == 1
