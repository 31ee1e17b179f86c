"""What was asked of the simulator and what became of it: the bookkeeping tests compare with.

Invariant: every request is counted exactly once, as running or in one final state; the counts go on
when old records are dropped. Secrets are never kept: of a key only that there was one.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

State = Literal["running", "complete", "client_closed", "faulted"]

MAX_RECORDS: Final = 1_000
_MAX_BODY_BYTES: Final = 64 << 10  # larger bodies are counted, not kept
_SECRET_HEADERS: Final = frozenset({"authorization", "api-key", "x-api-key", "x-goog-api-key"})
_KEY_IN_QUERY: Final = re.compile(r"([?&]key=)[^&]*")  # Gemini takes it there too
_STATES: Final[tuple[State, ...]] = ("running", "complete", "client_closed", "faulted")


class Record(msgspec.Struct):
    """One request; it changes while the response is written.

    Attributes:
        started: Unix seconds.
        ended_after_ms: null while it is running.
        body: the decoded request body; null if it is not JSON or larger than 64 KiB.
    """

    n: int
    path: str
    started: float
    authorized: bool
    headers: dict[str, str]
    body: Any = None
    body_bytes: int = 0
    model: str = ""
    state: State = "running"
    frames_sent: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    ended_after_ms: float | None = None


class Journal:
    """A bounded list of records, newest first, and the sums over all of them."""

    def __init__(self) -> None:
        self._count = 0
        self._idle = asyncio.Event()
        self.reset()

    def reset(self) -> None:
        """Forget everything; requests that are running now are not counted any more."""
        self._records: deque[Record] = deque(maxlen=MAX_RECORDS)
        self._running: dict[int, Record] = {}
        self._ended: dict[str, int] = dict.fromkeys(_STATES, 0)
        self._prompt_tokens = self._completion_tokens = 0
        self._idle.set()

    def open(self, path: str, headers: Iterable[tuple[str, str]], body: bytes) -> Record:
        """Note a request that has arrived."""
        self._count += 1
        visible = {name: "…" if name in _SECRET_HEADERS else value for name, value in headers}
        shown, keys = _KEY_IN_QUERY.subn(r"\1…", path)
        record = Record(
            n=self._count,
            path=shown,
            started=time.time(),
            authorized=bool(keys) or not _SECRET_HEADERS.isdisjoint(visible),
            headers=visible,
            body=_decoded(body),
            body_bytes=len(body),
        )
        self._records.appendleft(record)
        self._running[record.n] = record
        self._idle.clear()
        return record

    def close(self, record: Record, state: State) -> None:
        """Note how a request ended."""
        record.state = state
        record.ended_after_ms = round((time.time() - record.started) * 1_000, 3)
        if self._running.pop(record.n, None) is None:  # from before a reset
            return
        self._ended[state] += 1
        self._prompt_tokens += record.prompt_tokens
        self._completion_tokens += record.completion_tokens
        if not self._running:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until no request is running."""
        await self._idle.wait()

    def records(self) -> list[Record]:
        """Return the newest records, newest first."""
        return list(self._records)

    def stats(self) -> dict[str, int]:
        """Return the counts, running requests included with what they have sent so far."""
        running = self._running.values()
        counts = self._ended | {"running": len(running)}
        prompt = self._prompt_tokens + sum(record.prompt_tokens for record in running)
        completion = self._completion_tokens + sum(record.completion_tokens for record in running)
        return {
            "requests": sum(counts.values()),
            **counts,
            "prompt_tokens": prompt,
            "completion_tokens": completion,
        }


def _decoded(body: bytes) -> Any:
    if len(body) > _MAX_BODY_BYTES:
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
