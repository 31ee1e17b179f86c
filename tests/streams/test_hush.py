"""A cancelled stream that is read on: it is closed at once, and its end is said later."""

import pytest

from tellstream.core import parts as pt
from tellstream.core.composer import CANCELLED, Composer, Ending
from tellstream.core.errors import ServerError
from tellstream.core.events import NON_CONTENT
from tellstream.core.grammar import check
from tellstream.core.ids import EventIds
from tellstream.core.sealing import recovered
from tellstream.core.unsaid import count
from tellstream.core.usage import FinishReason, Usage

SAID: dict[str, list[pt.Part]] = {
    "nothing": [],
    "thinking": [pt.Thinking("hm")],
    "text": [pt.Text("Hello")],
    "text with a citation": [pt.Text("Hello"), pt.Break(), pt.Text(" you")],
    "half a tool call": [pt.ToolFragment(0, "call_1", "look", '{"a":')],
    "text, then a tool call": [pt.Text("Hello"), pt.ToolFragment(0, "call_1", "look", "{}")],
    "a finish reason": [pt.Text("Hello"), pt.Finished(FinishReason.STOP)],
}
USAGE = Usage(3, 70)


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_what_is_open_is_closed_at_the_cancel_and_the_end_follows(said: list[pt.Part]) -> None:
    composer = Composer(EventIds(7), "p", "m")
    events = composer.feed(said, 1000.0)
    closing = composer.close(CANCELLED, None, 1001.0)
    assert closing  # others learn from the log that somebody reads on
    assert "stream_end" not in {event.type for event in closing}
    count(composer, [pt.Text("unheard"), pt.ToolFragment(0, "call_1", "look", "1}")])
    count(composer, [pt.Used(USAGE), pt.Finished(FinishReason.STOP), pt.Done()])
    end = composer.close(CANCELLED, USAGE, 1005.0)
    assert [event.type for event in end] == ["stream_end"]
    check([*events, *closing, *end])
    if not said:
        assert {event.type for event in [*closing, *end]} <= NON_CONTENT


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
@pytest.mark.parametrize(
    "ending", [CANCELLED, Ending.failed(ServerError("worker_lost"))], ids=["cancelled", "lost"]
)
def test_another_worker_can_say_the_end(said: list[pt.Part], ending: Ending) -> None:
    first = Composer(EventIds(7), "p", "m")
    events = first.feed(said, 1000.0) + first.close(CANCELLED, None, 1001.0)
    other = recovered(events, EventIds(8), "p", "m", None)
    check([*events, *other.close(ending, USAGE, 1005.0)])
