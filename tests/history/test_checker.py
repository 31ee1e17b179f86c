"""The checker, tested against histories that are wrong on purpose, and against right ones."""

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from history.checker import RETRY, check, read_log, take_apart
from history.facts import Call, Cancelled, History, How, RequestFacts, StreamFacts, View
from tellstream.core import events as ev
from tellstream.core.frames import KEEP_ALIVE, decode_frame, encode_frames
from tellstream.core.ids import EventIds
from tellstream.core.usage import FinishReason, Usage

WORDS = [f" word{n}" for n in range(6)]
TEXT = "".join(WORDS)
HEAD = 5 + len(WORDS) + 1
"""stream_start, step_start, text_start, the words, text_complete, step_finish, stream_end."""
TIME = 1_700_000_000
USAGE = Usage(7, 9, None, 0, None)


def ending(reason: FinishReason) -> list[bytes]:
    """A whole log that ends so."""
    ids = EventIds(1)

    def common() -> tuple[str, int]:
        return ids.next(TIME * 1000), TIME

    events: list[ev.Event] = [
        ev.StreamStart(*common(), model="m", provider="p"),
        ev.StepStart(*common()),
        ev.TextStart(*common(), message_id="evt_message"),
        *(ev.TextDelta(*common(), delta=word, message_id="evt_message") for word in WORDS),
        ev.TextComplete(*common(), message_id="evt_message"),
        ev.StepFinish(*common()),
        ev.StreamEnd(*common(), finish_reason=reason, usage=USAGE),
    ]
    return encode_frames(1, events)


def failing(code: str) -> list[bytes]:
    """The log of a stream that failed before anything was said."""
    events: list[ev.Event] = [
        ev.StreamStart("evt_1", TIME, model="m", provider="p"),
        ev.Error("evt_2", TIME, error_type=code, message="no", recoverable=False),
        ev.StreamEnd("evt_3", TIME, finish_reason=FinishReason.ERROR, usage=USAGE),
    ]
    return encode_frames(1, events)


def state(stream_id: str, reason: FinishReason) -> dict[str, Any]:
    return {
        "id": stream_id,
        "state": "finished",
        "finish_reason": str(reason),
        "finished_at": TIME,
        "usage": msgspec.to_builtins(USAGE),
        "estimated": False,
    }


def row(stream_id: str) -> dict[str, Any]:
    usage = msgspec.to_builtins(USAGE)
    return {"stream": stream_id, "streams": 1, **usage, "estimated_streams": 0, "cost": None}


LOG = ending(FinishReason.STOP)


def body(first: int = 1, last: int = HEAD) -> bytes:
    return b"".join(LOG[first - 1 : last])


def stream(stream_id: str, frames: list[bytes], reason: FinishReason) -> StreamFacts:
    return StreamFacts(
        stream_id,
        log=b"".join(frames),
        state=state(stream_id, reason),
        rows=[row(stream_id)],
        text=TEXT,
    )


def right() -> History:
    """Two streams, all that may happen to their readers, and nothing wrong."""
    first = stream("str_1", LOG, FinishReason.STOP)
    first.views = [
        View("a", 0, body(1, 3) + LOG[3][:20], How.CUT, start=True),
        View("a", 3, KEEP_ALIVE + body(4, 5) + RETRY, How.CLEAN),
        View("a", 5, body(6) + KEEP_ALIVE, How.CLEAN),
        View("b", 0, b"", How.STATUS, 503, "service_unavailable"),
        View("b", 0, body(1, 2) + KEEP_ALIVE[:4], How.BROKEN),
        View("b", 2, RETRY + body(3), How.CLEAN),
        View("b", HEAD, b"", How.STATUS, 204),
    ]
    second = stream("str_2", ending(FinishReason.CANCELLED), FinishReason.CANCELLED)
    running = {**state("str_2", FinishReason.CANCELLED), "state": "running", "finish_reason": None}
    second.cancels = [
        Cancelled(TIME + 0.5, running),
        Cancelled(TIME + 2.5, state("str_2", FinishReason.CANCELLED)),
    ]
    early = stream("str_3", failing("provider_auth"), FinishReason.ERROR)
    early.views = [View("c", 0, b"", How.STATUS, 502, "provider_auth", start=True)]
    refusal = View("a", 0, b"", How.STATUS, 503, "service_unavailable", start=True)
    return History(
        [first, second, early],
        [
            RequestFacts("one", "key", ["str_1", "str_1"], [Call("complete", 7, 9)], 1, [refusal]),
            RequestFacts("two", None, ["str_2"], [Call("client_closed", 7, 9)]),
            RequestFacts("three", None, ["str_3"], [Call("faulted", 0, 0)] * 2, 2),
        ],
    )


