import asyncio
import threading
from collections.abc import Iterator
from typing import Literal

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type

from tellstream.auth.passwords import AT_ONCE, MAX_WAITING, Passwords
from tellstream.core.errors import ServerError

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(CHEAP)
    yield made
    made.close()


async def test_a_password_is_known_again(passwords: Passwords) -> None:
    stored = await passwords.hash("correct horse")
    assert "correct" not in stored
    assert await passwords.verify(stored, "correct horse")
    for wrong in ("", "correct hors", "Correct horse", "x" * 10_000):
        assert not await passwords.verify(stored, wrong)
    assert not await passwords.verify("damaged", "correct horse")


async def test_letters_may_be_composed_differently(passwords: Passwords) -> None:
    assert await passwords.verify(await passwords.hash("caf\u00e9"), "cafe\u0301")


async def test_a14_the_default_is_argon2id_with_the_cost_of_rfc_9106() -> None:
    passwords = Passwords()
    try:
        cost = extract_parameters(await passwords.hash("x"))
    finally:
        passwords.close()
    assert (cost.type, cost.memory_cost, cost.time_cost) == (Type.ID, 65536, 3)


class Counting(PasswordHasher):
    """Counts what is really worked out, and what at once."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.lock = threading.Lock()
        self.gate = threading.Event()
        self.gate.set()
        self.running = self.most = 0
        self.costs: list[tuple[int, int, int]] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002
        cost = extract_parameters(str(hash))
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.costs.append((cost.memory_cost, cost.time_cost, cost.parallelism))
        self.gate.wait(10)
        try:
            return super().verify(hash, password)
        finally:
            with self.lock:
                self.running -= 1


async def test_a14_an_unknown_user_costs_as_much_as_a_known_one() -> None:
    hasher = Counting()
    passwords = Passwords(hasher)
    stored = await passwords.hash("right")
    assert not await passwords.verify(None, "right")
    assert not await passwords.verify(stored, "wrong")
    passwords.close()
    assert len(hasher.costs) == 2
    assert len(set(hasher.costs)) == 1


async def test_few_are_worked_out_at_once_and_a_bounded_number_waits() -> None:
    hasher = Counting()
    passwords = Passwords(hasher)
    hasher.gate.clear()
    tasks = [asyncio.create_task(passwords.verify(None, "x")) for _ in range(MAX_WAITING)]
    await asyncio.sleep(0)
    with pytest.raises(ServerError) as caught:
        await passwords.verify(None, "x")
    assert caught.value.code == "service_unavailable"
    tasks.pop().cancel()  # the thread goes on; nobody's error is lost
    hasher.gate.set()
    await asyncio.gather(*tasks)
    passwords.close()
    assert hasher.most <= AT_ONCE
