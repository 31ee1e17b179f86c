"""Identifiers: ULID-based event ids that rise within a stream, and stream ids.

A ULID is 128 bits written as 26 Crockford base32 characters: 48 bits of Unix milliseconds, then 80
further bits (https://github.com/ulid/spec). This file formats and parses; entropy and time are
given.
"""

from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
EVENT_PREFIX: Final = "evt_"
STREAM_PREFIX: Final = "str_"

# Every two-character combination, so that 10 bits are one lookup.
_PAIRS: Final = tuple(a + b for a in ALPHABET for b in ALPHABET)
# Ids per stream before the 40-bit counter wraps into the fixed part; logs hold 20,000 events.
_COUNTER_BITS: Final = 40
_COUNTER_MASK: Final = (1 << _COUNTER_BITS) - 1
_LOW_MASK: Final = (1 << 20) - 1
_MAX_MS: Final = (1 << 48) - 1


def base32(value: int, length: int) -> str:
    """Write ``value`` (unsigned) as ``length`` Crockford base32 characters, high bits first.

    ``length`` must be even: two characters at a time are written.
    """
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(5 * length - 10, -1, -10)])


def stream_id(entropy: int) -> str:
    """Format 128 bits of entropy as an unguessable stream id (``str_`` + 26 characters)."""
    return STREAM_PREFIX + base32(entropy & ((1 << 128) - 1), 26)


class EventIds:
    """Strictly rising ``evt_`` + ULID ids of one stream, also when the clock steps back.

    Args:
        entropy: 80 random bits; the low 40 count up by one for each id, so ids of one stream rise
            and two streams do not collide.
    """

    __slots__ = ("_counter", "_fixed", "_high", "_high_ms", "_ms", "_prefix")

    def __init__(self, entropy: int) -> None:
        self._fixed = base32(entropy >> _COUNTER_BITS, 8)
        # Half of the counter's range is kept free so that counting up never wraps.
        self._counter = entropy & (_COUNTER_MASK >> 1)
        self._ms = -1
        self._high_ms = -1
        self._high = ""  # the time without its last 20 bits, written
        self._prefix = ""

    @classmethod
    def after(cls, event_id: str) -> "EventIds":
        """Continue after an id of this form that another source made.

        Raises:
            ValueError: it is not such an id.
        """
        value = 0
        for character in event_id.removeprefix(EVENT_PREFIX):
            value = value << 5 | ALPHABET.index(character)
        ids = cls(value)
        ids._ms = value >> 80
        ids._counter = value & _COUNTER_MASK
        return ids

    def next(self, now_ms: int) -> str:
        """Return the next id.

        Args:
            now_ms: Unix milliseconds; an earlier value than before counts as the one before.
        """
        counter = self._counter + 1
        self._counter = counter
        if now_ms > self._ms:
            self._ms = min(now_ms, _MAX_MS)
            self._prefix = ""
        if not counter & _LOW_MASK or not self._prefix:
            self._prefix = self._written_prefix(counter)
        return f"{self._prefix}{_PAIRS[counter >> 10 & 1023]}{_PAIRS[counter & 1023]}"

    def _written_prefix(self, counter: int) -> str:
        """Write all but the last 20 bits."""
        ms = self._ms
        if ms >> 20 != self._high_ms:  # every 17 minutes
            self._high_ms = ms >> 20
            high = (ms >> 40, ms >> 30 & 1023, ms >> 20 & 1023)
            self._high = EVENT_PREFIX + "".join(_PAIRS[bits] for bits in high)
        return (
            f"{self._high}{_PAIRS[ms >> 10 & 1023]}{_PAIRS[ms & 1023]}{self._fixed}"
            f"{_PAIRS[counter >> 30 & 1023]}{_PAIRS[counter >> 20 & 1023]}"
        )
