"""A stream can be ended from any prefix of its log: grammatically, truthfully, with rising ids."""

from itertools import pairwise

import pytest

from tellstream.core import events as ev
from tellstream.core import grammar
from tellstream.core import parts as pt
from tellstream.core.composer import CANCELLED, Composer, Ending
from tellstream.core.errors import GrammarError, ServerError
from tellstream.core.estimate import CALL_TOKENS, estimate
from tellstream.core.frames import decode_frame, encode_frames
from tellstream.core.ids import EventIds
from tellstream.core.sealing import recovered
from tellstream.core.transcript import fold
from tellstream.core.usage import FinishReason, Usage

NOW = 1_700_000_000.0
LOST = Ending.failed(ServerError("worker_lost"))
SOURCE = ev.Citation("url", "https://a")


def events() -> list[ev.Event]:
    """A stream with every kind of part, as read back from a log."""
    composer = Composer(EventIds(2**79 + 12345), "xai", "grok", {"a": "b"})
    said = composer.feed(
        [
            pt.Thinking("hm"),
            pt.Thinking("m"),
            pt.Text("Hello"),
            pt.Cited(SOURCE),
            pt.Text(" you"),
            pt.ToolFragment(0, "t", "f", '{"a"'),
            pt.ToolFragment(0, "", "", ":1}"),
            pt.ProviderTool("search", "done", "i", {}),
            pt.Cited(SOURCE),
            pt.Text("again"),
            pt.Finished(FinishReason.STOP),
            pt.Done(),
        ],
        NOW,
    )
    said += composer.close(composer.ending(), Usage(1, 2), NOW + 1)
    return [decode_frame(frame)[1] for frame in encode_frames(1, said)]


STREAM = events()


@pytest.mark.parametrize("ending", [LOST, CANCELLED], ids=["lost", "cancelled"])
@pytest.mark.parametrize("length", range(len(STREAM)))
@pytest.mark.parametrize("now", [NOW + 5, NOW - 5000], ids=["later", "slower-clock"])
def test_every_prefix_can_be_ended(length: int, ending: Ending, now: float) -> None:
    prefix = STREAM[:length]
    composer = recovered(prefix, EventIds(7), "xai", "grok", {"a": "b"})
    closing = composer.close(ending, Usage(3, 4), now)
    whole = prefix + closing
    grammar.check(whole)
    assert all(one.id < other.id for one, other in pairwise(whole))
    assert all(one.timestamp <= other.timestamp for one, other in pairwise(whole))
    transcript = fold(whole)
    assert transcript.finish_reason == ending.reason
    assert transcript.usage == Usage(3, 4)
    assert transcript.text == fold(prefix).text
    assert (transcript.model, transcript.provider) == ("grok", "xai")
    assert transcript.metadata == {"a": "b"}
    assert ((transcript.error and transcript.error.error_type) or None) == (
        ending.error.code if ending.error else None
    )


def test_what_was_said_so_far_is_counted_for_the_estimate() -> None:
    composer = recovered(STREAM[:-1], EventIds(7), "", "", None)
    arguments = '{"a":1}'
    said = estimate("hmm" + "Hello you" + arguments + "again")
    assert composer.output.tokens == said + CALL_TOKENS


def test_the_citations_of_the_text_so_far_are_in_the_end() -> None:
    cut = next(n for n, event in enumerate(STREAM) if event.type == "tool_call_delta")
    end = recovered(STREAM[:cut], EventIds(7), "", "", None).close(LOST, Usage(), NOW)[-1]
    assert isinstance(end, ev.StreamEnd)
    assert end.citations is not None
    assert [(part.output_text, part.citations) for part in end.citations] == [
        ("Hello you", [SOURCE])
    ]


def test_what_is_no_beginning_of_a_stream_is_refused() -> None:
    with pytest.raises(GrammarError):
        recovered(STREAM[1:3], EventIds(7), "", "", None)
