"""How long the client waits and how often it tries: all its numbers."""

import math
from typing import Final, NamedTuple

CONNECT_SECONDS: Final = 10.0
"""For TCP and TLS; a server that takes longer is not there."""
READ_SECONDS: Final = 45.0
"""Of silence in a stream: three keep-alive intervals mean that the server is gone."""
ANSWER_SECONDS: Final = 600.0
"""For an answer that waits for a whole generation (``chat``); servers end them before."""

BASE_SECONDS: Final = 0.25
"""Upper end of the first random wait."""
CAP_SECONDS: Final = 8.0
"""Upper end of later waits: a restarted server is found again soon after."""
GIVE_UP_SECONDS: Final = 60.0
"""Of trying to get back to a stream without any progress: a deployment takes less."""
START_SECONDS: Final = 10.0
"""Of trying to reach the server for a call; its caller waits and knows of nothing yet."""
STABLE_SECONDS: Final = 15.0
"""A connection that stayed alive for one keep-alive interval was a success, even without events."""

MAX_SECONDS: Final = 86_400.0
"""The most that any of the settings may be: a day; a larger one is a mistake in the unit."""
MAX_FRAME_BYTES: Final = 4 * 1024 * 1024
"""Of one event on the wire; a server ends a whole stream at that size."""
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
"""Of a JSON answer: a whole stream as escaped JSON."""
MAX_CONNECTIONS: Final = 1000
"""Of one client at a time; each open stream holds one."""
KEPT_CONNECTIONS: Final = 20
"""Idle ones that are kept for the next call."""
KEEP_IDLE_SECONDS: Final = 2.0
"""For which they are kept: less than any server does, so that none closes one as we use it."""


class Timeouts(NamedTuple):
    """Seconds to wait for the network.

    Attributes:
        connect: for a connection to stand, and for one of the client's own to be free.
        read: of silence while reading a stream or waiting for its head.
        write: for the network to take the next piece of a request.
        answer: of silence while waiting for ``chat``.
    """

    connect: float = CONNECT_SECONDS
    read: float = READ_SECONDS
    write: float = CONNECT_SECONDS
    answer: float = ANSWER_SECONDS


class ResumePolicy(NamedTuple):
    """When to try again, and when to stop trying.

    Attributes:
        give_up: seconds to try to get back to a stream without progress; 0 never tries.
        start: seconds to try to reach the server for the first answer of a call; 0 tries once.
        base: seconds; the first wait is random between 0 and this, doubled after each failure.
        cap: seconds; the doubling ends here.
    """

    give_up: float = GIVE_UP_SECONDS
    start: float = START_SECONDS
    base: float = BASE_SECONDS
    cap: float = CAP_SECONDS


def checked(settings: Timeouts | ResumePolicy) -> None:
    """Check that every number is finite and within bounds.

    Raises:
        ValueError: one is not, or a timeout is 0.
    """
    lowest = 0.0 if isinstance(settings, ResumePolicy) else math.ulp(0.0)
    for name, value in settings._asdict().items():
        if not lowest <= value <= MAX_SECONDS:  # also false for NaN
            raise ValueError(f"{name} must be from {lowest:g} to {MAX_SECONDS:g} seconds")
