"""Ending a stream whose producer is gone, from what is in its log."""

import secrets
from collections.abc import Callable

import msgspec
import structlog

from tellstream.core.composer import CANCELLED, Ending
from tellstream.core.frames import decode_frame, encode_frames
from tellstream.core.ids import EventIds
from tellstream.core.observer import Observer, StreamEnded
from tellstream.core.sealing import recovered
from tellstream.eventlog.base import EventLog, LogWriter
from tellstream.streams.meter import Meter
from tellstream.streams.record import StreamRecord

log = structlog.get_logger("tellstream.stream")


class Sealer:
    """Ends streams for others.

    Args:
        event_log: where the streams are.
        meter: settles their usage before the end is appended.
        clock: Unix seconds.
        observer: is told of each stream that ended here.
    """

    def __init__(
        self, event_log: EventLog, meter: Meter, clock: Callable[[], float], observer: Observer
    ) -> None:
        self._observer = observer
        self._log = event_log
        self._meter = meter
        self._clock = clock

    async def seal(self, writer: LogWriter, ending: Ending) -> None:
        """Append the end of a stream that was claimed.

        Raises:
            FencedError: somebody else claimed it meanwhile.
            LogUnavailableError: the log does not answer; the stream is an orphan again when this
                process is gone.
        """
        entry = await self._log.find(writer.key)
        assert entry is not None, "an open stream has a record"
        record = StreamRecord.decode(entry.record)
        events = []
        reader = await self._log.reader(writer.key)
        try:
            while frames := await reader.read():
                events += [decode_frame(frame)[1] for frame in frames]
        finally:
            reader.close()
        state = record.state
        composer = recovered(
            events, EventIds(secrets.randbits(80)), state.provider, state.model, record.metadata
        )
        now = self._clock()
        if record.reading_on:  # only its usage was waited for
            ending = CANCELLED
        state, debt = await self._meter.settle_lost(record, composer, ending, now)
        assert state.usage is not None
        closing = encode_frames(writer.head + 1, composer.close(ending, state.usage, now))
        sealed = msgspec.structs.replace(record, state=state, reading_on=False)
        await writer.append(
            writer.head + 1, closing, record=sealed.encode(), end=True, release=not events
        )
        self._meter.ended(debt)
        end = StreamEnded(
            model=record.model,
            provider=composer.provider,
            response_model=composer.model,
            finish_reason=ending.reason,
            error=ending.error.code if ending.error else None,
            seconds=max(0.0, now - state.created_at),
            usage=state.usage,
            estimated=state.estimated,
        )
        self._observer.stream_ended(end)
        log.warning(
            "stream.sealed",
            stream=writer.key.stream_id,
            tenant=writer.key.tenant,
            finish_reason=ending.reason.value,
            error=ending.error.code if ending.error else None,
            events=writer.head,
        )
