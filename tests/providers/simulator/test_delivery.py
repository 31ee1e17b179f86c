"""Frames become timed steps; each layer does its one thing, and counts stay exact."""

import gzip
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellstream.providers.simulator.delivery import MAX_SECONDS, Cut, Step, deliver
from tellstream.providers.simulator.script import parse_model
from tellstream.providers.simulator.wire import Frame

HEAD = b"HEAD"
FRAMES = [Frame(b"open;"), Frame(b"one;", 1), Frame(b"two;", 1), Frame(b"end;")]
BODY = b"open;one;two;end;"
EXTRA = Frame(b"EXTRA;")


def steps(options: str, frames: list[Frame] = FRAMES) -> list[Step]:
    script = parse_model(f"sim:{options}")
    return list(deliver(script, HEAD, frames, EXTRA, b"ping;"))


def body(said: list[Step]) -> tuple[bytes, bool]:
    """Return the body and whether it was ended properly."""
    data = b"".join(step.data for step in said).removeprefix(HEAD)
    parts = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        count = int(size, 16)
        assert data[count : count + 2] == b"\r\n"
        if not count:
            assert data == b"\r\n"
            return parts, True
        parts, data = parts + data[:count], data[count + 2 :]
    return parts, False


def tokens(said: list[Step]) -> tuple[int, int]:
    return sum(step.frames for step in said), sum(step.tokens for step in said)


def times(said: list[Step]) -> list[float]:
    return [round(step.at, 6) for step in said]


def test_without_faults_each_frame_is_a_chunk_at_once() -> None:
    said = steps("")
    assert [step.data for step in said] == [
        HEAD,
        b"5\r\nopen;\r\n",
        b"4\r\none;\r\n",
        b"4\r\ntwo;\r\n",
        b"4\r\nend;\r\n",
        b"0\r\n\r\n",
    ]
    assert set(times(said)) == {0.0}
    assert tokens(said) == (4, 2)


def test_the_first_token_leaves_with_the_opening_and_the_rest_at_its_pace() -> None:
    said = steps("head_ms=100,first_ms=20,delay_ms=3")
    assert times(said) == [0.1, 0.12, 0.12, 0.123, 0.126, 0.126]


def test_all_that_opens_an_answer_leaves_with_its_first_token() -> None:
    said = steps("first_ms=20,delay_ms=3", [Frame(b"a"), Frame(b"b"), Frame(b"c"), *FRAMES[1:]])
    assert times(said) == [0.0, 0.02, 0.02, 0.02, 0.02, 0.023, 0.026, 0.026]
    assert times(steps("delay_ms=3", FRAMES[1:3])) == [0.0, 0.0, 0.003, 0.003]


@pytest.mark.parametrize(("fault", "cut"), [("reset", Cut.RESET), ("eof", Cut.EOF)])
@pytest.mark.parametrize("at", range(6))
def test_a_cut_happens_at_its_frame_or_after_the_last(fault: str, cut: Cut, at: int) -> None:
    said = steps(f"fault={fault},at={at}")
    assert said[-1].cut is cut
    assert body(said) == (b"".join(frame.data for frame in FRAMES[:at]), False)


def test_an_end_is_proper_but_early() -> None:
    assert body(steps("fault=end,at=2")) == (b"open;one;", True)


def test_a_stall_lasts_as_long_as_a_response_may() -> None:
    said = steps("fault=stall,at=2")
    assert body(said) == (b"open;one;", False)
    assert (said[-1].at, said[-1].cut) == (MAX_SECONDS, Cut.EOF)


@pytest.mark.parametrize("fault", ["reset", "eof", "stall"])
def test_before_the_head_there_is_only_the_cut(fault: str) -> None:
    (only,) = steps(f"fault={fault},at=-1,head_ms=5")
    assert only.cut is not None
    assert not only.data


