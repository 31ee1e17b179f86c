"""One client connection: bytes in, requests one after the other, each answered by a playback.

Invariant: at most one response is being written; a client that goes away stops it at once. A
connection that asks for nothing, or never completes its request, is closed. What to answer is the
responder's business.
"""

import array
import asyncio
import fcntl
import socket
import struct
import termios
from collections import deque
from typing import Final, Protocol, cast

from tellstream.providers.simulator.delivery import MAX_SECONDS, Cut
from tellstream.providers.simulator.journal import Journal, Record
from tellstream.providers.simulator.playback import Playback
from tellstream.providers.simulator.reply import Reply
from tellstream.providers.simulator.request import ProtocolError, Request, RequestReader

_MAX_RESPONSE_SECONDS: Final = MAX_SECONDS + 10.0  # then the client has stopped reading
_MAX_WAITING: Final = 8  # requests sent ahead of their turn
_LINGER_SECONDS: Final = 2.0  # for a refused client to read the refusal while it is still sending
_DRAIN_SECONDS: Final = 2.0  # for the peer to acknowledge what precedes a reset
_DRAIN_POLL_SECONDS: Final = 0.002
_LINGER_OFF: Final = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Responder(Protocol):
    """Decides responses; the connections it serves register with it."""

    journal: Journal
    connections: set["Connection"]
    idle_seconds: float

    def answer(self, request: Request) -> tuple[Reply, Record] | bytes:
        """Decide a response to play and its record, or a whole one that is not recorded."""

    def refuse(self, error: ProtocolError) -> bytes:
        """Write the response to bytes that are not a request."""


class Connection(asyncio.Protocol):
    """The protocol of one connection."""

    def __init__(self, responder: Responder, loop: asyncio.AbstractEventLoop) -> None:
        self._responder = responder
        self._loop = loop
        self._reader = RequestReader()
        self._waiting: deque[Request] = deque()
        self._playback: Playback | None = None
        self._record: Record | None = None
        self._deaf = False  # after a refusal or a cut: what still arrives is dropped
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start waiting for a request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self._responder.connections.add(self)
        self._close_after(self._responder.idle_seconds)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it went does not matter
        """Stop writing: the client has gone."""
        self._responder.connections.discard(self)
        self._disarm()
        self._waiting.clear()
        if self._playback is not None and self._record is not None:
            self._playback.cancel()
            self._playback = None
            self._responder.journal.close(self._record, "client_closed")

    def eof_received(self) -> None:
        """Take a half-closed connection for a closed one, without flushing what nobody reads."""
        if self._playback is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read requests; answer the first one if none is being answered."""
        if self._deaf:
            return
        try:
            self._waiting.extend(self._reader.feed(data))
        except ProtocolError as error:
            self._refuse(error)
            return
        if len(self._waiting) > _MAX_WAITING:
            self._transport.abort()
            return
        if self._reader.expects_continue and self._playback is None:
            self._reader.expects_continue = False
            self._transport.write(_CONTINUE)
        self._serve_next()

    def pause_writing(self) -> None:
        """Stop a response that the client does not read fast enough."""
        if self._playback is not None:
            self._playback.pause()

    def resume_writing(self) -> None:
        """Go on with it."""
        if self._playback is not None:
            self._playback.resume()

    def abort(self) -> None:
        """Drop the connection at once: the server is shutting down."""
        self._transport.abort()

    def _serve_next(self) -> None:
        while self._waiting and self._playback is None and not self._transport.is_closing():
            request = self._waiting.popleft()
            answer = self._responder.answer(request)
            if isinstance(answer, bytes):
                self._transport.write(answer)
                self._rest(keep_alive=request.keep_alive)
            else:
                self._play(*answer, keep_alive=request.keep_alive)

    def _play(self, reply: Reply, record: Record, *, keep_alive: bool) -> None:
        def ended(cut: Cut | None) -> None:
            self._playback = self._record = None
            broken = cut is not None or reply.breaks
            self._responder.journal.close(record, "faulted" if broken else "complete")
            if cut is None:
                self._rest(keep_alive=keep_alive)
                self._serve_next()
            else:
                self._cut(cut)

        self._close_after(_MAX_RESPONSE_SECONDS)
        self._record = record
        self._playback = Playback(self._loop, self._transport, reply, record, ended)

    def _rest(self, *, keep_alive: bool) -> None:
        self._close_after(self._responder.idle_seconds)
        if not keep_alive:
            self._transport.close()

    def _refuse(self, error: ProtocolError) -> None:
        """Answer and stop listening; closing at once could reset the answer away."""
        self._deaf = True
        if self._playback is not None:  # an answer is under way: there is no place for another
            self._transport.abort()
            return
        self._transport.write(self._responder.refuse(error))
        self._transport.write_eof()
        self._close_after(_LINGER_SECONDS)

    def _cut(self, cut: Cut) -> None:
        self._deaf = True
        self._disarm()
        if cut is Cut.RESET:
            self._reset_when_drained(self._loop.time() + _DRAIN_SECONDS)
        else:
            self._close_after(self._responder.idle_seconds)
            self._transport.close()

    def _reset_when_drained(self, deadline: float) -> None:
        """Reset after the peer has everything before it: a reset discards what is unsent."""
        if self._transport.is_closing():
            return
        raw = self._transport.get_extra_info("socket")
        unsent = self._transport.get_write_buffer_size() or _unacknowledged(raw.fileno())
        if unsent and self._loop.time() < deadline:
            self._timer = self._loop.call_later(
                _DRAIN_POLL_SECONDS, self._reset_when_drained, deadline
            )
            return
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_OFF)
        self._transport.abort()

    def _close_after(self, seconds: float) -> None:
        """Drop the connection unless something happens before; a polite close can take for ever."""
        self._disarm()
        self._timer = self._loop.call_later(seconds, self._transport.abort)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _unacknowledged(descriptor: int) -> int:
    """Return how many bytes the kernel has not delivered; 0 where it does not say."""
    size = array.array("i", [0])
    try:
        fcntl.ioctl(descriptor, termios.TIOCOUTQ, size)
    except OSError:
        return 0
    return size[0]
