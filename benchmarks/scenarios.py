"""The scenarios: how many streams, how fast, how long.

A scenario names a script of the simulator; the same name is the model asked of Tellstream, so both
measurements of a scenario carry the same load. Paced streams are stamped: each word is the time at
which the simulator wrote it.
"""

from dataclasses import dataclass
from math import ceil
from typing import Final


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
    """

    name: str
    help: str
    streams: int
    rate: int = 0
    words: int = 0
    ramp: float = 1.5
    share: float = 1.0

    def deltas(self, seconds: float) -> int:
        """Return how many deltas one answer holds: of a paced one, enough to outlast the load."""
        return self.words or ceil(self.rate * (self.ramp + seconds + 0.5))

    def model(self, seconds: float) -> str:
        """Return the script, which is also the name of the model."""
        pace = f",delay_ms={1_000 / self.rate:g},stamp=1" if self.rate else ""
        return f"sim:words={self.deltas(seconds)}{pace}"


SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "first-delta",
            "answers of one delta, one after the other",
            1,
            words=1,
            ramp=0.5,
            share=0.5,
        ),
        Scenario(
            "requests", "answers of one delta on 16 connections", 16, words=1, ramp=0.5, share=0.5
        ),
        Scenario("paced-1", "1 stream of 50 deltas/s", 1, rate=50),
        Scenario("paced-100", "100 streams of 50 deltas/s", 100, rate=50),
        Scenario("paced-500", "500 streams of 50 deltas/s", 500, rate=50),
        Scenario("saturation", "50 streams at full speed", 50, words=2_000, share=0.5),
    )
}
WARM_UP: Final = Scenario("warm-up", "not measured", 16, words=1, ramp=0.1)
