"""Refused access, for the auditor: noted at once, written later, and never without bound.

Whoever can send requests can have them refused. So noting waits for nothing and takes bounded
memory, and what is written is bounded by the minute: of the requests beyond, only the number is.
Old events are deleted here, too, whatever they tell of.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import sqlalchemy as sa
import structlog

from tellstream.core.errors import ServerError
from tellstream.core.principals import Ctx
from tellstream.storage import audit
from tellstream.storage.audit import AuditEvent
from tellstream.storage.base import StoreUnavailableError
from tellstream.storage.store import Store

MAX_QUEUE: Final = 1000
"""Refusals that wait to be written, some 500 KB; more are only counted."""
MAX_BATCH: Final = 200
"""Rows in one transaction: some milliseconds, so that others can write."""
BATCH_SECONDS: Final = 1.0
"""Between two transactions."""
MINUTE: Final = 60.0
UNKNOWN_ROWS_PER_MINUTE: Final = 60
"""About requests of nobody knows whom, such as bad tokens: at most 86,400 rows a day and worker,
some 20 MB."""
KNOWN_ROWS_PER_MINUTE: Final = 240
"""About requests of callers with good tokens. Their own number, since strangers must not hide what
an insider tries."""
RETENTION_SECONDS: Final = 400 * 86_400
"""For which events are kept: a year, and the month in which it is looked at."""
PRUNE_SECONDS: Final = 3600.0
"""Between two looks at what is old."""
PRUNE_ROWS: Final = 1000
"""Deleted in one transaction."""
PRUNE_BATCHES: Final = 200
"""Of one look; so a day's worth of rows is deleted in half an hour, however many workers write."""
ACT: Final = "access.refused"

_DENIED: Final = frozenset({401, 403})
_HIDDEN: Final = 404

log = structlog.get_logger("tellstream.audit")


def is_noted(status: int, scope: str | None) -> bool:
    """Whether an auditor wants to know of a refusal.

    Args:
        status: of the response.
        scope: that the route needs; None: the route is public.
    """
    return scope is not None and (status in _DENIED or (status == _HIDDEN and scope == "admin"))


class _Counted(NamedTuple):
    """Refusals that get no row of their own.

    Attributes:
        over_the_rate: beyond the rows of their minute.
        over_the_queue: there was no place to wait.
    """

    over_the_rate: int = 0
    over_the_queue: int = 0


class Refusals:
    """Writes refusals to the audit log.

    Args:
        store: where it is.
        clock: Unix seconds.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._waiting: deque[AuditEvent] = deque()
        self._task: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._stopping = asyncio.Event()
        self._minute = 0.0  # when it began
        self._left: dict[bool, int] = {}  # rows of this minute, by whether the caller is known
        self._over = 0  # refusals beyond them
        self._told = _Counted()
        self._written = True  # the last time

    def start(self) -> None:
        """Begin to write, and to delete what is old."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Write what waits, and stop. May be called again."""
        task, self._task = self._task, None
        if task is None:
            return
        self._stopping.set()  # not cancelled: what was written must be known to be
        self._wanted.set()
        await asyncio.wait({task})
        self._turn(self._minute + MINUTE)
        while self._waiting or any(self._told):
            if not await self._write():
                return

    def note(
        self,
        code: str,
        method: str,
        route: str,
        ctx: Ctx | None,
        request_id: str,
        address: str,
    ) -> None:
        """Note a refusal. Does not wait, and does not fail.

        Args:
            code: of the error.
            method: of the request.
            route: the path of the route, not of the request.
            ctx: the caller; None: unknown.
            request_id: of the request.
            address: of the client.
        """
        now = self._clock()
        self._turn(now)
        known = ctx is not None
        if self._left[known] <= 0:
            self._over += 1
        elif len(self._waiting) >= MAX_QUEUE:
            self._count(over_the_queue=1)
        else:
            self._left[known] -= 1
            self._waiting.append(
                AuditEvent(
                    at=int(now),
                    act=ACT,
                    object=f"{method} {route}",
                    outcome="refused",
                    tenant=None if ctx is None else ctx.tenant,
                    subject="" if ctx is None else ctx.subject,
                    client="" if ctx is None else ctx.client,
                    request_id=request_id,
                    details={"error": code, "address": address},
                )
            )
        self._wanted.set()

    def _turn(self, now: float) -> None:
        """Begin another minute, if it is time; then what was beyond the last one can be told."""
        if self._left and 0 <= now - self._minute < MINUTE:
            return
        self._minute = now
        self._left = {True: KNOWN_ROWS_PER_MINUTE, False: UNKNOWN_ROWS_PER_MINUTE}
        self._count(over_the_rate=self._over)
        self._over = 0

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        prune_at = loop.time()
        while not self._stopping.is_set():
            if loop.time() >= prune_at:
                prune_at = loop.time() + PRUNE_SECONDS
                await self._prune()
            if not await _set_within(self._wanted, prune_at - loop.time()):
                continue
            self._wanted.clear()
            self._turn(self._clock())
            await self._write()
            if self._waiting or self._over or any(self._told):
                self._wanted.set()
            await _set_within(self._stopping, BATCH_SECONDS)

    async def _write(self) -> bool:
        """Write a batch; says whether that was possible. If not, it stays in the queue."""
        batch = [self._waiting[n] for n in range(min(MAX_BATCH, len(self._waiting)))]
        told = self._told
        also = [self._summary(told)] if any(told) else []
        if not batch and not also:
            return True
        try:
            await self._store.run(None, lambda connection: _append(connection, [*batch, *also]))
        except StoreUnavailableError as error:
            if self._written:  # said once in an outage, not each second
                log.warning("audit.not_written", events=len(self._waiting), reason=error.reason)
            self._written = False
            return False
        except ServerError as error:  # the database refuses a row: the others must not wait for it
            log.error("audit.refused", events=len(batch), reason=error.reason)  # noqa: TRY400
            self._count(over_the_queue=len(batch))
            also = []
        self._written = True
        for _ in batch:
            self._waiting.popleft()
        if also:
            log.warning("audit.refusals_not_told", **told._asdict())
            self._count(-told.over_the_rate, -told.over_the_queue)  # more may have come meanwhile
        return True

    def _count(self, over_the_rate: int = 0, over_the_queue: int = 0) -> None:
        told = self._told
        self._told = _Counted(
            told.over_the_rate + over_the_rate, told.over_the_queue + over_the_queue
        )

    def _summary(self, told: "_Counted") -> AuditEvent:
        at = int(self._clock())
        return AuditEvent(
            at=at, act=ACT, object="", outcome="refused", details=dict(told._asdict())
        )

    async def _prune(self) -> None:
        before = int(self._clock()) - RETENTION_SECONDS
        try:
            for _ in range(PRUNE_BATCHES):
                deleted = await self._store.run(
                    None, lambda connection: audit.prune(connection, before, PRUNE_ROWS)
                )
                if deleted < PRUNE_ROWS or self._stopping.is_set():
                    return
        except ServerError as error:
            log.warning("audit.not_pruned", reason=error.reason)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event for so long; says whether it is set."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _append(connection: sa.Connection, events: list[AuditEvent]) -> None:
    for event in events:
        audit.append(connection, None, event)
