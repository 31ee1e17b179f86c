"""Every encoder, over ready streams of each kind and over all that the grammar allows."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings

from protocols.checkers import CHECKERS
from protocols.streams import CASES, frames, streams
from tellstream.core import events as ev
from tellstream.core.snapshot import Snapshot
from tellstream.core.usage import FinishReason
from tellstream.protocols.table import PROTOCOLS
from tellstream.protocols.transcoder import Transcoder

GOLDEN = Path(__file__).parent / "golden"
STREAM = "str_0123456789ABCDEFGHJKMNPQRS"
OTHERS = [name for name, row in PROTOCOLS.items() if row.encoder is not None]


def transcoder(name: str, after: int = 0) -> Transcoder:
    row = PROTOCOLS[name]
    assert row.encoder is not None
    return Transcoder(row.encoder(STREAM), row.terminal, after)


def test_each_protocol_has_a_checker() -> None:
    assert set(OTHERS) == set(CHECKERS)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("case", CASES)
def test_a_stream_is_said_as_reviewed(case: str, name: str) -> None:
    """With TELLSTREAM_GOLDEN=write the files are written anew; read their changes."""
    body = transcoder(name)(frames(CASES[case]))
    CHECKERS[name](body)
    file = GOLDEN / name / f"{case}.txt"
    if os.environ.get("TELLSTREAM_GOLDEN") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    assert body == file.read_bytes()


@pytest.mark.parametrize("name", OTHERS)
@settings(max_examples=150, deadline=None)
@given(events=streams())
def test_any_stream_is_valid_in_each_protocol(name: str, events: list[ev.Event]) -> None:
    CHECKERS[name](transcoder(name)(frames(events)))


@pytest.mark.parametrize("name", OTHERS)
@settings(max_examples=50, deadline=None)
@given(events=streams())
def test_batches_and_resuming_make_no_difference(name: str, events: list[ev.Event]) -> None:
    """One frame at a time gives the same bytes; after each event, exactly what comes later."""
    whole = frames(events)
    encode = transcoder(name)
    pieces = [encode([frame]) for frame in whole]
    assert b"".join(pieces) == transcoder(name)(whole)
    for after in range(len(whole)):
        assert transcoder(name, after)(whole) == b"".join(pieces[after:])


@pytest.mark.parametrize("name", OTHERS)
@settings(max_examples=50, deadline=None)
@given(events=streams())
def test_a_snapshot_is_valid_too(name: str, events: list[ev.Event]) -> None:
    fold = Snapshot()
    CHECKERS[name](transcoder(name)(fold.feed(frames(events)) + fold.flush()))


@pytest.mark.parametrize("name", OTHERS)
def test_nothing_of_a_provider_breaks_the_framing(name: str) -> None:
    for text in ("\r", "\n\n", "\r\n", "\0", "data: x", "id: 9\n", "\ufeff", "\x85\u2028\u2029"):
        events = [
            ev.StreamStart("evt_1", 1, text, text, {text: text}),
            ev.StepStart("evt_2", 1),
            ev.TextStart("evt_3", 1, text),
            ev.TextDelta("evt_4", 1, text, text),
            ev.TextComplete("evt_5", 1, text),
            ev.ToolCall("evt_6", 1, text, text, {text: text}, text),
            ev.StepFinish("evt_7", 1),
            ev.StreamEnd("evt_8", 1, FinishReason.STOP, None),
        ]
        body = transcoder(name)(frames(events))
        CHECKERS[name](body)
        assert len(body.decode().splitlines()) == body.count(b"\n")
