"""A snapshot says the same in fewer events, and can be resumed from like the log itself."""

import random

import pytest

from core.test_sealing import STREAM
from tellstream.core import events as ev
from tellstream.core import grammar
from tellstream.core import parts as pt
from tellstream.core import snapshot as module
from tellstream.core.composer import Composer
from tellstream.core.frames import decode_frame, encode_frames
from tellstream.core.ids import EventIds
from tellstream.core.snapshot import Snapshot
from tellstream.core.transcript import fold
from tellstream.core.usage import FinishReason, Usage


def folded(frames: list[bytes]) -> list[bytes]:
    snapshot = Snapshot()
    return snapshot.feed(frames) + snapshot.flush()


def events(frames: list[bytes]) -> list[ev.Event]:
    return [decode_frame(frame)[1] for frame in frames]


def long_stream() -> list[bytes]:
    composer = Composer(EventIds(5), "p", "m")
    parts: list[pt.Part] = [pt.Thinking(f"t{n} ") for n in range(300)]
    parts += [pt.Text(f"w{n} ") for n in range(3000)]
    parts += [pt.ToolFragment(n % 2, f"c{n % 2}", f"f{n % 2}", "1") for n in range(20)]
    said = composer.feed([*parts, pt.Finished(FinishReason.STOP), pt.Done()], 1.0)
    return encode_frames(1, said + composer.close(composer.ending(), Usage(), 1.0))


FRAMES = encode_frames(1, STREAM)
LONG = long_stream()


@pytest.mark.parametrize("length", range(len(FRAMES) + 1))
def test_it_says_the_same_at_every_cut(length: int) -> None:
    frames = FRAMES[:length]
    snapshot = folded(frames)
    assert fold(events(snapshot)) == fold(events(frames))
    assert [decode_frame(frame)[0] for frame in snapshot[-1:]] == [length][: len(frames)]
    checker = grammar.Grammar()
    for event in events(snapshot):
        checker.feed(event)


def test_thousands_of_deltas_become_few_events() -> None:
    snapshot = folded(LONG)
    assert len(LONG) > 3000
    assert len(snapshot) < 40
    grammar.check(events(snapshot))
    assert fold(events(snapshot)) == fold(events(LONG))


def test_a_folded_delta_is_resumed_after_like_the_last_delta_in_it() -> None:
    for frame in folded(LONG):
        number, event = decode_frame(frame)
        last = decode_frame(LONG[number - 1])[1]
        assert (event.id, event.timestamp, event.type) == (last.id, last.timestamp, last.type)


def test_portions_make_no_difference() -> None:
    source = random.Random(1)
    whole, snapshot, at = folded(LONG), Snapshot(), 0
    fed: list[bytes] = []
    while at < len(LONG):
        step = source.choice((1, 2, 7, 500))
        fed += snapshot.feed(LONG[at : at + step])
        at += step
    assert fed + snapshot.flush() == whole


def test_a_folded_delta_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DELTA_CHARACTERS", 100)
    snapshot = folded(LONG)
    sizes = [len(e.delta) for e in events(snapshot) if isinstance(e, ev.TextDelta)]
    assert max(sizes) <= 100
    assert fold(events(snapshot)) == fold(events(LONG))


def test_of_nothing_it_is_nothing() -> None:
    assert folded([]) == []