@pytest.mark.parametrize("byte", range(len(BODY) + 3))
def test_a_cut_after_exactly_so_many_bytes(byte: int) -> None:
    said = steps(f"fault=eof,byte={byte}")
    assert body(said) == (BODY[:byte], False)
    assert said[-1].cut is Cut.EOF
    assert tokens(said)[1] == (byte >= 9) + (byte >= 13)
    assert body(steps(f"fault=end,byte={byte}")) == (BODY[:byte], True)


@pytest.mark.parametrize("fault", ["garble", "badutf8", "hugeevent"])
def test_an_extra_frame_is_put_before_its_frame(fault: str) -> None:
    assert body(steps(f"fault={fault},at=2")) == (b"open;one;EXTRA;two;end;", True)
    assert body(steps(f"fault={fault},at=99")) == (BODY + b"EXTRA;", True)


def test_an_error_frame_is_the_last_one() -> None:
    assert body(steps("fault=error,at=2")) == (b"open;one;EXTRA;", True)


def test_together_is_one_step() -> None:
    said = steps("together=1,first_ms=4,delay_ms=9")
    assert len(said) == 3
    assert times(said) == [0.0, 0.004, 0.004]
    assert body(said) == (BODY, True)
    assert tokens(said) == (4, 2)
    cut = steps("together=1,fault=eof,at=2")
    assert body(cut) == (b"open;one;", False)
    assert len(cut) == 3


def test_pings_fill_the_waiting_and_move_nothing() -> None:
    said = steps("pings=1,ping_ms=2,first_ms=5,delay_ms=3")
    plain = [step for step in said if b"ping" not in step.data]
    assert plain == steps("first_ms=5,delay_ms=3")
    assert times([step for step in said if b"ping" in step.data]) == [0.002, 0.004, 0.007, 0.01]


def test_a_wire_without_pings_is_silent() -> None:
    script = parse_model("sim:pings=1,gzip=1,first_ms=5000")
    plain = parse_model("sim:gzip=1,first_ms=5000")
    assert list(deliver(script, HEAD, FRAMES, EXTRA, b"")) == list(
        deliver(plain, HEAD, FRAMES, EXTRA, b"")
    )


def test_pings_go_on_in_a_stall() -> None:
    said = steps("pings=1,fault=stall,at=1")
    assert sum(b"ping" in step.data for step in said) == MAX_SECONDS - 1


def test_gzip_flushes_every_frame() -> None:
    said = steps("gzip=1")
    packed, ended = body(said)
    assert ended
    assert gzip.decompress(packed) == BODY
    assert tokens(said) == (4, 2)
    assert body(steps("gzip=1,fault=eof,at=2"))[1] is False


@given(st.integers(1, 20))
def test_pieces_have_their_size_and_lose_nothing(size: int) -> None:
    said = steps(f"chunk={size}")
    sizes = [int(step.data.partition(b"\r\n")[0], 16) for step in said[1:-1]]
    assert set(sizes[:-1]) <= {size}
    assert sizes[-1] <= size
    assert body(said) == (BODY, True)
    assert tokens(said) == (4, 2)


@given(st.integers(1, 20), st.integers(0, len(BODY)))
def test_pieces_before_a_cut_lose_nothing(size: int, byte: int) -> None:
    said = steps(f"chunk={size},fault=reset,byte={byte}")
    assert body(said) == (BODY[:byte], False)
    assert said[-1].cut is Cut.RESET


def test_a_drip_paces_bytes() -> None:
    said = steps("drip=1,delay_ms=2,first_ms=10", FRAMES[:2])
    assert body(said) == (b"open;one;", True)
    assert times(said[1:-1]) == [round(0.010 + 0.002 * i, 6) for i in range(9)]
    assert times(steps("drip=1,chunk=5,delay_ms=2", FRAMES[:2])[1:-1]) == [0.0, 0.002]


def test_an_endless_body_is_made_as_it_is_sent() -> None:
    script = parse_model("sim:chunk=3,delay_ms=1")
    forever = iter(lambda: Frame(b"word", 1), None)
    said = list(islice(deliver(script, HEAD, forever, EXTRA, b""), 10_000))
    assert times(said) == sorted(times(said))
