"""Log lines as they are written: ours and those of libraries, one JSON object each."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from support.canaries import leaks
from tellstream.telemetry import Redactor, configure_logging

KEY = 'xai-canary/1+"é-planted-key'
PROMPT = 'What is "canary" in\nGreek, ünd warum?'
TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the logging of the process as it was."""
    root = logging.getLogger()
    handlers, level, shown = root.handlers[:], root.level, warnings.showwarning
    try:
        yield
    finally:
        structlog.reset_defaults()
        logging.captureWarnings(False)
        root.handlers[:], warnings.showwarning = handlers, shown
        root.setLevel(level)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def redactor(stream: io.StringIO) -> Redactor:
    return configure_logging(stream)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.usefixtures("redactor")
class TestOurs:
    def test_a_line_is_one_object_with_level_and_time(self, stream: io.StringIO) -> None:
        structlog.get_logger("tellstream.x").info("stream.end", stream="str_1", seconds=1.5)
        (line,) = lines(stream)
        assert line["event"] == "stream.end"
        assert line["level"] == "info"
        assert line["timestamp"].endswith("Z")
        assert (line["stream"], line["seconds"]) == ("str_1", 1.5)

    def test_details_are_not_written_by_default(self, stream: io.StringIO) -> None:
        structlog.get_logger("tellstream.x").debug("detail")
        assert lines(stream) == []

    def test_an_exception_is_one_line_too(self, stream: io.StringIO) -> None:
        try:
            int("api_key=" + "k" * 20)
        except ValueError:
            structlog.get_logger("tellstream.x").exception("stream.bug")
        (line,) = lines(stream)
        assert line["exception"].startswith("Traceback")
        assert "kkkk" not in line["exception"]

    def test_a_line_end_in_a_value_makes_no_line(self, stream: io.StringIO) -> None:
        structlog.get_logger("tellstream.x").info("a\r\n{}", path='/\n{"event":"forged"}')
        assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.usefixtures("redactor")
class TestLibraries:
    def test_their_records_look_like_ours(self, stream: io.StringIO) -> None:
        logging.getLogger("aiohttp.client").warning("lost %s\n%s", "Bearer abcdefghijkl", 2)
        (line,) = lines(stream)
        assert line["event"] == "lost Bearer [secret]\\n2"
        assert line["logger"] == "aiohttp.client"
        assert line["level"] == "warning"
        assert line["timestamp"].endswith("Z")

    def test_below_a_warning_they_are_silent(self, stream: io.StringIO) -> None:
        logging.getLogger("httpx2").info("GET https://x/?key=abc")
        assert lines(stream) == []

    def test_their_exceptions_are_filtered(self, stream: io.StringIO) -> None:
        error = ValueError("password=abcdefgh")
        logging.getLogger("asyncio").error("never retrieved", exc_info=error)
        assert lines(stream)[0]["exception"] == "ValueError: password=[secret]"

    def test_warnings_of_python_are_lines_too(self, stream: io.StringIO) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            warnings.warn("old", stacklevel=1)
        assert lines(stream)[0]["logger"] == "py.warnings"


def test_a_record_that_cannot_be_formatted_is_said_without_its_arguments(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(stream)  # here, so that pytest's own handler is not asked
    text = "%d and %d"
    logging.getLogger("lib").warning(text, "planted")
    assert "cannot be formatted" in lines(stream)[0]["event"]
    assert "planted" not in stream.getvalue() + "".join(capsys.readouterr())


def test_on_a_terminal_lines_are_readable_and_filtered_the_same() -> None:
    terminal = Terminal()
    configure_logging(terminal)
    structlog.get_logger("x").info("hello", token="planted", path="\x1b[2Jcleared")
    shown = terminal.getvalue()
    assert "hello" in shown
    assert "planted" not in shown
    assert "\x1b[2J" not in shown


def test_planted_values_come_out_in_no_form(stream: io.StringIO, redactor: Redactor) -> None:
    redactor.hide([KEY])
    log = structlog.get_logger("tellstream.x")
    log.warning("stream.attempt_failed", reason=f"HTTP 401: wrong key {KEY}", prompt=PROMPT)
    log.info("http.refused", headers=[(b"authorization", f"Bearer {TOKEN}".encode())])
    log.info("x", request={"prompt": PROMPT, "api_key": KEY}, error=ValueError(KEY))
    logging.getLogger("lib").error("%s %s", KEY, TOKEN, exc_info=ValueError(f"{KEY} {TOKEN}"))
    assert len(lines(stream)) == 4
    planted = {"key": KEY, "prompt": PROMPT, "token": TOKEN}
    assert leaks(planted, {"log": stream.getvalue()}) == []


class Full(io.StringIO):
    """A disk that is full at first."""

    full = True

    def write(self, text: str) -> int:
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_a_full_disk_stops_nothing_and_lost_lines_are_counted() -> None:
    disk = Full()
    configure_logging(disk)
    log = structlog.get_logger("tellstream.x")
    log.info("one")
    log.info("two")
    disk.full = False
    log.info("three")
    assert [line["event"] for line in lines(disk)] == ["three", "log.lines_lost"]
    assert lines(disk)[1]["lines"] == 2
