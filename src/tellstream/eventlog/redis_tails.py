"""The tails of running streams in this process.

A tail takes frames from whoever has them first: from the acknowledgements of the appends made here,
and from the tailer, which hears of the others'. Frames are numbered, so what comes twice is taken
once.
"""

from collections.abc import Callable, Iterator

from tellstream.eventlog.base import LogReader, StreamKey
from tellstream.eventlog.tail import Load, Tail, TailReader


class LiveTail:
    """The tail of one running stream.

    Attributes:
        tail: the window.
        readers: how many are open here.
        produced: appends made here feed it, so the tailer need not.
    """

    __slots__ = ("produced", "readers", "tail")

    def __init__(self, head: int, *, produced: bool) -> None:
        self.tail = Tail(head)
        self.readers = 0
        self.produced = produced


class LiveTails:
    """The running streams that are produced or followed here.

    Args:
        joined: called when the tailer must attend to one more stream.
        left: called when the last reader here of a stream produced elsewhere has gone.
    """

    def __init__(self, joined: Callable[[], None], left: Callable[[StreamKey], None]) -> None:
        self._tails: dict[StreamKey, LiveTail] = {}
        self._joined = joined
        self._left = left

    def produce(self, key: StreamKey, head: int) -> None:
        """Keep a tail of a stream that this process appends to from now on."""
        live = self._tails.get(key)
        if live is None:
            self._tails[key] = LiveTail(head, produced=True)
        elif live.tail.head == head:
            live.produced = True  # else the tailer has yet to bring what is between

    def follow(self, key: StreamKey, head: int) -> None:
        """Keep a tail of a stream that has ``head`` frames now; a reader is to join it at once."""
        if key not in self._tails:
            self._tails[key] = LiveTail(head, produced=False)
            self._joined()

    def knows(self, key: StreamKey, after: int) -> bool:
        """Whether a reader after that frame can be opened without asking Redis."""
        live = self._tails.get(key)
        return live is not None and after <= live.tail.head

    def join(self, key: StreamKey, after: int, load: Load) -> LogReader:
        """Open a reader of a stream that has a tail here."""
        live = self._tails[key]
        live.readers += 1

        def leave() -> None:
            live.readers -= 1
            if not live.readers and not live.produced and self._tails.get(key) is live:
                del self._tails[key]
                self._left(key)

        return TailReader(live.tail, after, load, leave)

    def extend(self, key: StreamKey, first: int, frames: list[bytes], *, end: bool) -> bool:
        """Take frames that are in the log, numbered from ``first``.

        Returns:
            Whether that could be done; False if others are missing between.
        """
        live = self._tails.get(key)
        if live is None:
            return True
        there = live.tail.head - first + 1
        if there < 0:
            return False
        new = frames[there:]
        if end:
            del self._tails[key]
        if new or end:
            live.tail.extend(new, end=end)
        return True

    def stop(self, key: StreamKey) -> None:
        """End a stream here of which nothing more will come: its readers shall ask again."""
        live = self._tails.pop(key, None)
        if live is not None:
            live.tail.extend([], end=True)

    def settle(self, key: StreamKey, end: int | None) -> None:
        """Heed that the stream has ended with frame number ``end``; None: it is not there at all.

        The tailer brings the end as a rule, but not of a log that has expired, nor if Redis has
        lost frames that were seen here.
        """
        live = self._tails.get(key)
        if live is not None and (end is None or live.tail.head >= end):
            self.stop(key)

    def release(self, key: StreamKey) -> None:
        """Let the tailer go on with a stream that is not produced here any more."""
        live = self._tails.get(key)
        if live is None or not live.produced:
            return
        live.produced = False
        if live.readers:
            self._joined()
        else:
            del self._tails[key]

    def foreign(self) -> Iterator[tuple[StreamKey, int]]:
        """Name the streams that the tailer attends to, and the last frame known of each."""
        for key, live in self._tails.items():
            if not live.produced:
                yield key, live.tail.head
