"""Which Redis is taken for the event log, and what is said of one that is not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from support.redis import RedisServer, redis_server
from support.redis_logs import LEASE, worker
from tellstream.eventlog.base import LogSetupError, StreamKey, Taken
from tellstream.eventlog.redis import RedisEventLog
from tellstream.eventlog.redis_link import Address
from tellstream.eventlog.redis_setup import _judge

PASSWORD = "correct-horse-battery"


async def refusal(url: str) -> str:
    """What is said when the log is opened, all causes included."""
    with pytest.raises(LogSetupError) as caught:
        await RedisEventLog(url, 100.0, LEASE).start(lambda key: None)
    message = str(caught.value)
    assert "\n" not in message
    said, error = "", caught.value.__cause__
    while error is not None:
        said, error = f"{said} {error!r} {error}", error.__cause__ or error.__context__
    assert PASSWORD not in message + said
    return message


@contextmanager
def changed(server: RedisServer, name: str, value: str) -> Iterator[None]:
    """Change a setting of the shared server for a while."""
    before = server.ask("CONFIG", "GET", name)
    server.ask("CONFIG", "SET", name, value)
    try:
        yield
    finally:
        server.ask("CONFIG", "SET", name, before[name.encode()])


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that asks for a password."""
    with redis_server(tmp_path, "--requirepass", PASSWORD) as server:
        yield server


async def test_a_redis_without_append_only_file_is_refused_with_the_remedy(
    shared_redis: RedisServer,
) -> None:
    with changed(shared_redis, "appendonly", "no"):
        message = await refusal(shared_redis.url)
    assert "redis-cli config set appendonly yes" in message
    assert "redis.conf" in message
    assert f"127.0.0.1:{shared_redis.port}" in message


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--cluster-enabled", "yes"), "cluster"), (("--replicaof", "127.0.0.1", "9"), "replica")],
)
async def test_a_redis_of_the_wrong_kind_is_refused(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    with redis_server(tmp_path, *options) as server:
        assert said in await refusal(server.url)


@pytest.mark.parametrize(
    ("version", "taken"),
    [("5.0.14", False), ("6.0.20", False), ("6.2.0", True), ("7.2.4", True), ("10.0", True)],
)
def test_the_version_decides(version: str, taken: bool) -> None:
    fields = {"redis_version": version, "aof_enabled": "1"}
    address = Address("redis://127.0.0.1")
    if taken:
        _judge(address, fields)
    else:
        with pytest.raises(LogSetupError, match=r"6\.2 or newer"):
            _judge(address, fields)


async def test_nobody_at_the_address_is_said_in_one_line() -> None:
    assert "127.0.0.1:1" in await refusal(f"redis://user:{PASSWORD}@127.0.0.1:1/0")


async def test_refused_credentials_are_said_without_showing_them(guarded: RedisServer) -> None:
    for credentials in (f":{PASSWORD}x@", f"somebody:{PASSWORD}@", ""):
        message = await refusal(f"redis://{credentials}127.0.0.1:{guarded.port}/0")
        assert "refuses the credentials" in message


async def test_a_log_shows_its_password_nowhere(guarded: RedisServer) -> None:
    async with worker(f"redis://:{PASSWORD}@127.0.0.1:{guarded.port}/0") as log:
        writer = await log.create(StreamKey(1, "s"), b"")
        assert not isinstance(writer, Taken)
        await writer.append(1, [b"frame"], end=True)
        assert PASSWORD not in f"{log!r} {log} {log._address!r} {writer!r}"


@pytest.mark.parametrize(
    "url",
    [
        f"http://u:{PASSWORD}@host",
        f"redis://u:{PASSWORD}@host:port",
        f"redis://u:{PASSWORD}@host/zero",
        f"redis://u:{PASSWORD}@host/0?max_connections=3",
        f"redis://u:{PASSWORD}@host?socket_timeout=never",
        f"unix://u:{PASSWORD}@/socket",
    ],
)
def test_an_address_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(LogSetupError) as caught:
        RedisEventLog(url, 100.0, LEASE)
    assert PASSWORD not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"


async def test_a_redis_that_may_evict_running_streams_is_warned_of(
    shared_redis: RedisServer,
) -> None:
    with (
        changed(shared_redis, "maxmemory", "1gb"),
        changed(shared_redis, "maxmemory-policy", "allkeys-lru"),
        structlog.testing.capture_logs() as logs,
    ):
        async with worker(shared_redis.url):
            pass
    assert [entry["event"] for entry in logs] == ["eventlog.redis_may_evict"]
    with structlog.testing.capture_logs() as logs:
        async with worker(shared_redis.url):
            pass
    assert logs == []


async def test_a_user_who_may_only_do_what_is_needed_suffices(shared_redis: RedisServer) -> None:
    shared_redis.ask(
        "ACL", "SETUSER", "chat", "on", f">{PASSWORD}", "~tellstream:*", "-@all",
        "+@connection", "+@stream", "+@hash", "+@set", "+@sortedset", "+@scripting",
        "+del", "+exists", "+pexpire", "+time",
    )  # fmt: skip
    try:
        with structlog.testing.capture_logs() as logs:
            async with worker(f"redis://chat:{PASSWORD}@127.0.0.1:{shared_redis.port}/0") as log:
                writer = await log.create(StreamKey(1, "acl"), b"")
                assert not isinstance(writer, Taken)
                await writer.append(1, [b"frame"], end=True)
        assert [entry["event"] for entry in logs] == ["eventlog.redis_unchecked"]
    finally:
        shared_redis.ask("ACL", "DELUSER", "chat")
