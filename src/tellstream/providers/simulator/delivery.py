"""When which bytes leave: frames become timed steps, and faults are put among them.

Each layer is a generator over steps and is left out if the script does not ask for it. The order
is the wire's own: frames are paced, a fault happens at a frame, keep-alives fill the waiting, the
body is compressed, cut at a byte, cut into pieces, and framed as HTTP chunks last.

Invariant: times are absolute seconds since the request was complete, and never fall. A frame counts
as sent in the step that holds its last byte. Nothing here reads a clock or writes to a socket.
"""

import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from itertools import islice
from typing import Final

import msgspec

from tellstream.providers.simulator.keys import BEFORE_HEAD, CUTS, EXTRA_FRAMES, Fault
from tellstream.providers.simulator.script import Script
from tellstream.providers.simulator.wire import Frame

MAX_SECONDS: Final = 600.0  # no response lasts longer; it is how long stall and endless last
_GZIP: Final = 16 + zlib.MAX_WBITS  # zlib's way to ask for a gzip header
_LAST_CHUNK: Final = b"0\r\n\r\n"


class Cut(Enum):
    """How a connection ends before its response does."""

    RESET = auto()
    EOF = auto()


class Step(msgspec.Struct, frozen=True, gc=False):
    """Bytes to write at a time, the frames and tokens they complete, or a cut instead."""

    at: float
    data: bytes = b""
    frames: int = 0
    tokens: int = 0
    cut: Cut | None = None


def deliver(
    script: Script, head: bytes, frames: Iterable[Frame], extra: Frame, ping: bytes
) -> Iterator[Step]:
    """Time a whole chunked response.

    Args:
        script: pace and faults.
        head: the response head.
        frames: the body.
        extra: the frame that the script's fault adds, if it adds one.
        ping: a keep-alive, empty on wires that have none.
    """
    start = script.head_ms / 1_000
    if script.fault in CUTS and script.at == BEFORE_HEAD:
        yield from _cut(script.fault, start)
        return
    yield Step(start, head)
    steps = _paced(script, frames)
    if script.fault in CUTS | EXTRA_FRAMES and script.byte is None:
        steps = _at_frame(script, steps, extra)
    if script.together:
        steps = _joined(steps)
    if script.pings and ping:
        steps = _pinged(steps, start, script.ping_ms / 1_000, ping)
    if script.gzip:
        steps = _gzipped(steps)
    if script.fault in CUTS and script.byte is not None:
        steps = _at_byte(script.fault, script.byte, steps)
    if script.chunk or script.drip:
        steps = _sliced(steps, script.chunk or 1, script.delay_ms / 1_000 if script.drip else 0.0)
    yield from _chunked(steps)


def _paced(script: Script, frames: Iterable[Frame]) -> Iterator[Step]:
    """Put frames on the schedule; the first token leaves with the frames that open the answer."""
    at = (script.head_ms + script.first_ms) / 1_000
    delay = 0.0 if script.drip else script.delay_ms / 1_000
    waits = 0
    for data, tokens in frames:
        yield Step(at + delay * waits, data, 1, tokens)
        waits += bool(waits or tokens)


def _cut(fault: Fault | None, at: float) -> Iterator[Step]:
    """Yield what replaces the rest of a response; nothing for a body that just ends."""
    if fault is Fault.RESET:
        yield Step(at, cut=Cut.RESET)
    elif fault is Fault.EOF:
        yield Step(at, cut=Cut.EOF)
    elif fault is Fault.STALL:
        yield Step(MAX_SECONDS, cut=Cut.EOF)


def _at_frame(script: Script, steps: Iterator[Step], extra: Frame) -> Iterator[Step]:
    at = 0.0
    for step in islice(steps, script.at):
        at = step.at
        yield step
    following = next(steps, None)
    at = at if following is None else following.at
    if script.fault in CUTS:
        yield from _cut(script.fault, at)
        return
    yield Step(at, extra.data, 1, extra.tokens)
    if script.fault is not Fault.ERROR and following is not None:
        yield following
        yield from steps


def _joined(steps: Iterator[Step]) -> Iterator[Step]:
    """Join all frames up to a cut; they leave when the first one would have left."""
    joined: list[Step] = []
    cut: Step | None = None
    for step in steps:
        if step.cut is not None:
            cut = step
            break
        joined.append(step)
    if joined:
        data = b"".join(step.data for step in joined)
        yield Step(joined[0].at, data, len(joined), sum(step.tokens for step in joined))
    if cut is not None:
        yield cut


def _pinged(steps: Iterator[Step], last: float, interval: float, ping: bytes) -> Iterator[Step]:
    for step in steps:
        while last + interval < step.at:
            last += interval
            yield Step(last, ping)
        last = step.at
        yield step


def _gzipped(steps: Iterator[Step]) -> Iterator[Step]:
    """Compress; each frame is flushed, so that a reader sees it at its time."""
    packer = zlib.compressobj(wbits=_GZIP)
    at = 0.0
    for step in steps:
        at = step.at
        if step.cut is not None:
            yield step
            return
        data = packer.compress(step.data) + packer.flush(zlib.Z_SYNC_FLUSH)
        yield Step(at, data, step.frames, step.tokens)
    yield Step(at, packer.flush())


def _at_byte(fault: Fault | None, byte: int, steps: Iterator[Step]) -> Iterator[Step]:
    left = byte
    at = 0.0
    for step in steps:
        at = step.at
        if len(step.data) > left:
            yield Step(at, step.data[:left])
            break
        left -= len(step.data)
        yield step
        if not left:
            break
    yield from _cut(fault, at)


def _sliced(steps: Iterator[Step], size: int, spacing: float) -> Iterator[Step]:
    """Cut the body into pieces of ``size`` bytes that ignore where frames begin and end.

    Only the last piece, and the last one before a cut, may be shorter. With ``spacing`` each piece
    waits for the one before it.
    """
    slicer = _Slicer(spacing)
    at = 0.0
    for step in steps:
        if step.cut is not None:
            yield slicer.take(at, len(slicer.buffer))
            yield step
            return
        at = step.at
        slicer.put(step)
        while len(slicer.buffer) >= size:
            yield slicer.take(at, size)
    if slicer.buffer:
        yield slicer.take(at, len(slicer.buffer))


class _Slicer:
    """A buffer that remembers where frames end in it."""

    def __init__(self, spacing: float) -> None:
        self.buffer = bytearray()
        self._ends: deque[tuple[int, int, int]] = deque()
        self._put = self._taken = 0
        self._spacing = spacing
        self._next_at = 0.0

    def put(self, step: Step) -> None:
        self.buffer += step.data
        self._put += len(step.data)
        self._ends.append((self._put, step.frames, step.tokens))

    def take(self, at: float, size: int) -> Step:
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        self._taken += size
        frames = tokens = 0
        while self._ends and self._ends[0][0] <= self._taken:
            _, more_frames, more_tokens = self._ends.popleft()
            frames, tokens = frames + more_frames, tokens + more_tokens
        at = max(at, self._next_at)
        self._next_at = at + self._spacing
        return Step(at, data, frames, tokens)


def _chunked(steps: Iterator[Step]) -> Iterator[Step]:
    """Frame the body for ``Transfer-Encoding: chunked``; a cut leaves it without its end."""
    at = 0.0
    for step in steps:
        at = step.at
        if step.cut is not None:
            yield step
            return
        if step.data:  # an empty chunk would end the body
            data = b"%x\r\n%b\r\n" % (len(step.data), step.data)
            yield Step(at, data, step.frames, step.tokens)
    yield Step(at, _LAST_CHUNK)
