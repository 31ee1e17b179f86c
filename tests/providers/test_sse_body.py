"""A body is server-sent events, or it is found out at its first visible byte."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellstream.core.sse import MAX_EVENT_BYTES, ServerSentEvent
from tellstream.providers.sse_body import SseBody


def read(*chunks: bytes) -> tuple[list[ServerSentEvent], str | None]:
    body = SseBody()
    events = [event for chunk in chunks for event in body.feed(chunk)]
    failure = body.overflow or body.failure()
    return events, None if failure is None else failure.code


def test_events_are_decoded_and_there_is_no_failure() -> None:
    assert read(b"data: 1\n\n") == ([ServerSentEvent("message", b"1")], None)


def test_a_bare_error_line_is_an_event_named_error() -> None:
    assert read(b"error: x\n") == ([ServerSentEvent("error", b"x")], None)


@pytest.mark.parametrize("body", [b"", b" \r\n\t\n", b"\xef\xbb\xbf", b": ping\n\n", b"OK"])
def test_a_body_without_events_is_no_failure_of_its_own(body: bytes) -> None:
    assert read(body) == ([], None)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error":{"code":429}}', "provider_rate_limited"),
        (b'{"error":"overloaded"}', "provider_unavailable"),
        (b'{"code":503,"error":"soon"}', "provider_unavailable"),
        (b'[{"error":{"code":400}}]', "provider_rejected"),
        (b"{}", "provider_protocol"),
        (b'{"id":1}', "provider_protocol"),
        (b"[{}]", "provider_protocol"),
        (b"[7]", "provider_protocol"),
        (b'{"error":""}', "provider_protocol"),
        (b'{"error":{"code":429}', "provider_protocol"),
        (b"<html>", "provider_protocol"),
        (b"[DONE]", "provider_protocol"),
    ],
)
@pytest.mark.parametrize("before", [b"", b"\r\n \t", b"\xef\xbb\xbf"])
def test_a_body_that_is_something_else_is_judged_the_same_however_it_is_cut(
    before: bytes, body: bytes, code: str
) -> None:
    whole = before + body
    assert read(whole) == ([], code)
    assert read(*(whole[i : i + 1] for i in range(len(whole)))) == ([], code)


def test_events_after_a_foreign_beginning_do_not_count() -> None:
    assert read(b"<html>\n\n", b"data: 1\n\n") == ([], "provider_protocol")


@pytest.mark.parametrize("first", [b"d", b":", b"e"])
def test_only_the_first_visible_byte_tells(first: bytes) -> None:
    assert read(first, b"\n\n<html>{\n\ndata: 1\n\n") == (
        [ServerSentEvent("message", b"1")],
        None,
    )


def test_of_a_foreign_body_only_the_beginning_is_kept() -> None:
    body = SseBody()
    for _ in range(200):
        body.feed(b"<" * 1024)
    assert body._foreign is not None
    assert len(body._foreign) == 64 * 1024


def test_a_line_beyond_the_cap_is_a_failure_after_the_events_before_it() -> None:
    events, code = read(b"data: 1\n\n:" + b"x" * MAX_EVENT_BYTES, b"\n\ndata: 2\n\n")
    assert (events, code) == ([ServerSentEvent("message", b"1")], "provider_protocol")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40), st.lists(st.integers(min_value=0, max_value=40), max_size=5))
def test_any_split_of_any_bytes_is_the_same(raw: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(raw)]
    assert read(*(raw[i:j] for i, j in itertools.pairwise(edges))) == read(raw)
