"""Whether a Redis is fit to hold the event log."""

from typing import Any, Final

import structlog
from redis.exceptions import AuthenticationError, ResponseError

from tellstream.eventlog.base import LogSetupError
from tellstream.eventlog.redis_link import Address, Link, LinkError, pack

OLDEST: Final = (6, 2)
"""XRANGE and ZADD as they are used here work from this version on; Valkey counts as 7.2."""
AOF_OFF: Final = (
    "Redis at {address} does not write an append-only file, so a crash would lose streams that"
    " clients have seen. Turn it on: redis-cli config set appendonly yes, and appendonly yes in"
    " redis.conf."
)

_log: Final = structlog.get_logger(__name__)


async def check(address: Address) -> None:
    """Connect once, and look at what Redis says of itself.

    Raises:
        LogSetupError: it cannot be reached, refuses the credentials, or may lose what it was given.
    """
    link = Link(address)
    try:
        info, policy = await link.exchange(
            pack(("INFO",)) + pack(("CONFIG", "GET", "maxmemory*")), replies=2
        )
    except LinkError as error:
        raise LogSetupError(_unreachable(address, error)) from error
    finally:
        await link.close()
    if isinstance(info, ResponseError):
        _log.warning("eventlog.redis_unchecked", reason=f"INFO: {info}")
    else:
        _judge(address, _fields(info))
    if not isinstance(policy, ResponseError):  # CONFIG is often forbidden
        _warn(dict(zip(policy[::2], policy[1::2], strict=True)))


def _unreachable(address: Address, error: LinkError) -> str:
    if isinstance(error.__cause__, AuthenticationError):
        return f"Redis at {address.shown} refuses the credentials in eventlog.url."
    return f"The event log cannot be opened: {error}"


def _fields(info: bytes) -> dict[str, str]:
    lines = info.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _judge(address: Address, fields: dict[str, str]) -> None:
    version = fields.get("redis_version", "")
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < OLDEST:
        raise LogSetupError(
            f"Redis at {address.shown} is version {version or 'unknown'}; 6.2 or newer is needed."
        )
    if fields.get("redis_mode") == "cluster":
        raise LogSetupError(
            f"Redis at {address.shown} is a cluster; the event log needs a single primary."
        )
    if fields.get("role") in {"slave", "replica"}:
        raise LogSetupError(
            f"Redis at {address.shown} is a replica; the event log needs the primary."
        )
    if fields.get("aof_enabled") != "1":
        raise LogSetupError(AOF_OFF.format(address=address.shown))


def _warn(settings: dict[Any, bytes]) -> None:
    policy = settings.get(b"maxmemory-policy", b"noeviction")
    if settings.get(b"maxmemory", b"0") != b"0" and policy != b"noeviction":
        _log.warning(
            "eventlog.redis_may_evict",
            policy=policy.decode(),
            advice="set maxmemory-policy to noeviction, or running streams may be lost",
        )
