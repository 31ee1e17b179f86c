"""The scenarios: how many streams, how fast, how long."""

from dataclasses import dataclass
from math import ceil
from typing import Final

OWN_FILES: Final = 500
"""Of a gateway, besides its connections; generous."""


@dataclass(frozen=True)
class Scenario:
    """One load.

    Attributes:
        name: as given on the command line.
        help: one line about it.
        streams: how many are open at any time.
        rate: deltas per second of each stream, which then lasts the whole measurement; 0: as fast
            as possible, one answer after the other.
        words: deltas of one answer, where there is no rate.
        ramp: seconds in which the streams start, before anything is counted.
        share: of the counted seconds, for loads that are steady sooner.
        workers: whether it compares one worker of Tellstream with two, and nothing else.
    """

    name: str
    help: str
    streams: int
    rate: int = 0
    words: int = 0
    ramp: float = 1.5
    share: float = 1.0
    workers: bool = False

    @property
    def short(self) -> bool:
        """Whether it is about requests, not about deltas."""
        return self.words == 1

    @property
    def open_files(self) -> int:
        """Return how many files a gateway has open: two per stream, and its own."""
        return 2 * self.streams + OWN_FILES

    def deltas(self, seconds: float) -> int:
        """Return how many deltas one answer holds: of a paced one, enough to outlast the load."""
        return self.words or ceil(self.rate * (self.ramp + seconds + 0.5))

    def model(self, seconds: float) -> str:
        """Return the model, whose name tells the provider what to answer."""
        return f"bench-{self.deltas(seconds)}-{self.rate}"


SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "first-delta", "answers of one delta on 1 connection", 1, words=1, ramp=0.5, share=0.5
        ),
        Scenario(
            "requests", "answers of one delta on 16 connections", 16, words=1, ramp=0.5, share=0.5
        ),
        Scenario("saturation", "50 streams at full speed", 50, words=2_000, share=0.5),
        Scenario("paced-1", "1 stream of 50 deltas/s", 1, rate=50, ramp=0.5),
        Scenario("paced-20", "20 streams of 50 deltas/s", 20, rate=50),
        Scenario("paced-100", "100 streams of 50 deltas/s", 100, rate=50),
        Scenario("paced-500", "500 streams of 50 deltas/s", 500, rate=50, ramp=6),
        Scenario("paced-1000", "1,000 streams of 50 deltas/s", 1_000, rate=50, ramp=8),
        Scenario("open-4000", "4,000 streams of 1 delta/s", 4_000, rate=1, ramp=12),
        Scenario("workers", "100 streams at full speed", 100, words=2_000, share=0.5, workers=True),
    )
}
WARM_UP: Final = Scenario("warm-up", "not measured", 16, words=1, ramp=0.1)
