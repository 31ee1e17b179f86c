"""A reader's hold on a stream, wherever the stream is produced."""

from collections.abc import Callable

from tellstream.core import events as ev
from tellstream.core.errors import ChatError, ServerError
from tellstream.core.frames import decode_frame
from tellstream.eventlog.base import LogReader, StreamKey
from tellstream.streams.stream import Stream


class Attachment:
    """Close it when the reader leaves.

    Args:
        key: the stream.
        reader: of its log.
        stream: if it is produced in this process and still runs.
        left: called when the reader leaves.

    Attributes:
        key: the stream.
        reader: of its log.
        here: the stream is produced in this process and ends with it.
    """

    __slots__ = ("_left", "_stream", "here", "key", "reader")

    def __init__(
        self,
        key: StreamKey,
        reader: LogReader,
        stream: Stream | None = None,
        left: Callable[[Stream], None] | None = None,
    ) -> None:
        self.key = key
        self.reader = reader
        self.here = stream is not None
        self._stream = stream
        self._left = left

    def early_failure(self, frames: list[bytes]) -> ChatError | None:
        """The error, if the stream failed before any content event.

        Args:
            frames: the first frames of the stream, all that there are now.
        """
        if not self.reader.ended:
            return None  # what is not in the log yet may come differently
        events = [decode_frame(frame)[1] for frame in frames]
        if any(event.type not in ev.NON_CONTENT for event in events):
            return None
        logged = failure(events)
        own = None if self._stream is None else self._stream.early_failure
        return own if own and logged and own.code == logged.code else logged

    def close(self) -> None:
        """Leave."""
        self.reader.close()
        if self._stream is not None and self._left is not None:
            self._left(self._stream)
            self._left = None


def failure(events: list[ev.Event]) -> ChatError | None:
    """The error that ended a stream, as its events tell it; None if it ended well."""
    for event in events:
        if isinstance(event, ev.Error) and not event.recoverable:
            return ServerError(event.error_type, event.message)
    return None
