"""What the tests of every event log share: a clock, numbered frames, reading to the end."""

from tellstream.eventlog.base import EventLog, LogReader, LogWriter, StreamKey, Taken

RETENTION = 100.0
KEY = StreamKey(1, "s")


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def frames(first: int, count: int, size: int = 10) -> list[bytes]:
    """Frames of ``size`` bytes that tell their number."""
    return [
        b"%d" % number + b"." * (size - 2 - len(b"%d" % number)) + b"\n\n"
        for number in range(first, first + count)
    ]


async def rest(reader: LogReader) -> list[bytes]:
    """Read all that is there now, and close the reader."""
    found: list[bytes] = []
    while read := await reader.read():
        found += read
    reader.close()
    return found


async def everything(log: EventLog, key: StreamKey = KEY, after: int = 0) -> list[bytes]:
    """Read all that is in a stream now."""
    return await rest(await log.reader(key, after))


async def created(log: EventLog, key: StreamKey = KEY) -> LogWriter:
    """Open a log whose name nobody can have taken."""
    writer = await log.create(key, b"record")
    assert not isinstance(writer, Taken)
    return writer
