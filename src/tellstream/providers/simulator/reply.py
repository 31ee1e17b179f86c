"""What a request is answered with: the decision of a script, as a head and timed steps.

Invariant: pure. The same script, turn and time give the same reply; the connection only plays it.
"""

from collections.abc import Iterator
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import msgspec

from tellstream.providers.simulator.answer import Turn, pieces
from tellstream.providers.simulator.delivery import Step, deliver
from tellstream.providers.simulator.failure import Failure, failure
from tellstream.providers.simulator.keys import BEFORE_HEAD, CUTS, EXTRA_FRAMES, Fault
from tellstream.providers.simulator.script import Script
from tellstream.providers.simulator.wire import Frame, Wire

JSON: Final = "application/json"
REDIRECTED: Final = "redirected=1"
_HTML: Final = "text/html; charset=utf-8"
_BATCH_STEPS: Final = 64  # steps joined in one write when they are due: about 16 kB, 0.2 ms
_NO_FRAME: Final = Frame(b"")
_WRONG_BODIES: Final = {
    "html": (
        _HTML,
        b"<!DOCTYPE html>\n<html><body><h1>This page is not the answer</h1></body></html>\n",
    ),
    "json": (JSON, b'{"detail":"This object is not the answer."}'),
}


class Reply(msgspec.Struct, frozen=True):
    """A response to play.

    Attributes:
        steps: what to write when, head included.
        batch: how many steps may share a write when they are due together.
        breaks: whether the request counts as faulted even when all steps were written.
        stamped: whether the words are times, to be filled in when they are written.
        answers: whether a model has read the prompt, so that its tokens count.
    """

    steps: Iterator[Step]
    batch: int = 1
    breaks: bool = False
    stamped: bool = False
    answers: bool = False


def reply(wire: Wire, script: Script, turn: Turn, path: str, now: float) -> Reply:
    """Decide the response to a turn."""
    at = script.head_ms / 1_000
    if script.redirect and REDIRECTED not in path:
        location = {"location": path + ("&" if "?" in path else "?") + REDIRECTED}
        return Reply(iter((Step(at, plain(307, b"", JSON, location)),)), breaks=True)
    if script.status or script.body:
        return Reply(iter((Step(at, _refusal(wire, script, now)),)), breaks=True)
    if not turn.stream and script.fault in {Fault.ERROR, Fault.ERRORAFTER}:
        body = wire.failure(failure(code=script.code))
        return Reply(iter((Step(at, plain(500, body, JSON)),)), breaks=True)
    return Reply(
        _answer(wire, script, turn),
        batch=1 if script.chunk or script.drip else _BATCH_STEPS,
        breaks=script.breaks,
        stamped=script.stamp,
        answers=script.at != BEFORE_HEAD,
    )


def failed(wire: Wire, failure: Failure, **headers: str) -> Reply:
    """Refuse a request at once, in the wire's own shape."""
    data = plain(failure.status, wire.failure(failure), JSON, headers)
    return Reply(iter((Step(0.0, data),)), breaks=True)


def plain(
    status: int, body: bytes, media_type: str, headers: dict[str, str] | None = None
) -> bytes:
    """Write a response that is known in full."""
    length = {"content-length": str(len(body))}
    return _head(status, {"content-type": media_type} | length | (headers or {})) + body


def _refusal(wire: Wire, script: Script, now: float) -> bytes:
    reason = failure(script.status, script.code)
    if script.retry_after:
        wait = int(script.retry_after.removeprefix("date:"))
        reason = reason._replace(retry_seconds=wait)
    media_type, body = _WRONG_BODIES.get(script.body, (JSON, wire.failure(reason)))
    headers = {"retry-after": _retry_after(script.retry_after, now)} if script.retry_after else {}
    return plain(script.status or 200, body, media_type, headers)


def _retry_after(value: str, now: float) -> str:
    dated = value.removeprefix("date:")
    return value if dated == value else formatdate(now + int(dated), usegmt=True)


def _answer(wire: Wire, script: Script, turn: Turn) -> Iterator[Step]:
    if not turn.stream and script.fault not in CUTS:  # one JSON body has no frames to disturb
        script = msgspec.structs.replace(script, fault=None)
    headers = {"content-type": wire.media_type if turn.stream else JSON}
    if script.gzip:
        headers["content-encoding"] = "gzip"
    fault = script.fault
    extra = wire.fault_frame(script, turn, fault) if fault in EXTRA_FRAMES else _NO_FRAME
    head = _head(
        200,
        headers
        | {
            "cache-control": "no-cache",
            "x-request-id": f"req_{turn.digest}",
            "transfer-encoding": "chunked",
        },
    )
    said = pieces(script, turn)
    if turn.stream:
        return deliver(script, head, wire.frames(script, turn, said), extra, wire.keep_alive)
    frame = wire.whole(script, turn, said)
    last_ms = script.first_ms + script.delay_ms * max(0, frame.tokens - 1)
    script = msgspec.structs.replace(script, first_ms=last_ms, pings=False)
    return deliver(script, head, (frame,), extra, b"")


def _head(status: int, headers: dict[str, str]) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:  # 498 and 529 are real but not registered
        phrase = "Unknown"
    lines = [
        f"HTTP/1.1 {status} {phrase}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
