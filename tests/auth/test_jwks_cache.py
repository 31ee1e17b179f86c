"""When the keys of an issuer are fetched, and how long they serve: told with a scripted network."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from support.issuers import OTHER_RSA, RSA, Clock, key_set
from tellstream.auth.fetching import FetchError
from tellstream.auth.issuers import NoKeysError, RefreshableKeySource
from tellstream.auth.jwks_cache import JwksCache
from tellstream.auth.keys import SigningKeys

ISSUER = "https://login.example"
ONE, TWO, BOTH = ({"one": RSA}, {"two": OTHER_RSA}, {"one": RSA, "two": OTHER_RSA})


class Network:
    """Answers with ``body``, or fails without one; ``gate`` holds answers back."""

    def __init__(self) -> None:
        self.body: bytes | None = key_set(ONE)
        self.fetched = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self) -> bytes:
        self.fetched += 1
        await self.gate.wait()
        if self.body is None:
            raise FetchError("status 500")
        return self.body


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def cache(network: Network, clock: Clock) -> AsyncIterator[JwksCache]:
    cache = JwksCache(ISSUER, network.load, clock)
    yield cache
    await cache.close()


def test_only_fetched_sets_can_be_refreshed(cache: JwksCache) -> None:
    assert isinstance(cache, RefreshableKeySource)
    assert not isinstance(SigningKeys, RefreshableKeySource)


async def test_keys_are_given_from_memory(cache: JwksCache, network: Network) -> None:
    await cache.refresh_if_due()
    for _ in range(100):
        assert len(cache.keys("one")) == 1
        assert len(cache.keys(None)) == 1
        assert not cache.keys("two")
    assert network.fetched == 1


async def test_the_background_fetches_at_once_and_again_after_ten_minutes(
    cache: JwksCache, network: Network, clock: Clock
) -> None:
    for later, fetched in ((0, 1), (1, 1), (599, 1), (600, 2), (601, 2), (1199, 2), (1200, 3)):
        clock.now = 1000.0 + later
        await cache.refresh_if_due()
        assert network.fetched == fetched, later


async def test_the_background_runs_by_itself(cache: JwksCache, network: Network) -> None:
    running = asyncio.create_task(cache.run())
    async with asyncio.timeout(5):
        while cache.seconds_until_due() < 500:  # noqa: ASYNC110 - not the test's to signal
            await asyncio.sleep(0.001)
    assert cache.keys("one")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_successful_fetch_drops_removed_keys(
    cache: JwksCache, network: Network, clock: Clock
) -> None:
    network.body = key_set(BOTH)
    await cache.refresh_if_due()
    assert cache.keys("one")
    network.body = key_set(TWO)
    clock.now += 600
    await cache.refresh_if_due()
    assert not cache.keys("one")
    assert cache.keys("two")


@pytest.mark.parametrize(
    "broken",
    [None, b"", b"<html>", b"{}", b'{"keys": [{"kty": "RSA"}]}', b" " * 300_000],
    ids=["down", "empty", "html", "no keys", "malformed", "huge"],
)
async def test_a_failed_fetch_keeps_the_old_keys_for_a_day(
    broken: bytes | None, cache: JwksCache, network: Network, clock: Clock
) -> None:
    await cache.refresh_if_due()
    network.body = broken
    for hour in range(24):
        clock.now = 1000.0 + hour * 3600 + 1800
        await cache.refresh_if_due()
        assert cache.keys("one"), hour
    clock.now = 1000.0 + 24 * 3600 - 0.1
    assert cache.keys("one")
    clock.now += 0.2
    with pytest.raises(NoKeysError):
        cache.keys("one")


async def test_a_failed_fetch_is_tried_again_every_30_seconds(
    cache: JwksCache, network: Network, clock: Clock
) -> None:
    network.body = None
    for second in range(121):
        clock.now = 1000.0 + second
        await cache.refresh_if_due()
    assert network.fetched == 5
    network.body = key_set(ONE)
    clock.now = 1000.0 + 150
    await cache.refresh_if_due()
    assert cache.keys("one")


@pytest.mark.parametrize("body", [None, b'{"keys": []}'])
async def test_no_keys_at_all_is_503_with_a_time_to_come_back(
    body: bytes | None, cache: JwksCache, network: Network
) -> None:
    network.body = body
    for _ in range(2):
        with pytest.raises(NoKeysError) as caught:
            cache.keys("one")
        assert (caught.value.code, caught.value.status) == ("service_unavailable", 503)
        assert caught.value.retry_after == 30
        assert caught.value.source is cache
        await cache.refresh_if_due()


@pytest.mark.parametrize("works", [True, False])
async def test_unknown_keys_bring_one_fetch_in_30_seconds(
    works: bool, cache: JwksCache, network: Network, clock: Clock
) -> None:
    await cache.refresh_if_due()
    network.body = key_set(BOTH) if works else None
    told = [await cache.refresh() for _ in range(500)]
    assert network.fetched == 2
    assert told == [True] + [False] * 499
    clock.now += 29.9
    assert not await cache.refresh()
    clock.now += 0.2
    assert await cache.refresh()
    assert network.fetched == 3
    assert bool(cache.keys("two")) == works
    assert cache.keys("one")


async def test_all_who_wait_share_one_fetch(cache: JwksCache, network: Network) -> None:
    network.gate.clear()
    waiting = [asyncio.create_task(cache.refresh()) for _ in range(500)]
    await asyncio.sleep(0)
    network.gate.set()
    assert await asyncio.gather(*waiting) == [True] * 500
    assert network.fetched == 1


async def test_a_caller_who_leaves_does_not_end_the_fetch_for_the_others(
    cache: JwksCache, network: Network
) -> None:
    network.gate.clear()
    first, second = (asyncio.create_task(cache.refresh()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    network.gate.set()
    assert await second
    assert cache.keys("one")


async def test_a_caller_does_not_wait_for_ever(
    cache: JwksCache, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellstream.auth.jwks_cache.WAIT_SECONDS", 0.01)
    network.gate.clear()
    assert not await cache.refresh()


async def test_a_fetch_does_not_last_for_ever(
    cache: JwksCache, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellstream.auth.jwks_cache.LOAD_SECONDS", 0.01)
    network.gate.clear()
    assert await cache.refresh()
    with pytest.raises(NoKeysError):
        cache.keys("one")


async def test_closing_ends_a_fetch_and_those_who_wait_go_on(
    cache: JwksCache, network: Network
) -> None:
    network.gate.clear()
    waiting = asyncio.create_task(cache.refresh())
    await asyncio.sleep(0)
    await cache.close()
    assert await waiting  # not cancelled itself
    await cache.close()


async def test_an_issuer_that_may_have_no_keys_is_asked_when_a_signed_token_comes(
    network: Network, clock: Clock
) -> None:
    cache = JwksCache(ISSUER, network.load, clock, eager=False)
    network.body = None
    for _ in range(3):
        clock.now += 600
        await cache.refresh_if_due()
    assert network.fetched == 0
    assert await cache.refresh()
    clock.now += 600
    await cache.refresh_if_due()
    assert network.fetched == 1  # it failed: still nobody needs it
    network.body = key_set(ONE)
    assert await cache.refresh()
    clock.now += 600
    await cache.refresh_if_due()
    assert network.fetched == 3
    await cache.close()


async def test_the_log_says_why_in_our_words(cache: JwksCache, network: Network) -> None:
    network.body = b'{"keys": [{"kty": "planted"}, {"kty": "RSA", "n": "planted!"}]}'
    with capture_logs() as logged:
        await cache.refresh_if_due()
        network.body = key_set(ONE).replace(b"[", b'[{"kty": "planted"}, ')
        await cache.refresh()
    assert [(line["event"], line["issuer"]) for line in logged] == [
        ("issuer.keys_failed", ISSUER),
        ("issuer.keys_skipped", ISSUER),
    ]
    assert "planted" not in repr(logged)
