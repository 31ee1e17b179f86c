"""The estimate of tokens: its rules, and how far it is from what providers reported."""

import json
import math
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.expected import ROOT
from tellstream.core.estimate import estimate, tokens, weight

SHORTEST = 20


@given(st.lists(st.text(max_size=20), max_size=20))
def test_a_text_costs_the_same_in_one_piece_or_in_many(pieces: list[str]) -> None:
    assert weight("".join(pieces)) == sum(map(weight, pieces))


@given(st.text(min_size=1))
def test_no_text_is_free_and_none_costs_more_than_its_bytes(text: str) -> None:
    assert 1 <= estimate(text) <= max(1, math.ceil(1.5 * len(text)))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("Hello", 1),
        ("the quick brown fox jumps", 5),
        ("2026", 3),
        ("{}[]", 3),
        ("你好世界", 3),
        ("안녕", 2),
        ("привет мир!", 5),
        ("🎉🎉", 3),
        ("\ud800", 1),
    ],
)
def test_each_kind_of_character_has_its_weight(text: str, count: int) -> None:
    assert estimate(text) == count


def test_a_weight_is_rounded_up() -> None:
    assert [tokens(n) for n in (0, 1, 100, 101)] == [0, 1, 1, 2]


def reported(entry: dict[str, Any]) -> int | None:
    """The output tokens of a plain answer; None where they count more than its visible text."""
    expected = entry["expected"]
    usage = expected.get("usage") or {}
    details = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    more = ("thinking", "tool_calls", "server_tool_calls", "refusal", "citations_count", "error")
    hidden = any(expected.get(key) for key in more) or details.get("reasoning_tokens")
    hidden = hidden or usage.get("thoughtsTokenCount") or len(expected["text"] or "") < SHORTEST
    # An image, and thinking that is not shown, are in the name of the recording only.
    hidden = hidden or any(word in entry["file"] for word in ("image-preview", "redacted"))
    names = ("completion_tokens", "output_tokens", "candidatesTokenCount", "eval_count")
    counts = [usage[name] for name in names if usage.get(name)]
    return None if hidden or not counts else int(counts[0])


def errors() -> tuple[list[float], list[float]]:
    """Logarithms of estimate over report: ours, and that of four characters per token."""
    manifest = ROOT / "MANIFEST.json"
    if not manifest.exists():
        pytest.skip(f"no recorded provider streams at {ROOT} (set TELLSTREAM_RECORDINGS)")
    ours, plain = [], []
    for entry in json.loads(manifest.read_bytes()):
        if entry["http_status"] in (None, 200) and "error" not in entry["file"]:
            count = reported(entry)
            if count is not None:
                text = entry["expected"]["text"]
                ours.append(math.log(estimate(text) / count))
                plain.append(math.log(math.ceil(len(text) / 4) / count))
    return ours, plain


def test_it_is_close_to_what_providers_reported() -> None:
    ours, plain = errors()
    assert len(ours) >= 15
    size = [sorted(map(abs, found)) for found in (ours, plain)]
    three_quarters = len(ours) * 3 // 4
    assert statistics.median(size[0]) < 0.12
    assert size[0][three_quarters] < 0.25
    assert statistics.mean(size[0]) < statistics.mean(size[1])


if __name__ == "__main__":
    for name, found in zip(("ours", "four characters"), errors(), strict=True):
        ratios = sorted(math.exp(error) for error in found)
        cuts = [ratios[round(q * (len(ratios) - 1))] for q in (0, 0.1, 0.25, 0.5, 0.75, 0.9, 1)]
        print(name, len(ratios), [round(cut, 2) for cut in cuts])  # noqa: T201 - a report
