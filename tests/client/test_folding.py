import pytest

from tellstream.client.folding import Folding
from tellstream.core import events as ev
from tellstream.core.transcript import Transcript, fold
from tellstream.core.usage import FinishReason, Usage

EVENTS: list[ev.Event] = [
    ev.StreamStart("", 1, "m", "p", {"a": "b"}),
    ev.ThinkingDelta("", 1, "hm", "r"),
    *(ev.TextDelta("", 1, f"{n} ", "b") for n in range(600)),
    ev.ToolCall("", 1, "t", "name", {"x": 1}, "b"),
    ev.ProviderToolEvent("", 1, "k", "key", "web", "s", "i", {}),
    ev.ToolCall("", 1, "u", "name", {}, "b"),
    ev.Error("", 1, "worker_lost", "gone", recoverable=False),
    ev.StreamEnd("", 1, FinishReason.ERROR, Usage(3, 4)),
]


@pytest.mark.parametrize("asked_every", [1, 7, 255, 256, 257, 10_000])
def test_it_equals_the_fold_of_all_whenever_it_is_asked(asked_every: int) -> None:
    folding = Folding()
    for number, event in enumerate(EVENTS, 1):
        folding.add(event)
        if number % asked_every == 0:
            assert folding.transcript == fold(EVENTS[:number])
    assert folding.transcript == fold(EVENTS)


def test_one_that_was_given_does_not_change() -> None:
    folding = Folding()
    assert folding.transcript == Transcript()
    folding.add(EVENTS[0])
    early = folding.transcript
    for event in EVENTS[1:]:
        folding.add(event)
    assert early == fold(EVENTS[:1])
    assert folding.transcript != early
