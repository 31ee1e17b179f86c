"""Steps are written when they are due, in bounded batches, and never after the end."""

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, cast

from tellstream.providers.simulator.delivery import MAX_SECONDS, Cut, Step
from tellstream.providers.simulator.journal import Journal, Record
from tellstream.providers.simulator.playback import Playback
from tellstream.providers.simulator.prose import STAMP
from tellstream.providers.simulator.reply import Reply


class FakeHandle:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """A loop whose clock the test turns."""

    def __init__(self) -> None:
        self.now = 100.0
        self.handles: list[FakeHandle] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, call: Callable[[], None]) -> FakeHandle:
        self.handles.append(FakeHandle(at, call))
        return self.handles[-1]

    def call_soon(self, call: Callable[[], None]) -> FakeHandle:
        return self.call_at(self.now, call)

    def turn(self) -> bool:
        """Run the next handle, at its time or late; False if there is none."""
        waiting = [handle for handle in self.handles if not handle.cancelled]
        if not waiting:
            return False
        handle = min(waiting, key=lambda each: each.at)
        self.handles.remove(handle)
        self.now = max(self.now, handle.at)
        handle.call()
        return True


class Stage:
    """One playback with everything around it faked."""

    def __init__(self, steps: Iterator[Step], batch: int = 4, *, stamped: bool = False) -> None:
        self.loop = FakeLoop()
        self.writes: list[tuple[float, bytes]] = []
        self.ends: list[Cut | None] = []
        self.record: Record = Journal().open("/", [], b"")
        self.playback = Playback(
            cast("asyncio.AbstractEventLoop", self.loop),
            cast("asyncio.WriteTransport", self),
            Reply(steps, batch, stamped=stamped),
            self.record,
            self.ends.append,
        )

    def write(self, data: bytes) -> None:
        self.writes.append((round(self.loop.now - 100.0, 6), data))

    def play(self) -> Any:
        while self.loop.turn():
            pass
        return self.writes


def paced(number: int, delay: float) -> Iterator[Step]:
    return (Step(i * delay, b"%d" % i, 1, 1) for i in range(number))


def test_each_frame_is_one_write_at_its_time() -> None:
    stage = Stage(paced(3, 0.01))
    assert not stage.writes
    assert stage.play() == [(0.0, b"0"), (0.01, b"1"), (0.02, b"2")]
    assert stage.ends == [None]
    assert (stage.record.frames_sent, stage.record.completion_tokens) == (3, 3)


def test_a_stamp_is_the_time_of_its_write_and_as_long_as_the_word_for_it() -> None:
    steps = (Step(i * 0.01, STAMP.encode(), 1, 1) for i in range(2))
    before = time.monotonic_ns() // 1_000
    (_, first), (_, second) = Stage(steps, stamped=True).play()
    assert before <= int(first) <= int(second) <= time.monotonic_ns() // 1_000
    assert len(first) == len(STAMP)


def test_a_late_timer_moves_nothing_that_follows() -> None:
    stage = Stage(paced(4, 0.01))
    stage.loop.turn()
    stage.loop.now += 0.025
    assert stage.play() == [(0.0, b"0"), (0.025, b"12"), (0.03, b"3")]


def test_what_is_due_together_is_written_in_batches_between_turns() -> None:
    stage = Stage(paced(10, 0.0))
    stage.loop.turn()
    assert stage.writes == [(0.0, b"0123")]
    assert [data for _, data in stage.play()] == [b"0123", b"4567", b"89"]


def test_a_cut_ends_after_what_precedes_it() -> None:
    steps = [Step(0.0, b"a"), Step(0.02, cut=Cut.RESET), Step(0.03, b"never")]
    stage = Stage(iter(steps))
    assert stage.play() == [(0.0, b"a")]
    assert stage.ends == [Cut.RESET]
    assert round(stage.loop.now - 100.0, 6) == 0.02


def test_a_paused_playback_writes_nothing_and_catches_up() -> None:
    stage = Stage(paced(5, 0.01))
    stage.loop.turn()
    stage.playback.pause()
    stage.loop.now += 0.035
    stage.play()
    assert len(stage.writes) == 1
    assert not stage.ends
    stage.playback.resume()
    assert stage.play()[1:] == [(0.035, b"123"), (0.04, b"4")]
    assert stage.ends == [None]


def test_resuming_while_a_timer_runs_does_not_start_another() -> None:
    stage = Stage(paced(2, 0.01))
    stage.loop.turn()
    stage.playback.pause()
    stage.playback.resume()
    assert len(stage.loop.handles) == 1


def test_a_cancelled_playback_is_silent() -> None:
    stage = Stage(paced(5, 0.01))
    stage.loop.turn()
    stage.playback.cancel()
    assert len(stage.play()) == 1
    assert not stage.ends
    assert not any(not handle.cancelled for handle in stage.loop.handles)


def test_no_response_lasts_longer_than_the_limit() -> None:
    stage = Stage(Step(i * 60.0, b"x") for i in count())
    stage.play()
    assert stage.ends == [Cut.EOF]
    assert len(stage.writes) == MAX_SECONDS / 60
