"""All that is asked of Redis now and then: everything but appends and the wait for frames."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from tellstream.eventlog.redis_link import Command, Link, Word, pack
from tellstream.eventlog.redis_lua import Script
from tellstream.eventlog.redis_rounds import Rounds

MAX_COMMANDS: Final = 64
"""In one exchange; the reply to each has at most some READ_BYTES."""


class _Asked:
    """A command.

    Args:
        packed: as it is sent.
        future: gets the reply; None: nobody waits for one.
    """

    __slots__ = ("_future", "packed", "since", "size")

    def __init__(self, packed: bytes, future: "asyncio.Future[Any] | None") -> None:
        self.packed = packed
        self.size = len(packed)
        self.since = 0.0
        self._future = future

    @property
    def wanted(self) -> bool:
        """Whether it is worth while to ask: not if who waited was cancelled."""
        return self._future is None or not self._future.done()

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for the reply; else the command is sent only once."""
        return self._future is not None and not self._future.done()

    def answer(self, reply: Any) -> None:
        """Hand the reply over, if somebody waits."""
        if self._future is not None and not self._future.done():
            self._future.set_result(reply)

    def fail(self, error: Exception) -> None:
        """Hand a failure over, if somebody waits."""
        if self._future is not None and not self._future.done():
            self._future.set_exception(error)


class Commands(Rounds[_Asked]):
    """Commands that may be executed twice.

    Args:
        link: used by nobody else.
    """

    def __init__(self, link: Link) -> None:
        super().__init__([link], MAX_COMMANDS)

    async def call(self, *command: Word) -> Any:
        """Execute a command.

        Raises:
            LogUnavailableError: Redis did not answer within OUTAGE_SECONDS, or refused.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.put(_Asked(pack(command), future))
        return await future

    async def run(self, script: Script, keys: Sequence[Word], *arguments: Word) -> Any:
        """Run a script; as ``call``."""
        return await self.call(*_evaluate(script, keys, arguments))

    def post(self, script: Script, keys: Sequence[Word], *arguments: Word) -> None:
        """Run a script soon, once; during an outage, not at all."""
        self.put(_Asked(pack(_evaluate(script, keys, arguments)), None))

    def pack(self, requests: list[_Asked]) -> tuple[bytes, int]:
        """Return the commands, packed, and how many replies they get."""
        return b"".join([request.packed for request in requests]), len(requests)

    def settle(self, requests: list[_Asked], replies: list[Any]) -> str | None:
        """Answer the requests; if Redis refused some of them, return why."""
        trouble = None
        for request, reply in zip(requests, replies, strict=True):
            if isinstance(reply, ResponseError):
                trouble = f"Redis refused: {reply}"
            else:
                request.answer(reply)
        return trouble


def _evaluate(script: Script, keys: Sequence[Word], arguments: Sequence[Word]) -> Command:
    return ("EVALSHA", script.sha, len(keys), *keys, *arguments)
