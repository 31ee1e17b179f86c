"""Plays the steps of one response on a transport, at their times. No task, one timer per response.

Invariant: a step is written when it is due and the transport accepts more, never before, and in
order. Due times are absolute, so a late timer delays one step and not all that follow. After
``cancel`` or ``ended`` nothing is written. It decides nothing: see delivery.py for what and when.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from tellstream.providers.simulator.delivery import MAX_SECONDS, Cut, Step
from tellstream.providers.simulator.journal import Record
from tellstream.providers.simulator.prose import STAMP
from tellstream.providers.simulator.reply import Reply

# uvloop's clock and timers count whole milliseconds: without slack a timer that fires a fraction
# early would spin until its step is due.
_EARLY_SECONDS: Final = 0.001
_STAMP: Final = STAMP.encode()


class Playback:
    """One response being written; ``ended`` is called once, with the cut if there is one."""

    __slots__ = (
        "_batch",
        "_ended",
        "_handle",
        "_loop",
        "_paused",
        "_record",
        "_stamped",
        "_start",
        "_step",
        "_steps",
        "_transport",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.WriteTransport,
        reply: Reply,
        record: Record,
        ended: Callable[[Cut | None], None],
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._steps = reply.steps
        self._batch = reply.batch
        self._stamped = reply.stamped
        self._record = record
        self._ended = ended
        self._start = loop.time()
        self._step: Step | None = next(self._steps, None)
        self._paused = False
        # Not at once: the response may end there, and the caller does not know this object yet.
        self._handle: asyncio.Handle | None = loop.call_soon(self._advance)

    def pause(self) -> None:
        """Stop writing until ``resume``; the schedule goes on."""
        self._paused = True

    def resume(self) -> None:
        """Write what has become due meanwhile."""
        self._paused = False
        if self._handle is None:
            self._handle = self._loop.call_soon(self._advance)

    def cancel(self) -> None:
        """Never write again; ``ended`` is not called."""
        self._paused = True
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _advance(self) -> None:
        self._handle = None
        if self._paused:
            return
        elapsed = self._loop.time() - self._start
        if elapsed >= MAX_SECONDS:
            self._ended(Cut.EOF)
            return
        self._write_due(elapsed + _EARLY_SECONDS)
        step = self._step
        if step is None:
            self._ended(None)
        elif step.at > elapsed + _EARLY_SECONDS:
            self._handle = self._loop.call_at(self._start + step.at, self._advance)
        elif step.cut is not None:
            self._ended(step.cut)
        elif not self._paused:  # more is due than one write may hold: the other streams first
            self._handle = self._loop.call_soon(self._advance)

    def _write_due(self, elapsed: float) -> None:
        """Write the steps that are due, at most a batch, up to a cut."""
        step = self._step
        data = []
        frames = tokens = 0
        while step is not None and step.at <= elapsed and step.cut is None:
            data.append(step.data)
            frames += step.frames
            tokens += step.tokens
            step = next(self._steps, None)
            if len(data) == self._batch:
                break
        self._step = step
        if data:
            self._record.frames_sent += frames
            self._record.completion_tokens += tokens
            written = b"".join(data)
            if self._stamped:  # the loop's own clock may be a millisecond old
                written = written.replace(_STAMP, b"%016d" % (time.monotonic_ns() // 1_000))
            self._transport.write(written)
