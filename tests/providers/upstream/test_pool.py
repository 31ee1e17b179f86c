"""Connections to providers: opened, kept, given up, and never leaked."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.certificates import make_certificate, serving
from support.open_sockets import only, open_sockets, until
from support.raw_provider import GREETING, RawProvider, Visit, greet
from tellstream.providers import pool as pools
from tellstream.providers.exchange import Connection
from tellstream.providers.pool import Origin, Pool

SECONDS = 10


def origin(provider: RawProvider, *, tls: bool = False) -> Origin:
    return Origin("127.0.0.1", provider.port, tls)


@asynccontextmanager
async def pooling() -> AsyncIterator[Pool]:
    pool = Pool()
    try:
        async with asyncio.timeout(SECONDS):
            yield pool
    finally:
        await pool.close()


async def use(connection: Connection) -> None:
    """Make an exchange and read it to its end."""
    connection.send(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    await connection.head()
    while await connection.read():
        pass


def free_slots(pool: Pool) -> int:
    return pool._room._value


@pytest.fixture
def one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "MAX_CONNECTIONS", 1)


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """What a provider serves with whose certificate this process trusts."""
    certificate = make_certificate(tmp_path, "localhost", "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return serving(certificate)


# --- reuse ---------------------------------------------------------------------------------------


async def test_the_connection_used_last_is_used_again() -> None:
    async with RawProvider(greet) as provider, pooling() as pool:
        there = origin(provider)
        first, second = await pool.acquire(there), await pool.acquire(there)
        for connection in (first, second):
            await use(connection)
            pool.release(there, connection)
        assert await pool.acquire(there) is second
        assert await pool.acquire(there) is first
        assert len(provider.visits) == 2
        assert await pool.acquire(there, fresh=True) not in {first, second}


async def test_connections_lead_to_where_they_were_opened() -> None:
    async with RawProvider(greet) as one, RawProvider(greet) as other, pooling() as pool:
        connection = await pool.acquire(origin(one))
        await use(connection)
        pool.release(origin(one), connection)
        assert await pool.acquire(origin(other)) is not connection
        assert await pool.acquire(Origin("localhost", one.port, tls=False)) is not connection


async def test_a_connection_that_the_provider_closed_while_it_was_idle_is_not_given_out() -> None:
    async def once(visit: Visit) -> None:
        await visit.request()
        await visit.send(GREETING)

    async with RawProvider(once) as provider, pooling() as pool:
        connection = await pool.acquire(origin(provider))
        await use(connection)
        pool.release(origin(provider), connection)
        await until(lambda: connection.closed)
        assert await pool.acquire(origin(provider)) is not connection
        assert free_slots(pool) == pools.MAX_CONNECTIONS - 1


async def test_idle_connections_are_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "IDLE_SECONDS", 0.02)
    async with RawProvider(greet) as provider, pooling() as pool:
        there = origin(provider)
        held = [await pool.acquire(there) for _ in range(3)]
        for connection in held:
            await use(connection)
            pool.release(there, connection)
        await until(lambda: not provider.open)
        assert all(connection.closed for connection in held)
        assert free_slots(pool) == pools.MAX_CONNECTIONS
        assert pool._idle == {}


async def test_a_connection_in_use_does_not_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "IDLE_SECONDS", 0.03)
    async with RawProvider(greet) as provider, pooling() as pool:
        for _ in range(10):  # the timer is always about to expire
            connection = await pool.acquire(origin(provider))
            await use(connection)
            pool.release(origin(provider), connection)
            await asyncio.sleep(0.01)
            connection = await pool.acquire(origin(provider))
            await asyncio.sleep(0.02)
            await use(connection)
            pool.release(origin(provider), connection)


async def test_few_are_kept_per_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "MAX_IDLE", 2)
    async with RawProvider(greet) as provider, pooling() as pool:
        there = origin(provider)
        held = [await pool.acquire(there) for _ in range(4)]
        for connection in held:
            await use(connection)
            pool.release(there, connection)
        assert [connection.closed for connection in held] == [False, False, True, True]


# --- the cap -------------------------------------------------------------------------------------


async def test_beyond_the_cap_calls_wait_until_one_ends(one_connection: None) -> None:
    async with RawProvider(greet) as provider, pooling() as pool:
        there = origin(provider)
        first = await pool.acquire(there)
        await use(first)
        waiting = asyncio.create_task(pool.acquire(there))
        await asyncio.sleep(0)
        assert not waiting.done()
        pool.release(there, first)
        second = await waiting
        assert second is not first  # who waits is not left waiting for an idle one
        assert first.closed
        pool.release(there, second)
        assert free_slots(pool) == 1


async def test_an_idle_connection_makes_room_for_another_origin(one_connection: None) -> None:
    async with RawProvider(greet) as one, RawProvider(greet) as other, pooling() as pool:
        # Two slots: one is idle when the other one is taken, and then a third is asked for.
        pool._room.release()
        first = await pool.acquire(origin(one))
        await use(first)
        pool.release(origin(one), first)
        second = await pool.acquire(origin(other))
        third = await pool.acquire(origin(other))
        assert first.closed
        for connection in (second, third):
            pool.release(origin(other), connection)
        assert free_slots(pool) == 2


async def test_who_gives_up_waiting_leaves_the_room_to_others(one_connection: None) -> None:
    async with RawProvider(greet) as provider, pooling() as pool:
        there = origin(provider)
        first = await pool.acquire(there)
        impatient, patient = (asyncio.create_task(pool.acquire(there)) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        pool.release(there, first)
        pool.release(there, await patient)
        with pytest.raises(asyncio.CancelledError):
            await impatient
        assert free_slots(pool) == 1


# --- TLS -----------------------------------------------------------------------------------------


async def test_tls_with_an_authority_of_ssl_cert_file(trusted: ssl.SSLContext) -> None:
    async with RawProvider(greet, tls=trusted) as provider, pooling() as pool:
        for host in ("127.0.0.1", "localhost"):
            connection = await pool.acquire(Origin(host, provider.port, tls=True))
            await use(connection)
            assert connection._transport is not None
            chosen = connection._transport.get_extra_info("ssl_object")
            assert chosen.selected_alpn_protocol() == "http/1.1"  # the provider would like h2
            pool.release(Origin(host, provider.port, tls=True), connection)


@pytest.mark.asyncio(loop_factories=["asyncio"])  # the other's look-up cannot be replaced
async def test_the_dot_of_the_root_is_no_part_of_the_name_in_a_certificate(
    trusted: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RawProvider(greet, tls=trusted) as provider, pooling() as pool:
        found = await asyncio.get_running_loop().getaddrinfo(
            "127.0.0.1", provider.port, type=socket.SOCK_STREAM
        )

        async def look_up(*_: object, **__: object) -> object:
            return found

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
        await use(await pool.acquire(Origin("localhost.", provider.port, tls=True)))


async def test_the_certificate_must_be_that_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path, "another.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    before = open_sockets()
    async with RawProvider(greet, tls=serving(certificate)) as provider, pooling() as pool:
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(ssl.SSLCertVerificationError):
                await pool.acquire(Origin(host, provider.port, tls=True))
        assert free_slots(pool) == pools.MAX_CONNECTIONS
    await only(before)


async def test_somebody_must_vouch_for_the_certificate(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "localhost")
    async with RawProvider(greet, tls=serving(certificate)) as provider, pooling() as pool:
        with pytest.raises(ssl.SSLCertVerificationError):
            await pool.acquire(Origin("localhost", provider.port, tls=True))
        assert free_slots(pool) == pools.MAX_CONNECTIONS


async def test_tls_where_nobody_speaks_it() -> None:
    async def plain(visit: Visit) -> None:
        await visit.send(b"HTTP/1.1 400 This is plain\r\nContent-Length: 0\r\n\r\n")

    async with RawProvider(plain) as provider, pooling() as pool:
        with pytest.raises(OSError):  # noqa: PT011 - of TLS or of the socket, whoever is first
            await pool.acquire(origin(provider, tls=True))
        assert free_slots(pool) == pools.MAX_CONNECTIONS


# --- addresses -----------------------------------------------------------------------------------


async def test_ipv6() -> None:
    async with RawProvider(greet, host="::1") as provider, pooling() as pool:
        await use(await pool.acquire(Origin("::1", provider.port, tls=False)))


async def test_a_name_with_several_addresses_leads_to_the_one_that_answers() -> None:
    async with RawProvider(greet) as provider, pooling() as pool:  # localhost is ::1 as well
        await use(await pool.acquire(Origin("localhost", provider.port, tls=False)))


@pytest.mark.parametrize("name", ["no-such-name.invalid", "a" * 300])
async def test_a_name_that_leads_nowhere(name: str) -> None:
    async with pooling() as pool:
        with pytest.raises((OSError, UnicodeError)):
            await pool.acquire(Origin(name, 80, tls=False))
        assert free_slots(pool) == pools.MAX_CONNECTIONS


async def test_small_segments_are_not_held_back() -> None:
    async with RawProvider(greet) as provider, pooling() as pool:
        connection = await pool.acquire(origin(provider))
        assert connection._transport is not None
        ours = connection._transport.get_extra_info("socket")
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# --- the end -------------------------------------------------------------------------------------


async def test_a_closed_pool_keeps_nothing_and_gives_nothing() -> None:
    before = open_sockets()
    async with RawProvider(greet) as provider:
        pool, there = Pool(), origin(provider)
        used, busy, idle = [await pool.acquire(there) for _ in range(3)]
        await use(used)
        await use(idle)
        pool.release(there, idle)
        reading = asyncio.create_task(busy.read())
        await asyncio.sleep(0)
        await pool.close()
        assert await reading == b""
        assert busy.broken
        assert not used.reusable()
        for connection in (used, busy):
            pool.release(there, connection)
        with pytest.raises(OSError, match="the pool is closed"):
            await pool.acquire(there)
        assert pool._idle == {}
    await only(before)


async def test_closing_the_pool_refuses_those_who_wait_for_room(one_connection: None) -> None:
    async with RawProvider(greet) as provider, asyncio.timeout(SECONDS):
        pool = Pool()
        await pool.acquire(origin(provider))
        waiting = [asyncio.create_task(pool.acquire(origin(provider))) for _ in range(3)]
        await asyncio.sleep(0)
        await pool.close()
        refused = await asyncio.gather(*waiting, return_exceptions=True)
        assert [str(error) for error in refused] == ["the pool is closed"] * 3


async def test_closing_the_pool_refuses_those_who_are_connecting() -> None:
    before = open_sockets()
    for rounds in range(8):  # whatever step the connecting has reached
        async with RawProvider(greet) as provider, asyncio.timeout(SECONDS):
            pool = Pool()
            connecting = asyncio.create_task(pool.acquire(origin(provider)))
            for _ in range(rounds):
                await asyncio.sleep(0)
            await pool.close()
            (got,) = await asyncio.gather(connecting, return_exceptions=True)
            assert isinstance(got, OSError) or (isinstance(got, Connection) and got.closed)
    await only(before)


@pytest.mark.asyncio(loop_factories=["uvloop"])  # the other leaks a transport before a handshake
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_cancellation_at_any_step_leaks_neither_room_nor_sockets(
    tls: bool, trusted: ssl.SSLContext
) -> None:
    before = open_sockets()
    done = 0
    async with RawProvider(greet, tls=trusted if tls else None) as provider, pooling() as pool:
        there = origin(provider, tls=tls)
        for steps in range(80):
            if steps == 10:  # until here the authorities are perhaps still being read
                pool.release(there, await pool.acquire(there))
            connecting = asyncio.create_task(pool.acquire(there, fresh=True))
            for _ in range(steps):
                await asyncio.sleep(0)
            connecting.cancel()
            try:
                connection = await connecting
            except asyncio.CancelledError:
                pass
            else:
                done += 1
                await use(connection)
                connection.close()
                pool.release(there, connection)
            assert free_slots(pool) == pools.MAX_CONNECTIONS
            assert pool._open == set()
        connection = await pool.acquire(there)  # and it still works
        await use(connection)
        pool.release(there, connection)
    assert done > 0  # so the last steps were beyond the end
    await only(before)
