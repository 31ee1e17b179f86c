"""Refusals, credentials and the calls with one answer, on real sockets, by both clients."""

import threading
from collections.abc import Iterable
from typing import Any

import pytest

from client.readers import FAST, call, read
from client.scripted import (
    CLOSED,
    STREAM_ID,
    Action,
    Asked,
    Reset,
    Scripted,
    answer,
    frames_of,
    refused,
    story,
)
from tellstream.client import (
    AnswerError,
    ApiError,
    AsyncTellstream,
    AuthenticationError,
    ConnectionFailedError,
    InvalidRequestError,
    Model,
    NotFoundError,
    RateLimitError,
    ResumePolicy,
    ServiceUnavailableError,
    StreamProtocolError,
    StreamState,
    Tellstream,
    Timeouts,
)
from tellstream.core.usage import Usage

EVENTS = story("Hello")
BODY = b"".join(frames_of(EVENTS))
STATE = {"id": STREAM_ID, "state": "finished", "model": "m", "provider": "p", "created_at": 1,
         "finished_at": 2, "finish_reason": "Stop", "usage": None, "estimated": False,
         "attempts": [], "newer": 1}  # fmt: skip
ANSWER = {"stream_id": STREAM_ID, "model": "m", "provider": "p", "text": "Hi", "thinking": "",
          "tool_calls": [], "finish_reason": "Stop", "citations": [],
          "usage": {"prompt_tokens": 1, "completion_tokens": 2}}  # fmt: skip
kinds = pytest.mark.parametrize("kind", ["async", "sync"])


# --- refusals ------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize(
    ("status", "error_class"),
    [(422, InvalidRequestError), (429, RateLimitError), (503, ServiceUnavailableError)],
)
def test_a_refused_start_is_final(kind: str, status: int, error_class: type[AnswerError]) -> None:
    with Scripted([refused(status, "no", Retry_After="1")], [CLOSED, BODY]) as server:
        got = read(kind, server.url)
    assert isinstance(got.error, error_class)
    assert (got.error.code, got.error.message) == ("no", "Because of no.")
    assert got.error.retry_after == 1
    assert len(server.asked) == 1


@kinds
def test_a_refusal_whose_body_breaks_off_keeps_its_status(kind: str) -> None:
    with Scripted([refused(429, "no")[:-9], Reset()]) as server:
        got = read(kind, server.url)
    assert isinstance(got.error, RateLimitError)


@kinds
@pytest.mark.parametrize(
    "said",
    [
        answer(200, {"data": 1}, Content_Type="application/json"),
        answer(302, b"", Location="http://127.0.0.1:1/"),
        answer(204, b""),
        CLOSED.replace(STREAM_ID.encode(), b"../../x"),
    ],
    ids=["json", "redirect", "nothing", "odd id"],
)
def test_an_answer_that_is_no_stream_is_an_error(kind: str, said: bytes) -> None:
    with Scripted([said]) as server:
        got = read(kind, server.url)
    assert isinstance(got.error, StreamProtocolError)
    assert len(server.asked) == 1


@kinds
def test_a_stream_that_fails_yields_its_events_and_raises_when_asked(kind: str) -> None:
    events = story("Hel", error="upstream_truncated")
    with Scripted([CLOSED, *frames_of(events)]) as server:
        got = read(kind, server.url)
    assert (got.events, got.error) == (events, None)
    assert got.transcript.error is not None
    assert got.transcript.error.error_type == "upstream_truncated"


# --- credentials ---------------------------------------------------------------------------------


class Keys:
    """A source of tokens: t1, t2 ..."""

    def __init__(self) -> None:
        self.given = 0

    def __call__(self) -> str:
        self.given += 1
        return f"t{self.given}"

    async def later(self) -> str:
        return self()


@kinds
def test_a_refused_token_is_replaced_and_the_new_one_kept(kind: str) -> None:
    def check(asked: Asked) -> Iterable[Action]:
        good = {"POST": "Bearer t2", "GET": "Bearer t3"}[asked.method]
        if asked.headers["authorization"] != good:
            return [refused(401, "invalid_token")]
        return [CLOSED, BODY[:200] if asked.method == "POST" else BODY]

    keys = Keys()
    with Scripted(check) as server:
        got = read(kind, server.url, token=keys)
    assert got.events == EVENTS
    assert [asked.headers["authorization"][-2:] for asked in server.asked] == [
        "t1", "t2", "t2", "t3",
    ]  # fmt: skip
    assert keys.given == 3


@kinds
def test_two_refusals_in_a_row_are_final(kind: str) -> None:
    keys = Keys()
    with Scripted([refused(401, "invalid_token")]) as server:
        got = read(kind, server.url, token=keys)
        fixed = read(kind, server.url, token="only")
    assert isinstance(got.error, AuthenticationError)
    assert isinstance(fixed.error, AuthenticationError)
    assert keys.given == 2
    assert len(server.asked) == 3


def test_the_source_of_tokens_may_be_async() -> None:
    with Scripted([refused(401, "invalid_token")], [CLOSED, BODY]) as server:
        got = read("async", server.url, token=Keys().later)
    assert got.events == EVENTS
    assert server.asked[1].headers["authorization"] == "Bearer t2"


@kinds
@pytest.mark.parametrize("token", ["", "a b", "a\r\nX: y", "\u00e9"])
def test_a_token_that_no_header_can_hold_is_refused_and_not_repeated(kind: str, token: str) -> None:
    for source in (token, lambda: token):
        with pytest.raises(ValueError, match="access token") as raised:
            read(kind, "http://127.0.0.1:1", token=source)
        assert not token or token not in str(raised.value)


