"""Several server processes on one listening socket: start them, replace lost ones, stop them.

The parent binds and supervises, and serves nothing itself. Each worker is a process of its own
(``worker.py``) that inherits the socket; the kernel gives each connection to one of them. A worker
notices the parent's death by a pipe that only the parent holds open.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

import structlog

from tellstream.cli.failures import EXIT_FAILURE

log = structlog.get_logger("tellstream.server")

START_SECONDS: Final = 30.0
"""For a worker to answer its first request."""
LOOK_SECONDS: Final = 0.1
"""Between two looks at the workers."""
FIRST_BACKOFF: Final = 0.2
"""Seconds before a lost worker is replaced; doubled each time, up to the next constant."""
MAX_BACKOFF: Final = 15.0
STEADY_SECONDS: Final = 30.0
"""After which a worker's loss is no longer the consequence of the one before it."""
STOP_SECONDS: Final = 20.0
"""For a worker to end after its drain, before it is killed."""


class Workers:
    """A pool of server processes.

    Args:
        count: how many.
        listener: bound; inherited by all.
        config: the configuration file, or None.
        drain: seconds that running streams may take when the pool stops.
    """

    def __init__(
        self, count: int, listener: socket.socket, config: Path | None, drain: float
    ) -> None:
        self._listener = listener
        self._config = config
        self._drain = drain
        self._slots = [_Slot(number) for number in range(count)]
        self._signals = 0

    def run(self, started: Callable[[], None]) -> int:
        """Serve until a signal; returns the exit code.

        Args:
            started: called once all workers answer.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        life_end, life = os.pipe()  # closed with this process, which the workers watch
        try:
            # One first: what is wrong with the set-up is said once.
            for slot in self._slots:
                if not self._start(slot, life_end):
                    return 0 if self._signals else EXIT_FAILURE
            started()
            while not self._signals:
                self._look_after(life_end)
                time.sleep(LOOK_SECONDS)
            return 0
        finally:
            self._stop()
            os.close(life)
            os.close(life_end)

    def _start(self, slot: "_Slot", life_end: int) -> bool:
        """Start a worker and wait until it answers; says whether it does."""
        ready, told = os.pipe()
        fds = [self._listener.fileno(), told, life_end]
        command = [sys.executable, "-m", "tellstream.cli.worker", *map(str, (*fds, slot.number))]
        if self._config is not None:
            command.append(str(self._config))
        try:
            # A session of its own: Ctrl-C reaches the parent alone, which passes it on.
            slot.process = subprocess.Popen(command, pass_fds=fds, start_new_session=True)  # noqa: S603 - ourselves
        finally:
            os.close(told)
        os.set_blocking(ready, False)
        slot.started_at = time.monotonic()
        try:
            while time.monotonic() < slot.started_at + START_SECONDS and not self._signals:
                if _said(ready):
                    return True
                if slot.process.poll() is not None:
                    return False
                time.sleep(LOOK_SECONDS / 5)
            return False
        finally:
            os.close(ready)

    def _look_after(self, life_end: int) -> None:
        """Replace the workers that were lost."""
        now = time.monotonic()
        for slot in self._slots:
            if slot.process is not None and slot.process.poll() is not None:
                code = slot.process.returncode
                slot.process = None
                slot.lost(now)
                log.error("worker.lost", code=code, replaced_in=round(slot.start_at - now, 1))
            if slot.process is None and now >= slot.start_at and not self._start(slot, life_end):
                log.error("worker.not_started")

    def _stop(self) -> None:
        """Pass the signal on, and wait; a further signal is passed on too."""
        passed, kill_at = 0, time.monotonic() + self._drain + STOP_SECONDS
        while running := [s.process for s in self._slots if s.process and s.process.poll() is None]:
            late = time.monotonic() > kill_at
            if late or passed < max(1, self._signals):
                passed = max(1, self._signals)
                for process in running:
                    process.send_signal(signal.SIGKILL if late else signal.SIGTERM)
            time.sleep(LOOK_SECONDS)

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1


class _Slot:
    """The place of one worker, and of those that replace it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.start_at = 0.0
        self._backoff = 0.0

    def lost(self, now: float) -> None:
        """Decide when to replace it: the sooner, the longer it had served."""
        steady = now - self.started_at > STEADY_SECONDS
        self._backoff = FIRST_BACKOFF if steady else min(self._backoff * 2, MAX_BACKOFF)
        self._backoff = max(self._backoff, FIRST_BACKOFF)
        self.start_at = now + self._backoff


def _said(ready: int) -> bool:
    try:
        return bool(os.read(ready, 1))
    except BlockingIOError:
        return False
