"""The decisions about one stream, with a clock that stands still and no sockets."""

from typing import Any

import pytest

from client.scripted import STREAM_ID, frames_of, story
from tellstream.client.calls import Ground
from tellstream.client.effects import (
    Broken,
    Close,
    Effect,
    Flow,
    Head,
    Open,
    Read,
    Sleep,
)
from tellstream.client.errors import ConnectionLostError
from tellstream.client.policy import STABLE_SECONDS, ResumePolicy
from tellstream.client.session import Session
from tellstream.client.tokens import Tokens
from tellstream.core.frames import KEEP_ALIVE

FRAMES = frames_of(story("a", "b"))
OK = Head(200, {"content-type": "text/event-stream", "x-stream-id": STREAM_ID})
BUSY = Head(503, {"retry-after": "5"})


class World:
    """Answers effects from a list, and keeps them."""

    def __init__(self, *results: Any) -> None:
        self.time = 0.0
        self.results = list(results)
        self.effects: list[Effect] = []
        policy = ResumePolicy(give_up=60)
        self.ground = Ground(Tokens("token"), policy, lambda: self.time, lambda: 1.0)
        self.session = Session.starting(self.ground, "Hello", {}, "key")

    def run(self, flow: Flow[None]) -> None:
        result: Any = None
        try:
            effect = next(flow)
            while True:
                self.effects.append(effect)
                match effect:
                    case Sleep():
                        self.time += effect.seconds
                        result = None
                    case Close():
                        result = None
                    case _:
                        result = self.results.pop(0)
                if callable(result):
                    result = result(self)
                effect = flow.throw(result) if isinstance(result, Broken) else flow.send(result)
        except StopIteration:
            pass

    def slept(self) -> list[float]:
        return [effect.seconds for effect in self.effects if isinstance(effect, Sleep)]

    def opened(self) -> list[str]:
        return [each.request.path for each in self.effects if isinstance(each, Open)]


BROKEN = Broken("broken", sent=True)


def test_the_stream_is_followed_from_the_last_event_that_arrived() -> None:
    world = World(OK, FRAMES[0] + FRAMES[1] + FRAMES[2][:9], BROKEN, OK, FRAMES[2])
    world.run(world.session.open())
    taken = []
    for _ in range(3):
        if not world.session._arrived:
            world.run(world.session.more())
        taken.append(world.session.take())
    assert [each.position for each in taken if each] == [1, 2, 3]
    last = [each for each in world.effects if isinstance(each, Open)][-1].request
    assert (last.method, last.headers["Last-Event-ID"]) == ("GET", "2")


def test_waits_grow_during_an_outage_and_start_anew_after_an_event() -> None:
    world = World(OK, None, BROKEN, BROKEN, OK, None, OK, FRAMES[0], None, OK, FRAMES[1])
    world.run(world.session.open())
    world.run(world.session.more())
    world.session.take()
    assert world.slept() == [0.25, 0.5, 1, 2]
    world.run(world.session.more())
    assert world.slept()[4:] == [0.25]


def test_a_connection_without_events_is_no_progress_unless_it_was_stable() -> None:
    def later(seconds: float) -> Any:
        def heard(world: World) -> bytes:
            world.time += seconds
            return KEEP_ALIVE

        return heard

    short = (OK, later(STABLE_SECONDS - 1), None)
    long = (OK, later(STABLE_SECONDS), None)
    world = World(*short, *short, *short, *long, *long, OK, FRAMES[0])
    world.run(world.session.open())
    world.run(world.session.more())
    assert world.slept() == [0.25, 0.5, 1, 0.25, 0.25]


def test_the_budget_counts_from_the_first_failure() -> None:
    world = World(OK, FRAMES[0], None, *([BROKEN] * 100))
    world.run(world.session.open())
    world.run(world.session.more())
    world.time = 500.0
    world.session.take()
    with pytest.raises(ConnectionLostError) as raised:
        world.run(world.session.more())
    assert world.time == 560.0
    assert (raised.value.stream_id, raised.value.position) == (STREAM_ID, 1)


def test_retry_after_is_the_least_to_wait() -> None:
    world = World(OK, None, BUSY, None, OK, FRAMES[0])
    world.run(world.session.open())
    world.run(world.session.more())
    assert world.slept() == [0.25, 5.0]


def test_a_read_that_was_cancelled_is_made_up_for_by_a_new_connection() -> None:
    world = World(OK, FRAMES[0], OK, FRAMES[1])
    world.run(world.session.open())
    world.run(world.session.more())
    world.session.take()
    reading = world.session.more()
    assert next(reading) == Read()
    reading.close()
    world.run(world.session.more())
    taken = world.session.take()
    assert taken is not None
    assert taken.position == 2
    assert world.slept() == []
    assert world.opened()[1] == f"/v1/streams/{STREAM_ID}/events"
