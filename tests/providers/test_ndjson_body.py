"""Lines of JSON, however the bytes are cut, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellstream.providers.ndjson_body import MAX_LINE_BYTES, NdjsonBody


def read(*chunks: bytes) -> tuple[list[bytes], str | None]:
    body = NdjsonBody()
    lines = [line for chunk in chunks for line in body.feed(chunk)] + body.eof()
    failure = body.overflow or body.failure()
    return lines, None if failure is None else failure.code


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1}\n{"b":2}\n',
        b'{"a":1}\n{"b":2}',
        b'{"a":1}\r\n\r\n{"b":2}\r\n',
        b'\xef\xbb\xbf\n {"a":1} \n\n\n{"b":2}\n ',
    ],
)
def test_each_line_is_given_out_once(body: bytes) -> None:
    assert read(body) == ([b'{"a":1}', b'{"b":2}'], None)


def test_a_line_is_given_out_as_soon_as_it_ends() -> None:
    body = NdjsonBody()
    assert body.feed(b'{"a"') == []
    assert body.feed(b':1}\n{"b"') == [b'{"a":1}']
    assert body.eof() == [b'{"b"']
    assert body.eof() == []


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\xef\xbb\xbf"])
def test_an_empty_body_is_no_failure_of_its_own(body: bytes) -> None:
    assert read(body) == ([], None)


@pytest.mark.parametrize("chunks", [(b"<!doctype html>\n<p>\n",), (b"\n ", b"<", b"html>\n")])
def test_a_page_is_no_answer(chunks: tuple[bytes, ...]) -> None:
    assert read(*chunks) == ([], "provider_protocol")


def test_a_line_that_is_too_long_ends_the_body() -> None:
    long = b"x" * MAX_LINE_BYTES
    assert read(b"1\n" + long + b"\n2\n") == ([b"1", long, b"2"], None)
    assert read(b"1\n" + long + b"x\n2\n") == ([b"1"], "provider_protocol")
    assert read(b"1\n", long, b"x", b"\n2\n") == ([b"1"], "provider_protocol")


@given(
    st.lists(st.sampled_from([b"{", b"<", b" ", b"\n", b"\r", b"\xef", b"\xbb", b"\xbf", b"x"])),
    st.data(),
)
def test_every_split_gives_the_same_lines(pieces: list[bytes], data: st.DataObject) -> None:
    body = b"".join(pieces)
    at = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5)))
    chunks = [body[a:b] for a, b in zip([0, *at], [*at, len(body)], strict=True)]
    assert read(*chunks) == read(body)
