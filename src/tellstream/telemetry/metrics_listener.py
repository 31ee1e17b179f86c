"""The listener for metrics: ``GET /metrics`` on an address of its own, and nothing else.

It shares no code, port or authentication with the API: whoever can reach it may read it, so it
belongs on an address that only the monitoring reaches. One request per connection; heads, answers
and connections are bounded, so that a broken scraper costs nothing but itself.

Each worker listens for itself: worker *i* of ``serve --workers N`` on the given port + *i*. Every
process then tells the truth about itself, a lost worker leaves nothing behind, and the sum is the
scraper's, which knows how to add counters that begin again.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import structlog

log = structlog.get_logger("tellstream.metrics")

PATH: Final = "/metrics"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MAX_CONNECTIONS: Final = 8
"""At once; two scrapers and some curiosity. Further ones are refused with 503."""
MAX_HEAD_BYTES: Final = 8 * 1024
"""Of a request."""
HEAD_SECONDS: Final = 5.0
"""From the connection to the end of the request's head."""
WRITE_SECONDS: Final = 10.0
"""For the client to take the answer: scrapers give up after ten seconds themselves."""
LINGER_SECONDS: Final = 1.0
"""For the client to close first, which keeps the answer from being lost by a reset."""
FRESH_SECONDS: Final = 1.0
"""For which one exposition serves everybody who asks: making one takes milliseconds."""
LAST_PORT: Final = 65535

Render = Callable[[], Awaitable[bytes]]


class MetricsSetupError(Exception):
    """The metrics listener cannot be opened; the message is one line and says why."""


def metrics_address(listen: str, worker: int = 0) -> tuple[str, int]:
    """Work out where a worker's metrics listen.

    Args:
        listen: ``host:port`` as configured; with port 0 every worker takes a free one.
        worker: counted from 0.

    Raises:
        MetricsSetupError: the port would be beyond the last one.
    """
    host, _, text = listen.rpartition(":")
    port = int(text)
    if port:
        port += worker
    if port > LAST_PORT:
        raise MetricsSetupError(f"metrics.listen: {listen} leaves no port for worker {worker}")
    return host.removeprefix("[").removesuffix("]"), port


class MetricsListener:
    """Serves expositions.

    Args:
        render: makes one.
        head_seconds: see ``HEAD_SECONDS``.
        write_seconds: see ``WRITE_SECONDS``.
    """

    def __init__(
        self,
        render: Render,
        *,
        head_seconds: float = HEAD_SECONDS,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:
        self._render = render
        self._head_seconds = head_seconds
        self._write_seconds = write_seconds
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._making = asyncio.Lock()
        self._made = b""
        self._made_at = -FRESH_SECONDS

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None, "start() was not called"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            MetricsSetupError: the address is in use, or is not ours.
        """
        try:
            self._server = await asyncio.start_server(
                self._connected, host, port, limit=MAX_HEAD_BYTES, backlog=MAX_CONNECTIONS
            )
        except OSError as error:
            known = error.errno is not None and error.errno > 0  # names that do not resolve: below
            reason = os.strerror(error.errno) if known and error.errno else error.strerror
            raise MetricsSetupError(
                f"metrics.listen: cannot listen on {host}:{port}: {reason}"
            ) from error

    async def close(self) -> None:
        """Stop listening, and cut who is connected."""
        if self._server is None:
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MAX_CONNECTIONS:
            writer.write(_refuse(HTTPStatus.SERVICE_UNAVAILABLE))
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, within the deadlines, and close."""
        try:
            answer = await self._read_and_answer(reader)
            if answer:
                writer.transport.set_write_buffer_limits(0)  # drain: until all of it is out
                async with asyncio.timeout(self._write_seconds):
                    writer.write(answer)
                    await writer.drain()
                await _linger(reader, writer)
        except (TimeoutError, OSError):
            log.info("metrics.client_cut")
        finally:
            writer.transport.abort()

    async def _read_and_answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(self._head_seconds):
                head = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            return _refuse(HTTPStatus.REQUEST_TIMEOUT)
        except asyncio.LimitOverrunError:
            return _refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except asyncio.IncompleteReadError:
            return b""  # the client left
        refused = judge(head)
        if refused is not None:
            return _refuse(refused)
        try:
            return _answer(HTTPStatus.OK, await self._exposition(), CONTENT_TYPE)
        except Exception:
            log.exception("metrics.bug")
            return _refuse(HTTPStatus.INTERNAL_SERVER_ERROR)

    async def _exposition(self) -> bytes:
        """Make one, unless there is a fresh one; one at a time."""
        time = asyncio.get_running_loop().time
        async with self._making:
            if time() - self._made_at >= FRESH_SECONDS:
                self._made = await self._render()
                self._made_at = time()
            return self._made


def judge(head: bytes) -> HTTPStatus | None:
    """Say why a request is refused; None: it is the one that is answered."""
    method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
    target, _, version = rest.partition(b" ")
    if not version.startswith(b"HTTP/1."):
        return HTTPStatus.BAD_REQUEST
    if target.partition(b"?")[0] != PATH.encode():
        return HTTPStatus.NOT_FOUND
    return None if method == b"GET" else HTTPStatus.METHOD_NOT_ALLOWED


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say that this was all, and read what the client still sends until it closes."""
    if writer.is_closing():
        return
    writer.write_eof()
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while await reader.read(MAX_HEAD_BYTES):
                pass
    except TimeoutError:
        return  # it was told


def _refuse(status: HTTPStatus) -> bytes:
    further = "Allow: GET\r\n" if status == HTTPStatus.METHOD_NOT_ALLOWED else ""
    text = f"{status.phrase}. Here is only GET {PATH}.\n"
    return _answer(status, text.encode(), "text/plain; charset=utf-8", further)


def _answer(status: HTTPStatus, body: bytes, content_type: str, further: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\n"
        f"X-Content-Type-Options: nosniff\r\nConnection: close\r\n{further}\r\n"
    )
    return head.encode() + body
