"""What the process that owns a SQLite event log knows of its running streams.

All of it belongs to the event loop's thread; the writer's thread reads the places of a stream whose
end it writes.
"""

import struct
from array import array
from bisect import bisect_right
from itertools import islice
from typing import Final

from tellstream.eventlog.base import LogUnavailableError, StreamKey
from tellstream.eventlog.tail import Tail

ORPHANS_AT_ONCE: Final = 100
"""Named by one call of ``orphans``."""
READ_ROWS: Final = 1024
"""Looked at for one read: more than READ_BYTES of the shortest frames."""


class Places:
    """Which rows hold the frames of one stream, in order.

    12 bytes for each append, so 240 KB for the longest stream there can be.
    """

    __slots__ = ("_firsts", "_places")

    def __init__(self) -> None:
        self._firsts = array("I")  # sequence number of each row's first frame
        self._places = array("q")

    def add(self, first: int, place: int) -> None:
        """Take a row that was committed."""
        self._firsts.append(first)
        self._places.append(place)

    def after(self, position: int) -> list[int]:
        """Return rows from the one that holds the frame after ``position`` on, READ_ROWS at most.

        ``position`` is below the head.
        """
        start = bisect_right(self._firsts, position + 1) - 1
        return self._places[start : start + READ_ROWS].tolist()

    def pack(self, first: int, place: int) -> bytes:
        """Return what ``unpack`` takes, with one more row."""
        count = len(self._places) + 1
        return struct.pack(f"<{count}I{count}q", *self._firsts, first, *self._places, place)

    @classmethod
    def unpack(cls, packed: bytes) -> "Places":
        """Restore what was packed.

        Raises:
            LogUnavailableError: these are other bytes.
        """
        count, left = divmod(len(packed), 12)
        if left:
            raise LogUnavailableError("the event log is damaged")
        places = cls()
        places._firsts.extend(struct.unpack_from(f"<{count}I", packed))
        places._places.extend(struct.unpack_from(f"<{count}q", packed, 4 * count))
        return places


class LiveStream:
    """A stream that has not ended; its fields are what is committed.

    Attributes:
        id: its number in the file.
        epoch: raised by each hand-over of the right to append.
        owned: whether a writer is in this process; without, it is an orphan.
    """

    __slots__ = ("ended", "epoch", "head", "id", "key", "owned", "places", "record", "tail")

    def __init__(self, key: StreamKey, place: int, epoch: int, record: bytes) -> None:
        self.key = key
        self.id = place
        self.epoch = epoch
        self.record = record
        self.head = 0
        self.ended = False
        self.owned = True
        self.places = Places()
        self.tail = Tail()


class LiveStreams:
    """All streams that have not ended, and the counter of places.

    Args:
        streams: those found in the file: orphans, for whoever wrote them is dead.
        place: the last one in use.
    """

    def __init__(self, streams: list[LiveStream], place: int) -> None:
        self._streams = {stream.key: stream for stream in streams}
        self._orphans = dict(self._streams)
        self._place = place

    @property
    def count(self) -> int:
        """How many streams have not ended."""
        return len(self._streams)

    def next_place(self) -> int:
        """Count one more place; an append that fails leaves a gap, which means nothing."""
        self._place += 1
        return self._place

    def get(self, key: StreamKey) -> LiveStream | None:
        """Return a running stream."""
        return self._streams.get(key)

    def add(self, stream: LiveStream) -> None:
        """Take a stream that was created."""
        self._streams[stream.key] = stream

    def own(self, stream: LiveStream) -> None:
        """Note that a writer in this process has it."""
        stream.owned = True
        self._orphans.pop(stream.key, None)

    def disown(self, stream: LiveStream) -> None:
        """Note that nobody has it."""
        stream.owned = False
        self._orphans[stream.key] = stream

    def end(self, stream: LiveStream) -> None:
        """Forget a stream; readers that have its tail keep it."""
        stream.ended = True
        del self._streams[stream.key]
        self._orphans.pop(stream.key, None)

    def orphans(self) -> list[StreamKey]:
        """Name a portion of the orphans; next time the others, if there are more."""
        portion = list(islice(self._orphans, ORPHANS_AT_ONCE))
        for key in portion:
            self._orphans[key] = self._orphans.pop(key)
        return portion
