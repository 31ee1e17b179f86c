"""What a run does, decided by its seed alone: streams, readers, cuts, cancels and faults."""

from collections.abc import Iterator
from enum import StrEnum
from random import Random
from typing import Final, NamedTuple

LEASE: Final = 1.0
"""Seconds after which a silent worker counts as dead."""


class Fault(StrEnum):
    """What is done to a server."""

    KILL = "kill -9 of a worker"
    TERM = "SIGTERM of a worker"
    FREEZE = "SIGSTOP of a worker"
    REDIS_KILL = "kill -9 of Redis"
    REDIS_STOP = "SIGTERM of Redis"
    REDIS_FREEZE = "SIGSTOP of Redis"
    REDIS_DROP = "all connections to Redis cut"


class Model(NamedTuple):
    """A model of the run.

    Attributes:
        target: the simulator's script.
        weight: how often it is asked.
        most_calls: that one stream may make at the provider.
        tools: whether the request declares some.
    """

    target: str
    weight: int
    most_calls: int = 1
    tools: bool = False


MODELS: Final = {
    "text": Model("sim:echo=1,delay_ms=4", 8),
    "thinking": Model("sim:echo=1,think=60,delay_ms=4", 3),
    "tools": Model("sim:echo=1,tools=2,delay_ms=4", 2, tools=True),
    "late": Model("sim:echo=1,first_ms=600,delay_ms=3", 2),
    "mute": Model("sim:echo=1,head_ms=600,delay_ms=3", 1),
    "broken": Model("sim:echo=1,delay_ms=4,fault=eof,at=60", 1),
    "reported": Model("sim:echo=1,delay_ms=4,fault=error,at=50", 1),
    "stalled": Model("sim:echo=1,delay_ms=4,fault=stall,at=40", 1),
    "refused": Model("sim:echo=1,status=401", 1),
    "busy": Model("sim:echo=1,status=503", 1, most_calls=2),
    "flaky": Model("sim:echo=1,delay_ms=4,flap=2", 2, most_calls=2),
}
RETRIES: Final = 1
"""Further calls, as ``most_calls`` counts them."""


class Reader(NamedTuple):
    """A reader that attaches, and resumes until it has seen the end.

    Attributes:
        name: for messages.
        at: seconds after the start.
        joins_late: begins where another reader is, not at the start.
        seed: of its own choices: workers, pauses, where it cuts.
        cuts: for how many connections it cuts; then it reads on.
    """

    name: str
    at: float
    joins_late: bool
    seed: str
    cuts: int


class Cancel(NamedTuple):
    """A cancel.

    Attributes:
        at: seconds after the start.
        worker: which is asked first.
    """

    at: float
    worker: int


class Stream(NamedTuple):
    """A stream.

    Attributes:
        name: unique; it is in every word that the model says.
        at: seconds after the start.
        model: of ``MODELS``.
        prompt: what the model repeats.
        key: the Idempotency-Key, or None.
        askers: who asks for it, each on a worker of its own; one without a key.
        readers: who follow it besides.
        cancel: if it is cancelled.
    """

    name: str
    at: float
    model: str
    prompt: str
    key: str | None
    askers: tuple[Reader, ...]
    readers: tuple[Reader, ...]
    cancel: Cancel | None


class Step(NamedTuple):
    """A fault.

    Attributes:
        at: seconds after the start.
        fault: what.
        worker: whose, if it is a worker's.
        seconds: how long it lasts.
    """

    at: float
    fault: Fault
    worker: int
    seconds: float


class Plan(NamedTuple):
    """A run.

    Attributes:
        seed: all choices come from it.
        favourite: the worker that most streams are started on, and most faults hit.
        streams: what is asked.
        steps: what is done to the servers.
    """

    seed: int
    favourite: int
    streams: tuple[Stream, ...]
    steps: tuple[Step, ...]


SHARED_FAULTS: Final = {
    Fault.KILL: 6,
    Fault.TERM: 4,
    Fault.FREEZE: 3,
    Fault.REDIS_KILL: 4,
    Fault.REDIS_STOP: 2,
    Fault.REDIS_FREEZE: 2,
    Fault.REDIS_DROP: 2,
}
"""Of workers that share a Redis, and how often each is chosen."""
LONELY_FAULTS: Final = {Fault.KILL: 5, Fault.TERM: 3, Fault.FREEZE: 1}
"""Of a process with an SQLite log."""


FAVOUR: Final = 0.7
"""Of the starts, and of the faults, are the favourite's."""
WORKER_FAULTS: Final = frozenset(LONELY_FAULTS)


def plan(seed: int, workers: int, faults: dict[Fault, int]) -> Plan:
    """Decide what the run with this seed does to so many workers."""
    random = Random(f"history {seed}")
    favourite = random.randrange(workers)
    streams = tuple(_streams(random, seed, workers))
    count = random.choices((0, 1, 2, 3), (1, 5, 4, 1))[0]
    steps = [_step(random, workers, favourite, faults) for _ in range(count)]
    return Plan(seed, favourite, streams, tuple(sorted(steps)))


def _step(random: Random, workers: int, favourite: int, faults: dict[Fault, int]) -> Step:
    fault = random.choices(list(faults), list(faults.values()))[0]
    match fault:
        case Fault.FREEZE:
            seconds = random.uniform(LEASE * 1.2, LEASE * 2)
        case Fault.REDIS_KILL | Fault.REDIS_STOP if random.random() < 0.15:
            seconds = random.uniform(2.0, 3.5)
        case Fault.REDIS_FREEZE:
            seconds = random.uniform(0.1, 1.6)
        case _:
            seconds = random.uniform(0.1, 1.5) if fault is not Fault.REDIS_DROP else 0.0
    worker = favourite if random.random() < FAVOUR else random.randrange(workers)
    return Step(random.uniform(0.2, 1.1), fault, worker, seconds)


def _streams(random: Random, seed: int, workers: int) -> Iterator[Stream]:
    for number in range(random.randint(3, 5)):
        name = f"{seed}x{number}"
        model = random.choices(list(MODELS), [m.weight for m in MODELS.values()])[0]
        at = random.uniform(0.0, 0.5)
        askers = random.choice((1, 1, 2, 3))
        words = random.randint(100, 260)
        yield Stream(
            name=name,
            at=at,
            model=model,
            prompt=" ".join(f"{name}.{word}" for word in range(words)),
            key=f"key-{name}" if askers > 1 or random.random() < 0.2 else None,
            askers=tuple(_readers(random, f"{name}/asker", at, 0.05, askers)),
            readers=tuple(_readers(random, f"{name}/reader", at, 1.0, random.randint(1, 3))),
            cancel=(
                Cancel(at + random.uniform(0.1, 0.9), random.randrange(workers))
                if random.random() < 0.25
                else None
            ),
        )


def _readers(random: Random, name: str, at: float, within: float, count: int) -> Iterator[Reader]:
    for number in range(count):
        yield Reader(
            name=f"{name}{number}",
            at=at + random.uniform(0.0, within),
            joins_late=random.random() < 0.4,
            seed=f"{name}{number}",
            cuts=random.choice((0, 0, 1, 2, 4)),
        )
