"""Calls of scripts in Redis: one connection, one exchange at a time, each with all that waits.

Callers wait for futures, so cancelling one neither breaks an exchange nor mixes up replies, and
calls are executed in the order in which they were made. Nothing waits longer than one exchange and
the one before it: when an exchange fails, all who wait are told at once.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from tellstream.limits.base import LimitsUnavailableError
from tellstream.limits.redis_scripts import SCRIPTS, Script

EXCHANGE_SECONDS: Final = 0.9
"""For which Redis may be silent; it answers in a millisecond. A caller waits for two exchanges at
most, which is less than the two seconds in which admission must answer."""
RETRIES: Final = 1
"""Of an exchange whose connection broke: after a restart of Redis the first one finds it broken.
Every script may be executed twice."""
MAX_CALLS: Final = 64
"""In one exchange: Redis is busy with them for a few milliseconds."""
MAX_WAITING: Final = 20_000
"""Calls that wait for their turn; one more is refused. Each is some hundred bytes."""

Word: TypeAlias = bytes | str | int | float

_log: Final = structlog.get_logger(__name__)


class _Call:
    __slots__ = ("arguments", "future", "keys", "script")

    def __init__(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[Word],
        future: "asyncio.Future[Any]",
    ) -> None:
        self.script = script
        self.keys = keys
        self.arguments = arguments
        self.future = future


class Calls:
    """A way to Redis.

    Args:
        url: ``redis://[user:password@]host[:port][/db]`` or ``rediss://…``.

    Raises:
        ValueError: it cannot be understood.
    """

    def __init__(self, url: str) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=1,
            timeout=EXCHANGE_SECONDS,
            protocol=2,
            socket_timeout=EXCHANGE_SECONDS,
            socket_connect_timeout=EXCHANGE_SECONDS,
            retry=Retry(NoBackoff(), RETRIES),
        )
        self._redis: Any = Redis(connection_pool=pool)
        self._waiting: deque[_Call] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; Redis need not be there."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop; who still waits is told that Redis is unavailable."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        self._fail(self._waiting, LimitsUnavailableError("the limits are closed"))
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    async def run(self, script: Script, keys: Sequence[str], *arguments: Word) -> Any:
        """Run a script.

        Raises:
            LimitsUnavailableError: Redis did not answer, or refused; it may have been executed.
        """
        if self._task is None or len(self._waiting) >= MAX_WAITING:
            raise LimitsUnavailableError("too many calls wait for Redis, or it is closed")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(script, keys, arguments, future))
        self._wake.set()
        return await future

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                most = min(MAX_CALLS, len(self._waiting))
                calls = [self._waiting.popleft() for _ in range(most)]
                try:
                    await self._exchange(calls)
                except (RedisError, OSError) as error:  # a TimeoutError is an OSError
                    failure = LimitsUnavailableError(f"{type(error).__name__}: {error}")
                    await self._redis.connection_pool.disconnect()
                    self._fail([*calls, *self._waiting], failure)
                    self._waiting.clear()
                except BaseException:  # cancelled, or a bug: nobody may wait for ever
                    self._fail(calls, LimitsUnavailableError("the exchange was given up"))
                    raise

    async def _exchange(self, calls: Sequence[_Call]) -> None:
        async with asyncio.timeout(EXCHANGE_SECONDS):
            replies = await self._send(calls)
            unknown = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if unknown:  # Redis is new, or its scripts were flushed
                for script in SCRIPTS:
                    await self._redis.script_load(script.source)
                again = await self._send([calls[n] for n in unknown])
                for n, reply in zip(unknown, again, strict=True):
                    replies[n] = reply
        for call, reply in zip(calls, replies, strict=True):
            if call.future.done():
                continue
            if isinstance(reply, ResponseError):
                _log.error("limits.refused", reason=str(reply))
                call.future.set_exception(LimitsUnavailableError(f"Redis refused: {reply}"))
            else:
                call.future.set_result(reply)

    async def _send(self, calls: Sequence[_Call]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.evalsha(call.script.sha, len(call.keys), *call.keys, *call.arguments)
            replies: list[Any] = await pipe.execute(raise_on_error=False)
            return replies

    def _fail(self, calls: Sequence[_Call] | deque[_Call], error: LimitsUnavailableError) -> None:
        for call in calls:
            if not call.future.done():
                call.future.set_exception(error)
