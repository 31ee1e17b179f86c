"""Lost connections, on real sockets: whatever the network does, each event comes exactly once."""

from collections.abc import Iterable

import pytest

from client.readers import FAST, read
from client.scripted import (
    CHUNKED,
    CLOSED,
    NO_CONTENT,
    STREAM_ID,
    Action,
    Asked,
    Hold,
    Reset,
    Scripted,
    chunk,
    frames_of,
    refused,
    story,
)
from tellstream.client import (
    ConflictError,
    ConnectionFailedError,
    ConnectionLostError,
    GoneError,
    NotFoundError,
    ResumePolicy,
    ServiceUnavailableError,
    StreamGapError,
    StreamProtocolError,
    Timeouts,
)
from tellstream.core.frames import KEEP_ALIVE

EVENTS = story("Hel", "lo")
FRAMES = frames_of(EVENTS)
BODY = b"".join(FRAMES)
kinds = pytest.mark.parametrize("kind", ["async", "sync"])


def rest(asked: Asked) -> Iterable[Action]:
    """Answer like a server: what follows the position that was asked for."""
    return [CLOSED, b"".join(FRAMES[asked.after :])]


@kinds
def test_a_stream_is_read_over_one_connection(kind: str) -> None:
    with Scripted([CHUNKED, chunk(BODY), b"0\r\n\r\n"]) as server:
        got = read(kind, server.url)
    assert got.events == EVENTS
    assert got.positions == list(range(1, len(EVENTS) + 1))
    assert got.stream_id == STREAM_ID
    assert (got.transcript.text, got.transcript.finish_reason) == ("Hello", "Stop")
    assert len(server.asked) == 1


@kinds
@pytest.mark.parametrize("way", ["end", "chunked", "reset"])
def test_a_body_cut_at_every_byte_gives_the_same_events(kind: str, way: str) -> None:
    cut = 0

    def broken(_: Asked) -> Iterable[Action]:
        match way:
            case "end":
                return [CLOSED, BODY[:cut]]
            case "chunked":
                return [CHUNKED, chunk(BODY)[: 5 + cut]]
            case _:
                return [CLOSED, BODY[:cut], Reset()]

    def turns(asked: Asked) -> Iterable[Action]:
        return broken(asked) if asked.method == "POST" else rest(asked)

    step = {"end": 1, "chunked": 3, "reset": 3}[way]  # a reset may also swallow what was sent
    with Scripted(turns) as server:
        for cut in range(0, len(BODY), step):
            got = read(kind, server.url)
            assert got.events == EVENTS, cut
            assert got.error is None
    assert all(asked.path == f"/v1/streams/{STREAM_ID}/events" for asked in server.asked[1::2])


@kinds
def test_many_cuts_in_one_stream_lose_and_repeat_nothing(kind: str) -> None:
    events = story(*(f"word {n} " for n in range(60)))
    frames = frames_of(events)

    def crumbs(asked: Asked) -> Iterable[Action]:
        whole = b"".join(frames[asked.after :])
        size = 100 + 37 * (len(server.asked) % 11)  # sometimes less than a frame
        return [CLOSED, whole[:size], *([Reset()] if len(server.asked) % 2 else [])]

    with Scripted(crumbs) as server:
        got = read(kind, server.url)
        raw = read(kind, server.url, raw=True)
    assert got.events == events
    assert raw.frames == frames
    assert got.transcript.text == "".join(f"word {n} " for n in range(60))
    assert len(server.asked) > 20


@kinds
def test_a_head_cut_at_every_byte_sends_the_same_request_again(kind: str) -> None:
    for cut in range(0, len(CLOSED), 7):
        with Scripted([CLOSED[:cut]], [CLOSED[:cut], Reset()], [CLOSED, BODY]) as server:
            got = read(kind, server.url)
        assert got.events == EVENTS
        assert [asked.method for asked in server.asked] == ["POST"] * 3
        assert len({asked.headers["idempotency-key"] for asked in server.asked}) == 1
        assert len({asked.body for asked in server.asked}) == 1


@kinds
def test_each_stream_has_an_idempotency_key_of_its_own_unless_given(kind: str) -> None:
    with Scripted([CLOSED, BODY]) as server:
        read(kind, server.url)
        read(kind, server.url)
        read(kind, server.url, fields={"idempotency_key": "mine"})
    keys = [asked.headers["idempotency-key"] for asked in server.asked]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"
    assert all(asked.body == b'{"prompt":"Hello"}' for asked in server.asked)


