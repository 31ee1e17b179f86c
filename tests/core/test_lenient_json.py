"""Strict JSON is decoded as it is; what cannot be text is replaced; the rest is refused."""

import contextlib
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellstream.core import lenient_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**70), max_value=2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_decoding_reads_back_what_encoding_wrote(value: object) -> None:
    text = lenient_json.dumps(value)
    assert lenient_json.loads(text) == value
    assert lenient_json.loads(text.encode()) == value
    assert lenient_json.loads(json.dumps(value)) == value


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_a_value_or_a_value_error(raw: bytes) -> None:
    with contextlib.suppress(ValueError):
        lenient_json.loads(raw)


def test_encoding_has_no_spaces_and_keeps_characters() -> None:
    assert lenient_json.dumps({"a": [1, "é😀/"]}) == '{"a":[1,"é😀/"]}'


def test_a_lone_surrogate_escape_does_not_lose_the_line() -> None:
    assert lenient_json.loads(rb'{"a":"x\ud83d","b":1}') == {"a": "x\ud83d", "b": 1}


def test_a_pair_of_surrogate_escapes_is_its_character() -> None:
    assert lenient_json.loads(rb'["\ud83d\ude00"]') == ["😀"]


def test_invalid_utf8_is_replaced() -> None:
    assert lenient_json.loads(b'{"a":"x\xc3","b":1}') == {"a": "x\ufffd", "b": 1}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"nul",
        b"{'a':1}",
        b"[1,]",
        b"01",
        b"1 2",
        b'"a\nb"',
        b"NaN",
        b"[Infinity]",
        b'{"a":-Infinity}',
        b"\xef\xbb\xbf{}",
        b"data",
    ],
)
def test_what_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        lenient_json.loads(raw)


def test_numbers_beyond_64_bits_are_kept() -> None:
    assert lenient_json.loads(b"-123456789012345678901234567890") == -(
        123456789012345678901234567890
    )


def test_a_number_of_absurd_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"."):
        lenient_json.loads(b"9" * 5000)


def test_a_float_beyond_the_range_is_infinite() -> None:
    assert lenient_json.loads(b"1e999") == math.inf


def nested(opening: str, closing: str, depth: int) -> str:
    return opening * depth + "1" + closing * depth


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_nesting_is_read_down_to_the_limit_and_no_deeper(opening: str, closing: str) -> None:
    most = lenient_json.MAX_DEPTH // (len(closing))
    assert lenient_json.loads(nested(opening, closing, most))
    with pytest.raises(ValueError, match="deeply"):
        lenient_json.loads(nested(opening, closing, most + 1))
    with pytest.raises(ValueError, match="deeply"):
        lenient_json.loads(nested(opening, closing, 100_000).encode())


def test_brackets_inside_strings_and_beside_each_other_are_not_nesting() -> None:
    flat = ["[{" * 500, *([[]] * 500)]
    assert lenient_json.loads(lenient_json.dumps(flat)) == flat
