"""A process that appends to many streams and prints each append that was acknowledged."""

import asyncio
import sys
import time
from pathlib import Path

from support.event_logs import frames
from tellstream.eventlog.base import StreamKey, Taken
from tellstream.eventlog.sqlite import SqliteEventLog

STREAMS = 40
"""Every fourth ends after ENDS_AFTER frames, and another one begins."""
ENDS_AFTER = 50


def say(word: str, key: StreamKey, head: int) -> None:
    sys.stdout.write(f"{word} {key.stream_id} {head}\n")
    sys.stdout.flush()


async def write(log: SqliteEventLog, name: str) -> None:
    generation = 0
    while True:
        key = StreamKey(1, f"{name}.{generation}")
        writer = await log.create(key, b"record")
        assert not isinstance(writer, Taken)
        say("created", key, 0)
        ends = int(name) % 4 == 0
        while not ends or writer.head < ENDS_AFTER:
            first = writer.head + 1
            count = 1 + first % 3
            end = ends and first + count > ENDS_AFTER
            record = b"at %d" % first if first % 5 == 0 else None
            await writer.append(first, frames(first, count, 200), record=record, end=end)
            say("ended" if end else "appended", key, writer.head)
        generation += 1


async def main(path: Path) -> None:
    log = SqliteEventLog(path, 3600, time.time)
    await log.start(lambda key: None)
    await asyncio.gather(*(write(log, str(number)) for number in range(STREAMS)))


asyncio.run(main(Path(sys.argv[1])))