@kinds
def test_frames_that_came_before_are_dropped(kind: str) -> None:
    with Scripted([CLOSED, *FRAMES[:3]], [CLOSED, BODY, BODY]) as server:
        assert read(kind, server.url).events == EVENTS


@kinds
def test_a_gap_is_an_error_after_everything_before_it(kind: str) -> None:
    with Scripted([CLOSED, FRAMES[0] + FRAMES[1] + FRAMES[3], Hold()]) as server:
        got = read(kind, server.url)
        assert server.left.wait(10)
    assert got.events == EVENTS[:2]
    assert isinstance(got.error, StreamGapError)
    assert (got.error.stream_id, got.error.position, got.error.received) == (STREAM_ID, 2, 4)


@kinds
def test_a_snapshot_may_jump_and_goes_on_where_it_was(kind: str) -> None:
    with Scripted([CLOSED, FRAMES[0] + FRAMES[3]], rest) as server:
        got = read(kind, server.url, resume={"stream_id": STREAM_ID, "snapshot": True})
    assert got.events == [EVENTS[0], *EVENTS[3:]]
    assert got.positions == [1, 4, 5, 6]
    assert [asked.path.partition("?")[2] for asked in server.asked] == ["snapshot=1"] * 2
    assert server.asked[1].after == 4


@kinds
def test_line_ends_keep_alives_and_unknown_events_do_not_matter(kind: str) -> None:
    unknown = b"id: 3\nevent: from_the_future\ndata: {}\n\n"
    frames = [FRAMES[0], FRAMES[1], unknown]
    frames += [frame.replace(b"id: %d\n" % n, b"id: %d\n" % (n + 1)) for n, frame in
               enumerate(FRAMES, 1) if n > 2]  # fmt: skip
    text = KEEP_ALIVE.join([b"", *frames]).replace(b"\n", b"\r\n")
    pieces = [text[n : n + 1] for n in range(len(text))]
    with Scripted([CLOSED, *pieces]) as server:
        got = read(kind, server.url)
        raw = read(kind, server.url, raw=True)
    assert got.events == EVENTS
    assert raw.frames == frames
    assert len(server.asked) == 2


@kinds
def test_silence_beyond_the_read_timeout_is_a_lost_connection(kind: str) -> None:
    with Scripted([CLOSED, FRAMES[0], Hold()], [CLOSED, Hold()], rest) as server:
        got = read(kind, server.url, timeouts=Timeouts(read=0.15))
    assert got.events == EVENTS
    assert len(server.asked) == 3


@kinds
def test_keep_alives_are_no_silence(kind: str) -> None:
    def slow(_: Asked) -> Iterable[Action]:
        yield CLOSED + FRAMES[0]
        for _pause in range(10):
            server.left.wait(0.05)
            yield KEEP_ALIVE
        yield BODY

    with Scripted(slow) as server:
        got = read(kind, server.url, timeouts=Timeouts(read=0.4))
    assert got.events == EVENTS
    assert len(server.asked) == 1


@kinds
def test_an_overloaded_server_is_asked_again(kind: str) -> None:
    busy = [refused(status, "service_unavailable") for status in (503, 500, 502, 504, 429)]
    with Scripted([CLOSED, FRAMES[0]], *([each] for each in busy), rest) as server:
        assert read(kind, server.url).events == EVENTS
    assert len(server.asked) == 7


@kinds
def test_retry_after_and_the_retry_field_are_waited_for(kind: str) -> None:
    clock: list[float] = []

    def stamped(*actions: Action) -> Iterable[Action]:
        clock.append(monotonic())
        return actions

    from time import monotonic  # noqa: PLC0415 - near its only use

    with Scripted(
        lambda _: stamped(CLOSED, b"retry: 300\n" + FRAMES[0]),
        lambda _: stamped(refused(503, "service_unavailable", Retry_After="1")),
        lambda asked: stamped(*rest(asked)),
    ) as server:
        assert read(kind, server.url).events == EVENTS
    assert clock[1] - clock[0] >= 0.3
    assert clock[2] - clock[1] >= 1.0


@kinds
def test_a_wait_beyond_the_budget_is_not_begun(kind: str) -> None:
    busy = [refused(503, "service_unavailable", Retry_After="3000")]
    with Scripted([CLOSED, *FRAMES[:2]], busy) as server:
        got = read(kind, server.url)
    assert isinstance(got.error, ConnectionLostError)
    assert (got.error.stream_id, got.error.position) == (STREAM_ID, 2)
    assert isinstance(got.error.__cause__, ServiceUnavailableError)
    assert STREAM_ID in str(got.error)


