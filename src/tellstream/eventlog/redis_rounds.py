"""Exchanges with Redis, over and over, each with all that was asked for during the one before.

What an outage leaves unanswered is asked again for a while.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from time import monotonic
from typing import Any, Final, Generic, Protocol, TypeVar

import structlog

from tellstream.core.errors import ServerError
from tellstream.eventlog.base import LogUnavailableError
from tellstream.eventlog.redis_link import Link, LinkError

OUTAGE_SECONDS: Final = 2.0
"""For which a request outlives a Redis that does not answer: a restart, a failover to a replica.
Counted from the first failure, so that waiting for one's turn under load is no outage."""
BACKOFF_SECONDS: Final = (0.0, 0.05, 0.1, 0.2, 0.4)
"""Before the first, second, … try after a failure; the last for all further ones."""
ROUND_BYTES: Final = 1024 * 1024
"""Of requests in one exchange: Redis is busy with it for some milliseconds."""

_log: Final = structlog.get_logger(__name__)


class Request(Protocol):
    """Something that is asked of Redis, and may be asked twice.

    Attributes:
        size: bytes, about.
        since: when an exchange failed that it took part in or waited for; monotonic seconds, 0:
            never.
        wanted: whether it is worth while to ask.
        waiting: whether somebody waits for an answer; if so, it is asked again after a failure.
    """

    size: int
    since: float

    @property
    def wanted(self) -> bool:
        """Whether it is worth while to ask."""

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for an answer."""

    def fail(self, error: Exception) -> None:
        """Hand a failure over, if somebody waits."""


_Request = TypeVar("_Request", bound=Request)


class Rounds(ABC, Generic[_Request]):
    """Connections, and those who wait for their turn.

    Args:
        links: used by nobody else; on each, one exchange after the other.
        most: requests in one exchange.
        linger: seconds from the start of one exchange of several to that of the next, at least.
    """

    def __init__(self, links: list[Link], most: int, linger: float = 0.0) -> None:
        self._links = links
        self._most = most
        self._linger = linger
        self._waiting: deque[_Request] = deque()
        self._flying: dict[Link, list[_Request]] = {}
        self._wake = asyncio.Event()
        self._not_before = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    @abstractmethod
    def pack(self, requests: list[_Request]) -> tuple[bytes, int]:
        """Return the commands, packed, and how many replies they get."""

    @abstractmethod
    def settle(self, requests: list[_Request], replies: list[Any]) -> str | None:
        """Answer the requests; if Redis refused some of them, return why."""

    def start(self) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run(link)) for link in self._links]

    async def close(self) -> None:
        """Stop; who still waits is told that the log is unavailable."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for link in self._links:
            await link.close()
        for requests in [*self._flying.values(), self._waiting]:
            for request in requests:
                request.fail(LogUnavailableError("the log is closed"))
            requests.clear()

    def put(self, request: _Request) -> None:
        """Let a request take part in the next exchange."""
        self._waiting.append(request)
        self._wake.set()

    async def _run(self, link: Link) -> None:
        failures = 0
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            if (pause := self._not_before - monotonic()) > 0:
                await asyncio.sleep(pause)
            if await self._round(link):
                failures = 0
                continue
            await link.close()  # after a failover, its name may lead to another machine
            await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
            failures += 1

    async def _round(self, link: Link) -> bool:
        """Make one exchange with those whose turn it is; return whether Redis answered."""
        requests = self._take()
        if not requests:
            return True
        if len(requests) > 1:
            # Under load, fewer and fuller exchanges save much more than they delay.
            self._not_before = monotonic() + self._linger
        self._flying[link] = requests
        try:
            packed, count = self.pack(requests)
            trouble = self.settle(requests, await link.exchange(packed, count))
        except LinkError as error:
            trouble = str(error)
        except Exception as error:  # noqa: BLE001 - a bug; it must not stop all who come later
            _log.exception("eventlog.round_failed")
            trouble = None
            for request in requests:
                failure = ServerError("server_error", reason="an exchange with Redis failed")
                failure.__cause__ = error
                request.fail(failure)
        del self._flying[link]
        if trouble is not None:
            self._put_back(requests, trouble, monotonic())
        return trouble is None

    def _take(self) -> list[_Request]:
        """Take those whose turn it is: at least one, if there is any."""
        taken: list[_Request] = []
        room = ROUND_BYTES
        waiting = self._waiting
        while waiting and len(taken) < self._most:
            request = waiting[0]
            room -= request.size
            if room < 0 and taken:
                break
            waiting.popleft()
            if request.wanted:
                taken.append(request)
        return taken

    def _put_back(self, requests: list[_Request], trouble: str, now: float) -> None:
        """Let the unanswered be first again, in their order; give up those that are too old."""
        again: deque[_Request] = deque()
        for request in [*requests, *self._waiting]:
            request.since = request.since or now
            if now - request.since >= OUTAGE_SECONDS:
                request.fail(LogUnavailableError(trouble))
            elif request.waiting:
                again.append(request)
        self._waiting = again