@kinds
def test_what_the_source_raises_comes_through(kind: str) -> None:
    def broken() -> str:
        raise StopIteration

    with pytest.raises((StopIteration, RuntimeError)):
        read(kind, "http://127.0.0.1:1", token=broken)


# --- calls ---------------------------------------------------------------------------------------


@kinds
def test_chat_gives_the_whole_answer(kind: str) -> None:
    with Scripted([answer(200, {"data": ANSWER})]) as server:
        got = call(kind, server.url, "chat", "Hello")
    assert (got.text, got.usage) == ("Hi", Usage(1, 2))
    assert (server.asked[0].method, server.asked[0].path) == ("POST", "/v1/chat")
    assert server.asked[0].headers["x-tenant"] == "1"


@kinds
def test_chat_is_not_sent_again_once_the_server_may_have_seen_it(kind: str) -> None:
    with (
        Scripted([b""], [answer(200, {"data": ANSWER})]) as server,
        pytest.raises(ConnectionFailedError) as raised,
    ):
        call(kind, server.url, "chat", "Hello")
    assert len(server.asked) == 1
    assert raised.value.idempotency_key == server.asked[0].headers["idempotency-key"]


@kinds
def test_models_state_and_cancel_are_sent_again_until_an_answer_comes(kind: str) -> None:
    models = {"data": [{"id": "a", "default": True}, {"id": "b"}]}
    with Scripted([b""], [Reset()], [answer(200, models)]) as server:
        assert call(kind, server.url, "models") == [Model("a", default=True), Model("b")]
    for name, status in (("state", 200), ("cancel", 202)):
        said = answer(status, {"data": STATE})
        with Scripted([said[:60]], [said]) as server:
            got = call(kind, server.url, name, STREAM_ID)
        assert isinstance(got, StreamState)
        assert (got.id, got.finish_reason) == (STREAM_ID, "Stop")
        assert STREAM_ID in server.asked[1].path


@kinds
def test_calls_raise_what_the_server_says(kind: str) -> None:
    with Scripted([refused(404, "not_found")]) as server, pytest.raises(NotFoundError):
        call(kind, server.url, "state", STREAM_ID)
    for said in (b"", b"{}", b'{"data":{}}', b"\xff"):
        with Scripted([answer(200, said)]) as server, pytest.raises(StreamProtocolError):
            call(kind, server.url, "state", STREAM_ID)
    with (
        Scripted([answer(200, b"x" * (17 * 1024 * 1024))]) as server,
        pytest.raises(StreamProtocolError, match="size"),
    ):
        call(kind, server.url, "state", STREAM_ID)


@kinds
def test_where_nobody_listens_a_call_fails_within_its_budget(kind: str) -> None:
    with Scripted([b""]) as server:
        pass
    with pytest.raises(ConnectionFailedError):
        call(kind, server.url, "models", policy=FAST._replace(start=0.05))


# --- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize("client_class", [AsyncTellstream, Tellstream])
def test_arguments_that_cannot_work_are_refused_at_once(
    client_class: type[AsyncTellstream] | type[Tellstream],
) -> None:
    good: dict[str, Any] = {"url": "http://h", "token": "t", "tenant": 1}
    for bad in (
        {"url": "h:80"},
        {"url": "ftp://h"},
        {"url": "http://"},
        {"url": "http://h:x"},
        {"timeouts": Timeouts(read=0)},
        {"timeouts": Timeouts(connect=float("nan"))},
        {"policy": ResumePolicy(give_up=-1)},
        {"policy": ResumePolicy(cap=float("inf"))},
        {"policy": ResumePolicy(start=86_401)},
    ):
        with pytest.raises(ValueError, match=r"seconds|address"):
            client_class(**{**good, **bad})
    client = client_class(**good)
    for stream_id in ("", "../x", "a/b", "a?b", "x" * 129):
        with pytest.raises(ValueError, match="not the id"):
            client.resume(stream_id)
    for after in (-1, 10**9):
        with pytest.raises(ValueError, match="after"):
            client.resume(STREAM_ID, after)
    for key in ("", "a b", "\u00e9", 'a"b', "a\\b", "x" * 256):
        with pytest.raises(ValueError, match="idempotency"):
            client.stream("Hello", idempotency_key=key)


def test_fields_that_are_none_are_left_out_and_a_path_in_the_address_is_kept() -> None:
    with Scripted([CLOSED, BODY]) as server:
        got = read("sync", server.url + "/api", fields={"model": None, "metadata": {"a": "b"}})
    assert got.error is None
    assert server.asked[0].path == "/api/v1/chat/stream"
    assert server.asked[0].body == b'{"prompt":"Hello","metadata":{"a":"b"}}'


def test_many_threads_whose_token_was_refused_share_the_next_one() -> None:
    keys = Keys()
    count = 8
    barrier = threading.Barrier(count)

    def check(asked: Asked) -> Iterable[Action]:
        if asked.headers["authorization"] == "Bearer t1":
            barrier.wait(10)
            return [refused(401, "invalid_token")]
        return [answer(200, {"data": []})]

    with Scripted(check) as server, Tellstream(server.url, keys, 1, policy=FAST) as client:
        threads = [threading.Thread(target=client.models) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(server.asked) == 2 * count
    assert keys.given == 2


def test_every_error_can_be_caught_as_one() -> None:
    with Scripted([refused(500, "server_error")]) as server, pytest.raises(ApiError):
        call("sync", server.url, "models")