def test_a_right_history_passes() -> None:
    assert check(right()) == []


def test_a_calm_history_passes() -> None:
    history = right()
    history.calm = True
    history.requests[0].refusals.clear()
    history.streams[0].views = [
        View("a", 0, body(1, 4), How.CUT, start=True),
        View("a", 4, KEEP_ALIVE + body(5), How.CLEAN),
        View("a", HEAD, b"", How.STATUS, 204),
    ]
    assert check(history) == []


# --- wrong on purpose ----------------------------------------------------------------------------


class Wrong(NamedTuple):
    """What is wrong: how it is made, and what is said of it."""

    name: str
    spoil: Callable[[History], object]
    said: str


def seen(seen: bytes, asked: int = 0, how: How = How.CUT) -> Callable[[History], object]:
    return lambda h: h.streams[0].views.append(View("x", asked, seen, how))


def status(status: int, code: str, asked: int = 0, **more: Any) -> Callable[[History], object]:
    view = View("x", asked, b"", How.STATUS, status, code, **more)
    return lambda h: h.streams[0].views.append(view)


def log(*frames: bytes) -> Callable[[History], object]:
    return lambda h: setattr(h.streams[0], "log", b"".join(frames))


def told(**more: Any) -> Callable[[History], object]:
    return lambda h: setattr(h.streams[0], "state", {**state("str_1", FinishReason.STOP), **more})


def billed(*rows: dict[str, Any]) -> Callable[[History], object]:
    return lambda h: setattr(h.streams[0], "rows", rows)


def calm(*views: View) -> Callable[[History], object]:
    def spoil(history: History) -> None:
        history.calm = True
        history.requests[0].refusals.clear()
        history.streams[0].views = list(views)

    return spoil


def asked(number: int, **more: Any) -> Callable[[History], object]:
    def spoil(history: History) -> None:
        for name, value in more.items():
            setattr(history.requests[number], name, value)

    return spoil


def renumbered(frame: bytes, number: int) -> bytes:
    return b"id: %d\n%b" % (number, frame.partition(b"\n")[2])


def cancelled(at: float, **more: Any) -> Callable[[History], object]:
    acknowledged = Cancelled(at, {**state("str_1", FinishReason.STOP), **more})
    return lambda h: h.streams[0].cancels.append(acknowledged)


END = LOG[-1]
OTHER = renumbered(ending(FinishReason.STOP)[4].replace(b"word1", b"wort1"), 5)


def given_up(history: History) -> None:
    events = [decode_frame(frame)[1] for frame in LOG[:6]]
    error = ev.Error("evt_8", TIME, error_type="worker_lost", message="", recoverable=False)
    history.streams[0].log = b"".join(encode_frames(1, [*events, error]))
    history.workers_kept = True


