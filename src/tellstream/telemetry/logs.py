"""Logging: one JSON line per occurrence, or readable lines on a terminal.

Our own lines and those of libraries go the same way, through the same filter (``redaction.py``),
into one stream. Invariant: writing a line never raises and never shows what the filter withholds.
"""

import logging
import threading
from collections.abc import MutableMapping
from typing import Any, Final, TextIO, TypeAlias

import msgspec
import structlog

from tellstream.telemetry.redaction import Redactor

LIBRARY_LEVEL: Final = logging.WARNING
"""Libraries log addresses and headers below it."""

Fields: TypeAlias = MutableMapping[str, Any]


class Output:
    """Writes whole lines; what cannot be written (a full disk, a closed pipe) is counted.

    Attributes:
        lost: lines since the last one that could be written.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self.lost = 0

    def line(self, text: str) -> None:
        """Write one line."""
        with self._lock:
            try:
                self._stream.write(text + "\n")
                self._stream.flush()
            except (OSError, ValueError):  # ValueError: the stream is closed
                self.lost += 1  # there is no better place to say so than the next line
                return
            lost, self.lost = self.lost, 0
        if lost:
            structlog.get_logger("tellstream.log").warning("log.lines_lost", lines=lost)

    msg = debug = info = warning = error = critical = exception = log = line
    """The names by which structlog calls it."""


def configure_logging(stream: TextIO, level: int = logging.INFO) -> Redactor:
    """Send our logs and those of libraries to ``stream``.

    Returns:
        The filter; tell it the secrets that are known.
    """
    output, redactor = Output(stream), Redactor()
    render: Any = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if stream.isatty()
        else structlog.processors.JSONRenderer(serializer=_encode)
    )

    def redact(_logger: Any, _method: str, fields: Fields) -> Fields:
        return redactor.fields(fields)

    finish = [
        structlog.processors.format_exc_info,
        redact,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        render,
    ]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *finish,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_names: output,
        cache_logger_on_first_use=False,
    )
    handler = _LibraryHandler(output, finish)
    logging.basicConfig(handlers=[handler], level=LIBRARY_LEVEL, force=True)
    logging.captureWarnings(True)
    return redactor


class _LibraryHandler(logging.Handler):
    """Takes the records of the standard library's logging."""

    def __init__(self, output: Output, processors: list[Any]) -> None:
        super().__init__()
        self._output = output
        self._processors = processors

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's arguments do not fit its text
            message = f"a message that cannot be formatted, from {record.filename}:{record.lineno}"
        fields: Any = {"event": message, "logger": record.name, "level": record.levelname.lower()}
        if record.exc_info and record.exc_info[0] is not None:
            fields["exc_info"] = record.exc_info
        for process in self._processors:
            fields = process(None, record.levelname.lower(), fields)
        self._output.line(fields)


def _encode(fields: Any, **_options: Any) -> str:
    return msgspec.json.encode(fields).decode()
