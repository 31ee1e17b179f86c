"""What the event log's keys in Redis are called.

The tenant is part of every key that belongs to a stream, so that no mistake can cross tenants. A
server's access list may be limited to ``tellstream:*``. The names of the workers' keys are also in
the preamble of the scripts (redis_lua.py).
"""

from typing import Final

from tellstream.eventlog.base import StreamKey

_STREAM: Final = b"tellstream:{t:%d:s:%s}:%s"
_NAME: Final = b"tellstream:{t:%d:i:%s}"


def log_key(key: StreamKey) -> bytes:
    """Name the Redis stream with the frames: entry ``<n>-0`` holds frame n in its field d."""
    return _STREAM % (key.tenant, key.stream_id.encode(), b"log")


def meta_key(key: StreamKey) -> bytes:
    """Name the hash with all else about a stream; its fields are listed in redis_scripts.py."""
    return _STREAM % (key.tenant, key.stream_id.encode(), b"meta")


def name_key(tenant: int, name: str) -> bytes:
    """Name the hash behind an idempotency name: stream, body."""
    return _NAME % (tenant, name.encode())


def stream_of(name: bytes) -> StreamKey:
    """Return the stream to which a log or meta key belongs."""
    tag = name[name.index(b"{") + 1 : name.rindex(b"}")].decode()
    _, tenant, _, stream_id = tag.split(":", 3)
    return StreamKey(int(tenant), stream_id)


def streams_key(worker: str) -> str:
    """Name the set of the meta keys of the streams that a worker produces."""
    return f"tellstream:worker:{worker}:streams"


def inbox_key(worker: str) -> str:
    """Name the Redis stream of what a worker is told: see ``tell`` in redis_lua.py."""
    return f"tellstream:worker:{worker}:inbox"
