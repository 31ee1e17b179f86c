import pytest

from tellstream.auth.strict_json import parse_object


def test_an_object_is_parsed() -> None:
    assert parse_object('{"a":[1,{"b":"é"}],"c":null}'.encode()) == {
        "a": [1, {"b": "é"}],
        "c": None,
    }


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"[]", b"1", b'"a"', b"null", b"{", b'{"a":1}x', b'{"a":1,"a":1}',
        b'{"x":{"a":1,"a":2}}',
        b'{"a":1,"\\u0061":2}', b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"), '{"a":1}'.encode("utf-32"), b'{"a":' + b"9" * 5000 + b"}",
        b"[" * 30_000 + b"]" * 30_000, b'{"a":' * 30_000 + b"1" + b"}" * 30_000, b"[" * 1_000_000,
    ],
)  # fmt: skip
def test_r11_everything_doubtful_is_one_kind_of_error(raw: bytes) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the kind is what matters
        parse_object(raw)
    assert len(str(caught.value)) < 160
