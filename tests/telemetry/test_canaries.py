"""The search for planted values finds them in every disguise, and nothing else."""

import base64
import json
import urllib.parse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from support.canaries import contents, leaks

VALUE = 'xai-Canary/42+"ü ßx'


def encoded(value: str, before: int = 0, after: int = 0, alphabet: bytes = b"+/") -> str:
    return base64.b64encode(b"x" * before + value.encode() + b"?" * after, alphabet).decode()


DISGUISES: dict[str, Callable[[str], str]] = {
    "plain": lambda value: value,
    "quoted": urllib.parse.quote,
    "quoted whole": lambda value: urllib.parse.quote(value, safe=""),
    "in a form": lambda value: urllib.parse.urlencode({"a": value}),
    "JSON": json.dumps,
    "JSON in JSON": lambda value: json.dumps({"x": json.dumps({"y": value})}),
    "Python": lambda value: repr({"x": value}),
    "hexadecimal": lambda value: value.encode().hex(),
    **{f"base64 behind {n}": partial(encoded, before=n) for n in range(7)},
    **{f"base64 before {n}": partial(encoded, after=n) for n in range(4)},
    **{f"base64url behind {n}": partial(encoded, before=n, alphabet=b"-_") for n in range(4)},
}


@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES.keys())
def test_a_planted_value_is_found_in_every_disguise(disguise: Callable[[str], str]) -> None:
    text = f"something {disguise(VALUE)} else"
    assert {leak.planted for leak in leaks({"key": VALUE}, {"here": text})} == {"key"}


def test_case_does_not_matter() -> None:
    assert leaks({"key": "xai-Canary-42"}, {"here": b"Key: XAI-CANARY-42."}) != []


def test_what_was_not_planted_is_not_found() -> None:
    text = base64.b64encode(bytes(range(256)) * 50).decode() + "xai-canary xai-Canary/43"
    assert leaks({"key": VALUE}, {"here": text}) == []


def test_files_are_read_as_bytes_and_folders_to_their_depth(tmp_path: Path) -> None:
    inner = tmp_path / "a/b"
    inner.mkdir(parents=True)
    (inner / "x.db").write_bytes(b"\0\xff" + VALUE.encode() + b"\0")
    (inner / "y.log").write_bytes(b"nothing")
    assert [leak.place for leak in leaks({"key": VALUE}, contents([tmp_path]))][:1] == [
        str(inner / "x.db")
    ]


def test_a_value_that_could_be_chance_is_refused() -> None:
    with pytest.raises(AssertionError):
        leaks({"key": "short"}, {})
