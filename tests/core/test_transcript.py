"""The fold: the same from events and from their bytes, and legal on any prefix."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from tellstream.core import events as ev
from tellstream.core.frames import decode_frame, encode_frames
from tellstream.core.transcript import Transcript, fold
from tellstream.core.usage import FinishReason, Usage

H = ("evt_1", 5)
SOURCE = ev.Citation("url", "https://a", additional_content={"k": [1]})
FILE = ev.ArtifactData("f", "QQ==", "image/png", {})
FAILURE = ev.Error(*H, "provider_timeout", "Late.", False)
STREAM: list[ev.Event] = [
    ev.StreamStart(*H, "grok-4", "xai", {"a": "b"}),
    ev.StepStart(*H),
    ev.ThinkingStart(*H, "r"),
    ev.ThinkingDelta(*H, "h", "r"),
    ev.ThinkingDelta(*H, "m", "r"),
    ev.ThinkingComplete(*H, "r"),
    ev.TextStart(*H, "m"),
    ev.TextDelta(*H, "Hel", "m"),
    ev.CitationEvent(*H, SOURCE, "m"),
    ev.TextDelta(*H, "lo", "m"),
    ev.TextComplete(*H, "m"),
    ev.ProviderToolEvent(*H, "provider_tool_event", "provider_tool_event.w.s", "w", "s", "0", {}),
    ev.Artifact(*H, "", "", "m", FILE),
    ev.ToolCallDelta(*H, "t", "f", "{}", "m"),
    ev.ToolCall(*H, "t", "f", {"a": 1}, "m"),
    ev.ToolCall(*H, "u", "g", {}, "m", None, "{"),
    ev.ToolResult(*H, "t", 1, None, "m", True),
    ev.StepFinish(*H),
    ev.StepStart(*H),
    ev.TextStart(*H, "n"),
    ev.TextDelta(*H, "!", "n"),
    ev.TextComplete(*H, "n"),
    ev.StepFinish(*H),
    ev.StreamEnd(*H, FinishReason.STOP, Usage(1, 2), [ev.CitationPart("Hello", [SOURCE])]),
]


def test_a_transcript_holds_everything_that_was_said() -> None:
    assert fold(STREAM) == Transcript(
        model="grok-4",
        provider="xai",
        metadata={"a": "b"},
        text="Hello!",
        thinking="hm",
        tool_calls=[
            {"tool_id": "t", "tool_name": "f", "arguments": {"a": 1}},
            {"tool_id": "u", "tool_name": "g", "arguments": {}, "invalid_arguments": "{"},
        ],
        citations=[SOURCE],
        artifacts=[FILE],
        provider_tools=["provider_tool_event.w.s"],
        finish_reason=FinishReason.STOP,
        usage=Usage(1, 2),
    )


def test_a_failure_is_kept() -> None:
    end = ev.StreamEnd(*H, FinishReason.ERROR, Usage())
    said = fold([STREAM[0], FAILURE, end])
    assert (said.error, said.finish_reason) == (FAILURE, FinishReason.ERROR)


def test_an_advisory_is_not_a_failure() -> None:
    assert fold([*STREAM[:2], ev.Error(*H, "e", "m", True)]).error is None


def test_nothing_said_is_an_empty_transcript() -> None:
    assert fold([]) == Transcript()


def test_transcripts_share_nothing() -> None:
    fold(STREAM)
    assert fold([]).tool_calls == []


def test_every_prefix_can_be_folded_and_only_grows() -> None:
    said = [fold(STREAM[:length]) for length in range(len(STREAM) + 1)]
    for shorter, longer in itertools.pairwise(said):
        assert longer.text.startswith(shorter.text)
        assert longer.thinking.startswith(shorter.thinking)
        assert longer.tool_calls[: len(shorter.tool_calls)] == shorter.tool_calls
    assert [one.finish_reason for one in said[:-1]] == [None] * len(STREAM)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from([*STREAM, FAILURE])
        | st.builds(lambda text: ev.TextDelta(*H, text, "m"), st.text())
    )
)
def test_folding_what_was_written_and_read_again_changes_nothing(events: list[ev.Event]) -> None:
    read = [decode_frame(frame)[1] for frame in encode_frames(1, events)]
    assert fold(read) == fold(events)
