"""A body is cut into JSON documents, whatever they stand in."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellstream.providers import gemini_body
from tellstream.providers.gemini_body import GeminiBody


def read(*chunks: bytes) -> tuple[list[bytes], str | None]:
    body = GeminiBody()
    documents = [document for chunk in chunks for document in body.feed(chunk)]
    documents += body.eof()
    failure = body.overflow or body.failure()
    return documents, None if failure is None else failure.code


@pytest.mark.parametrize(
    ("body", "documents"),
    [
        (b"", []),
        (b"data: 1\n\ndata: {}\r\n\r\n", [b"1", b"{}"]),
        (b"data: {}", [b"{}"]),
        (b"data: {\ndata: }\n\n", [b"{\n}"]),
        (b'{"a":{"b":[{}]}}', [b'{"a":{"b":[{}]}}']),
        (b"[{},\r\n{}]", [b"{}", b"{}"]),
        (b"[[{}],{}]", [b"{}"]),
        (b"[]{}", [b"{}"]),
        (b'{"a":"}{\\"]"}', [b'{"a":"}{\\"]"}']),
        (b'{"a":"\\\\"}{}', [b'{"a":"\\\\"}', b"{}"]),
        (b"data: 1\n\n{}\ndata: 2\n\n", [b"1", b"{}", b"2"]),
        (b"data: 1\n\n \t{\n}", [b"1", b"{\n}"]),
        (b"x {}\n\n", []),
        (b"{\ndata: 1\n\n", [b"{\n", b"1"]),
        (b'{"a":"\ndata: 1\n\n', [b'{"a":"\n', b"1"]),
        (b"[{},\ndata: 1\n\n", [b"{}", b"", b"1"]),
        (b"[{}", [b"{}", b""]),
        (b'{"a"', [b'{"a"']),
    ],
)
def test_documents_are_the_same_however_the_body_is_cut(
    body: bytes, documents: list[bytes]
) -> None:
    for before in (b"", b"\r\n", b"\xef\xbb\xbf"):
        whole = before + body
        assert read(whole) == (documents, None)
        assert read(*(whole[i : i + 1] for i in range(len(whole)))) == (documents, None)


def test_a_page_is_a_failure_and_only_at_the_beginning() -> None:
    assert read(b" <", b"html>\n\ndata: 1\n\n") == ([], "provider_protocol")
    assert read(b":\n<html>\n\ndata: 1\n\n") == ([b"1"], None)


@pytest.mark.parametrize("start", [b"data: ", b"{", b"[{"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_what_exceeds_the_cap_is_a_failure(
    start: bytes, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemini_body, "MAX_DOCUMENT_BYTES", 50)
    body = b"data: 1\n\n" + start + b" " * 60 + b"}\n\ndata: 2\n\n"
    chunks = [body[i : i + size] for i in range(0, len(body), size)]
    assert read(*chunks) == ([b"1"], "provider_protocol")


def test_a_long_run_of_line_ends_is_read_in_no_time() -> None:
    assert read(b"data: 1\n\n" + b"\n" * 2_000_000 + b" " * 900_000) == ([b"1"], None)


ALPHABET = st.sampled_from(
    [b"{", b"}", b"[", b"]", b'"', b"\\", b"\n", b"\r", b" ", b"d", b"data: 1\n\n", b"<", b"\xef"]
)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(ALPHABET, max_size=20).map(b"".join),
    st.lists(st.integers(min_value=0, max_value=60), max_size=6),
)
def test_any_split_of_any_bytes_is_the_same(raw: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(raw)]
    assert read(*(raw[i:j] for i, j in itertools.pairwise(edges))) == read(raw)
