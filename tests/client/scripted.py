"""A server that says exactly what a test tells it to, byte by byte, on real sockets."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple, Self, TypeAlias

from tellstream.core import events as ev
from tellstream.core.frames import encode_frames
from tellstream.core.usage import FinishReason, Usage

STREAM_ID = "str_01ARZ3NDEKTSV4RRFFQ69G5FAV"


class Asked(NamedTuple):
    """A request as it came; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def after(self) -> int:
        return int(self.headers.get("last-event-id", "0"))


class Reset(NamedTuple):
    """Break the connection off with RST."""


class Hold(NamedTuple):
    """Say nothing more until the client leaves."""


Action: TypeAlias = bytes | Reset | Hold
Script: TypeAlias = Iterable[Action] | Callable[[Asked], Iterable[Action]]


class Scripted:
    """Answers each request with the next script; the last one answers all that follow.

    Every answer ends with the end of its connection.

    Attributes:
        asked: all requests, in order.
        left: set when a client has left a connection that is held.
    """

    def __init__(self, *scripts: Script) -> None:
        self._scripts = scripts
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self.asked: list[Asked] = []
        self.left = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):  # the client may have broken it off
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            with self._lock:
                self._open.add(connection)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            asked = read_request(connection)
            if asked is None:
                return
            with self._lock:
                script = self._scripts[min(len(self.asked), len(self._scripts) - 1)]
                self.asked.append(asked)
            for action in script(asked) if callable(script) else script:
                match action:
                    case Reset():
                        linger = struct.pack("ii", 1, 0)
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                        return
                    case Hold():
                        connection.settimeout(30)
                        connection.recv(1)
                        self.left.set()
                    case bytes():
                        connection.sendall(action)
        except OSError:
            self.left.set()  # the client left in the middle of an answer
        finally:
            with self._lock:
                self._open.discard(connection)
                connection.close()


def read_request(connection: socket.socket) -> Asked | None:
    """Read one request; None if the client left before it was whole."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    while len(body) < int(headers.get("content-length", "0")):
        more = connection.recv(65536)
        if not more:
            return None
        body += more
    method, path, _ = first.split(" ")
    return Asked(method, path, headers, body)


# --- answers -------------------------------------------------------------------------------------

HEAD = (
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    f"X-Stream-Id: {STREAM_ID}\r\n"
).encode()
CLOSED = HEAD + b"Connection: close\r\n\r\n"
"""A head whose body ends with the connection: a cut looks like an end."""
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
"""A head whose body says where it ends: a cut is an error."""
NO_CONTENT = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def answer(status: int, body: object, **headers: str) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Content-Length": str(len(data)), "Connection": "close", **headers}
    text = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} X\r\n{text}\r\n".encode() + data


def refused(status: int, code: str, **headers: str) -> bytes:
    return answer(status, {"error": code, "message": f"Because of {code}."}, **headers)


def story(*deltas: str, error: str | None = None) -> list[ev.Event]:
    """Build a whole stream that says ``deltas``."""
    events: list[ev.Event] = [ev.StreamStart("", 1, "m", "p"), ev.TextStart("", 1, "b")]
    events += [ev.TextDelta("", 1, delta, "b") for delta in deltas]
    events.append(ev.TextComplete("", 1, "b"))
    if error is not None:
        events.append(ev.Error("", 1, error, "It broke.", recoverable=False))
    reason = FinishReason.STOP if error is None else FinishReason.ERROR
    return [*events, ev.StreamEnd("", 1, reason, Usage(1, 2))]


def frames_of(events: list[ev.Event]) -> list[bytes]:
    return encode_frames(1, events)
