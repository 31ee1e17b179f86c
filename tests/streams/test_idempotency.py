"""Names of requests, and one task at a time per name."""

import asyncio

import pytest

from tellstream.core.principals import Ctx
from tellstream.streams.idempotency import Turnstile, idempotency

CTX = Ctx(1, "alice", "client", frozenset())


def test_the_same_request_has_the_same_name_however_its_json_is_written() -> None:
    one = idempotency(CTX, "/v1/chat/stream", "k", b'{"prompt":"x","metadata":{"a":"1","b":"2"}}')
    other = idempotency(
        CTX, "/v1/chat/stream", "k", b' {"metadata": {"b": "2", "a": "1"}, "prompt": "x"}'
    )
    assert one == other


def test_another_body_is_told_apart() -> None:
    one = idempotency(CTX, "/v1/chat/stream", "k", b'{"prompt":"x"}')
    other = idempotency(CTX, "/v1/chat/stream", "k", b'{"prompt":"y"}')
    assert one.name == other.name
    assert one.body != other.body


@pytest.mark.parametrize(
    ("subject", "route", "key"),
    [("bob", "/r", "k"), ("alice", "/s", "k"), ("alice", "/r", "l"), ("alice/r", "", "k")],
)
def test_names_are_scoped_to_subject_and_route(subject: str, route: str, key: str) -> None:
    other = Ctx(1, subject, "client", frozenset())
    assert idempotency(CTX, "/r", "k", b"{}").name != idempotency(other, route, key, b"{}").name


async def test_one_task_at_a_time_passes_per_name_and_nothing_is_left() -> None:
    turnstile = Turnstile()
    inside: list[str] = []
    most = 0

    async def work(name: str) -> None:
        nonlocal most
        async with turnstile.one_at_a_time(1, name):
            inside.append(name)
            most = max(most, inside.count(name))
            await asyncio.sleep(0)
            inside.remove(name)

    await asyncio.gather(*(work(f"n{number % 3}") for number in range(30)))
    assert most == 1
    assert turnstile._locks == {}


async def test_a_cancelled_task_gives_its_turn_away() -> None:
    turnstile = Turnstile()

    async def hold() -> None:
        async with turnstile.one_at_a_time(1, "n"):
            await asyncio.sleep(60)

    holder, waiter = asyncio.create_task(hold()), asyncio.create_task(hold())
    await asyncio.sleep(0)
    for task in (waiter, holder):
        task.cancel()
    await asyncio.gather(holder, waiter, return_exceptions=True)
    async with asyncio.timeout(1), turnstile.one_at_a_time(1, "n"):
        assert len(turnstile._locks) == 1
    assert turnstile._locks == {}