WRONG = [
    # What readers saw.
    Wrong("a gap", seen(body(1, 3) + body(5, 6)), "a gap: frame 5 after 3"),
    Wrong("a duplicate", seen(body(1, 3) + body(3, 6)), "frame 3 again, after 3"),
    Wrong("an old frame", seen(body(1, 5) + body(2, 2)), "frame 2 again, after 5"),
    Wrong("two in wrong order", seen(body(1, 3) + LOG[4] + LOG[3]), "a gap: frame 5 after 3"),
    Wrong("other bytes", seen(body(1, 4) + OTHER), "frame 5 is another than the log's"),
    Wrong("other bytes, cut", seen(body(1, 4) + OTHER[:-9]), "the beginning of frame 5 is another"),
    Wrong("begins too late", seen(body(5, 6), 3), "begins with frame 5 instead of 4"),
    Wrong("begins too early", seen(body(3, 6), 3), "begins with frame 3 instead of 4"),
    Wrong(
        "a frame of another stream",
        seen(body(1, 3) + renumbered(LOG[5].replace(b"word2", b"foreign"), 4)),
        "frame 4 is another than the log's",
    ),
    Wrong("beyond the end", seen(END + renumbered(END, HEAD + 1), HEAD - 1), "but the log ends"),
    Wrong("the tail is lost", log(*LOG[:6]), "saw frame 7, but the log ends with 6"),
    Wrong("a clean end too early", seen(body(1, 6), 0, How.CLEAN), "a clean end at 6, before"),
    Wrong("nothing at all", seen(b"", 2, How.CLEAN), "a clean end at 2, before"),
    Wrong("a clean end in a frame", seen(body()[:-9], 0, How.CLEAN), f"within frame {HEAD}"),
    Wrong("200 at the end", seen(b"", HEAD, How.CLEAN), "200 although it is at the end already"),
    Wrong("left hanging", seen(body(1, HEAD - 1), 0, How.HUNG), "still open at 11, long after"),
    Wrong("an empty event", seen(body(1, 3) + b"\n" + body(4)), "where frame 4 should be: b'\\n'"),
    Wrong(
        "a comment in a frame",
        seen(LOG[0][:-1] + KEEP_ALIVE + b"\n" + LOG[1]),
        "frame 1 is another than the log's",
    ),
    Wrong("a line that is no frame", seen(b"hello\n\n"), "where frame 1 should be: b'hello"),
    Wrong("never at the end", lambda h: h.streams[0].unended.append("x"), "x: never came to the"),
    # Statuses.
    Wrong("204 too early", status(204, "", 3), f"204 although the log has {HEAD} frames"),
    Wrong("404", status(404, "not_found", 3), "404: the stream is unknown"),
    Wrong("409", status(409, "conflict", 3), "409: the stream is shorter than what was seen"),
    Wrong("410", status(410, "gone", 3), "410: the stream is gone"),
    Wrong("500", status(500, "server_error"), "unexpected status 500 server_error"),
    Wrong(
        "an early failure of a stream that did not fail",
        status(502, "provider_auth", start=True),
        "unexpected status 502 provider_auth",
    ),
    # The log.
    Wrong("no end", log(*LOG[:-1]), "the log has no stream_end"),
    Wrong("two ends", log(*LOG, renumbered(END, HEAD + 1)), "the log has 2 stream_ends"),
    Wrong("goes on", log(*LOG, renumbered(LOG[1], HEAD + 1)), "goes on after stream_end"),
    Wrong("a hole", log(*LOG[:4], *LOG[5:]), "the log's frame 5 has number 6"),
    Wrong("cut off", log(*LOG, b"id: 99"), "the log stops within a frame"),
    Wrong("no frame", log(*LOG[:-1], b"id: 12\nevent: x\ndata: {}\n\n"), "is not a native frame"),
    Wrong(
        "not grammatical",
        log(*LOG[:9], *(renumbered(f, n) for n, f in enumerate(LOG[10:], 10))),
        "the log is not grammatical: step_finish in state text",
    ),
    Wrong(
        "ids that fall",
        log(*LOG[:3], renumbered(LOG[4], 4), renumbered(LOG[3], 5), *LOG[5:]),
        "the ids of the log's events do not rise",
    ),
    Wrong("other text", lambda h: setattr(h.streams[0], "text", "x" + TEXT), "is not the model's"),
    Wrong(
        "less text", lambda h: setattr(h.streams[0], "text", TEXT + "!"), "ends with Stop after 36"
    ),
    # What the servers say.
    Wrong("no state", lambda h: setattr(h.streams[0], "state", None), "it has no state"),
    Wrong("still running", told(state="running"), "its state is that of str_1, running"),
    Wrong("another's state", told(id="str_9"), "its state is that of str_9, finished"),
    Wrong("another reason", told(finish_reason="Error"), "its state says Error, its log Stop"),
    Wrong("other usage in the state", told(usage=None), "its state says None, its log {"),
    Wrong("no usage row", billed(), "it has 0 settled usage rows"),
    Wrong("two usage rows", billed(row("str_1"), row("str_1")), "it has 2 settled usage rows"),
    Wrong("two in one", billed({**row("str_1"), "streams": 2}), "it has 2 settled usage rows"),
    Wrong("other usage", billed({**row("str_1"), "completion_tokens": 8}), "usage row says {"),
    Wrong("estimated", billed({**row("str_1"), "estimated_streams": 1}), "counts 1 estimated"),
    # Cancels.
    Wrong(
        "cancelled, then not",
        cancelled(TIME, finish_reason="Cancelled"),
        "told Cancelled, but it ended with Stop",
    ),
    Wrong(
        "went on after a cancel",
        cancelled(TIME - 2.0, state="running", finish_reason=None),
        "it said more 2.000 s after a cancel was acknowledged",
    ),
    # What was asked.
    Wrong("two streams for a key", asked(0, streams=["str_1", "str_2"]), "one request made 2"),
    Wrong("two streams for none", asked(2, streams=["str_3", "str_2"]), "one request made 2"),
    Wrong("two calls", asked(0, calls=[Call("complete", 7, 9)] * 2), "2 calls of the provider"),
    Wrong("three calls", asked(2, calls=[Call("faulted", 0, 0)] * 3), "3 calls of the provider"),
    Wrong("an open call", asked(1, calls=[Call("running", 7, 9)]), "still open after the end"),
    Wrong("counted otherwise", asked(0, calls=[Call("complete", 7, 8)]), "the provider counted"),
    Wrong(
        "a bad refusal",
        asked(0, refusals=[View("x", 0, b"", How.STATUS, 500, "server_error", start=True)]),
        "unexpected status 500",
    ),
    # Little or nothing was disturbed.
    Wrong("lost for nothing", given_up, "ended as worker_lost, but no worker was lost"),
    Wrong(
        "503 for nothing",
        calm(View("x", 0, b"", How.STATUS, 503, "service_unavailable")),
        "503 although no server was disturbed",
    ),
    Wrong("broken for nothing", calm(View("x", 0, body(1, 4), How.BROKEN)), "broken off at 4"),
    Wrong("advice", calm(View("x", 0, RETRY + body(), How.CLEAN)), "told to come back by a server"),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_a_wrong_history_is_refused_with_the_reason(wrong: Wrong) -> None:
    history = right()
    wrong.spoil(history)
    problems = check(history)
    assert any(wrong.said in problem for problem in problems), problems


# --- at random -----------------------------------------------------------------------------------


def sliced(random: Random) -> list[View]:
    """Right views of the log: contiguous pieces, cut anywhere, with comments in between."""
    views = []
    for reader in range(random.randint(1, 4)):
        asked = random.randint(0, HEAD - 1)
        while asked < HEAD:
            pieces = [random.choice((b"", b"", KEEP_ALIVE, RETRY)) + frame for frame in LOG[asked:]]
            whole = b"".join(pieces)
            if random.random() < 0.3:
                views.append(View(f"r{reader}", asked, whole, How.CLEAN))
                break
            cut = whole[: random.randint(0, len(whole))]
            how = random.choice((How.CUT, How.BROKEN))
            views.append(View(f"r{reader}", asked, cut, how))
            asked += len(take_apart(cut).frames)
    return views


@given(st.integers(0, 2**32))
@settings(max_examples=200)
def test_random_right_histories_pass(seed: int) -> None:
    history = right()
    history.streams[0].views = sliced(Random(seed))
    assert check(history) == []


@given(st.integers(0, 2**32))
@settings(max_examples=300)
def test_a_random_change_of_what_was_seen_is_found(seed: int) -> None:
    random = Random(seed)
    history = right()
    views = history.streams[0].views = sliced(random)
    number = random.randrange(len(views))
    view = views[number]
    frames = take_apart(view.body).frames
    if not frames:
        return  # nothing was seen that could be changed
    changed = mutated(random, frames)
    if b"".join(changed) == b"".join(frames[: len(changed)]) and view.how is not How.CLEAN:
        return  # seen less before a cut: that is right too
    views[number] = view._replace(body=b"".join(changed))
    problems = check(history)
    assert len(problems) == 1, problems
    assert problems[0].startswith(f"str_1: {view.reader} from {view.asked}: ")


def mutated(random: Random, frames: list[bytes]) -> list[bytes]:
    """Change frames: leave one out, repeat or swap some, or change a byte."""
    frames = list(frames)
    at = random.randrange(len(frames))
    match random.randrange(4):
        case 0:
            del frames[at]
        case 1:
            frames.insert(random.randrange(len(frames) + 1), frames[at])
        case 2 if len(frames) > 1:
            other = random.choice([n for n in range(len(frames)) if n != at])
            frames[at], frames[other] = frames[other], frames[at]
        case _:
            byte = random.randrange(len(frames[at]))
            damaged = bytearray(frames[at])
            damaged[byte] ^= 1 << random.randrange(8)
            frames[at] = bytes(damaged)
    return frames


def test_a_log_is_taken_apart_as_it_was_put_together() -> None:
    taken = take_apart(KEEP_ALIVE + body(1, 4) + RETRY + KEEP_ALIVE + body(5) + b"id")
    assert taken.frames == LOG
    assert (taken.rest, taken.advised) == (b"id", True)
    assert len(read_log(body()).events) == HEAD