@kinds
def test_giving_up_says_where_to_go_on(kind: str) -> None:
    policy = ResumePolicy(give_up=0.2, base=0.01, cap=0.02)
    with Scripted([CLOSED, *FRAMES[:3]], [b""]) as server:
        got = read(kind, server.url, policy=policy)
    assert isinstance(got.error, ConnectionLostError)
    assert len(server.asked) > 3
    assert got.events == EVENTS[:3]
    with Scripted(rest) as server:
        after = read(kind, server.url, resume={"stream_id": STREAM_ID, "after": got.error.position})
    assert got.events + after.events == EVENTS


@kinds
def test_without_a_budget_it_never_reconnects(kind: str) -> None:
    with Scripted([CLOSED, *FRAMES[:3]], rest) as server:
        got = read(kind, server.url, policy=FAST._replace(give_up=0))
    assert isinstance(got.error, ConnectionLostError)
    assert len(server.asked) == 1


@kinds
def test_where_nobody_listens_the_start_fails_within_its_budget(kind: str) -> None:
    with Scripted([b""]) as server:
        got = read(kind, server.url, policy=FAST._replace(start=0.1))
    assert isinstance(got.error, ConnectionFailedError)
    assert got.error.idempotency_key == server.asked[0].headers["idempotency-key"]
    assert (got.error.status, got.error.code) == (0, "connection_failed")
    nobody = read(kind, server.url, policy=FAST._replace(start=0))
    assert isinstance(nobody.error, ConnectionFailedError)


@kinds
@pytest.mark.parametrize(
    ("status", "error_class"), [(404, NotFoundError), (409, ConflictError), (410, GoneError)]
)
def test_a_refused_resumption_is_final(
    kind: str, status: int, error_class: type[Exception]
) -> None:
    with Scripted([CLOSED, FRAMES[0]], [refused(status, "whatever")]) as server:
        got = read(kind, server.url)
    assert type(got.error) is error_class
    assert got.events == EVENTS[:1]
    assert len(server.asked) == 2


@kinds
def test_resuming_at_the_end_gives_nothing(kind: str) -> None:
    with Scripted([NO_CONTENT]) as server:
        got = read(kind, server.url, resume={"stream_id": STREAM_ID, "after": 6})
    assert (got.events, got.error) == ([], None)
    assert server.asked[0].after == 6


@kinds
def test_an_end_without_stream_end_is_not_believed(kind: str) -> None:
    with Scripted([CLOSED, FRAMES[0]], [NO_CONTENT]) as server:
        got = read(kind, server.url)
    assert isinstance(got.error, StreamProtocolError)


@kinds
def test_another_stream_in_the_answer_is_an_error(kind: str) -> None:
    other = CLOSED.replace(STREAM_ID.encode(), b"str_other")
    with Scripted([CLOSED, FRAMES[0]], [other, *FRAMES[1:]]) as server:
        got = read(kind, server.url)
    assert isinstance(got.error, StreamProtocolError)
    assert got.events == EVENTS[:1]


@kinds
def test_a_stream_without_a_name_is_read_but_cannot_be_resumed(kind: str) -> None:
    unnamed = CLOSED.replace(b"X-Stream-Id", b"X-Other")
    with Scripted([unnamed, BODY], [unnamed, FRAMES[0]]) as server:
        assert read(kind, server.url).events == EVENTS
        got = read(kind, server.url)
    assert isinstance(got.error, ConnectionLostError)
    assert len(server.asked) == 2


@kinds
@pytest.mark.parametrize(
    "bad",
    [
        b"event: text_start\ndata: {}\n\n",
        b"id: x\nevent: text_start\ndata: {}\n\n",
        b"id: 2\nevent: text_start\ndata: {not json\n\n",
        b'id: 2\nevent: text_start\ndata: {"id": 1}\n\n',
        b"id: 2\nevent: text_start\ndata: " + b"x" * (5 * 1024 * 1024) + b"\n\n",
    ],
    ids=["no number", "no integer", "no JSON", "no event", "too large"],
)
def test_nonsense_is_an_error_after_everything_before_it(kind: str, bad: bytes) -> None:
    if bad.startswith(b"event"):
        bad = b"id\n" + bad
    with Scripted([CLOSED, FRAMES[0] + bad]) as server:
        got = read(kind, server.url)
    assert isinstance(got.error, StreamProtocolError)
    assert got.events == EVENTS[:1]
    assert len(server.asked) == 1


@kinds
def test_what_follows_the_end_is_not_read(kind: str) -> None:
    with Scripted([CLOSED, BODY + b"id: 7\nevent: x\ndata: y\n\n", Hold()]) as server:
        assert read(kind, server.url).events == EVENTS
        assert server.left.wait(10)
