"""Logging: one JSON line per occurrence, or readable lines on a terminal. Never prompts or keys."""

import logging
from typing import Any, Final, TextIO

import msgspec
import structlog

MAX_FIELD_CHARS: Final = 1000
"""Of any logged value; provider text is cut there."""
_SECRET: Final = ("authorization", "cookie", "api_key", "api-key", "token", "secret", "password")


def configure_logging(stream: TextIO, level: int = logging.INFO) -> None:
    """Send our logs and those of the standard library to ``stream``."""
    terminal = stream.isatty()
    render: Any = (
        structlog.dev.ConsoleRenderer()
        if terminal
        else structlog.processors.JSONRenderer(serializer=_encode)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _safe,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(
        stream=stream,
        level=logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
        force=True,
    )


def _encode(fields: Any, **_options: Any) -> str:
    return msgspec.json.encode(fields, enc_hook=repr).decode()


def _safe(_logger: Any, _name: str, fields: Any) -> Any:
    """Drop what a name says is secret, cut long values, escape line ends."""
    for name, value in list(fields.items()):
        if any(word in name.lower() for word in _SECRET) and not name.endswith("_tokens"):
            fields[name] = "[secret]"
        elif isinstance(value, str) and name != "exception":
            fields[name] = value[:MAX_FIELD_CHARS].replace("\r", "\\r").replace("\n", "\\n")
    return fields
