"""Running the application under uvicorn: our own listening socket, protocol and way to stop.

On the first SIGTERM or SIGINT new streams are refused and running ones may finish; only then
uvicorn is told to exit, so that readiness fails while the port still answers. A second signal ends
everything at once.
"""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

import uvicorn

from tellstream.server.application import Application
from tellstream.server.garbage import calm
from tellstream.server.http_protocol import DeadlineProtocol

BACKLOG: Final = 2048
"""Connections the kernel may hold before they are accepted."""
IDLE_SECONDS: Final = 75
"""For which an idle keep-alive connection stays open; above nginx's default of 60."""
EXIT_SECONDS: Final = 10
"""For the last responses to go out once all streams have ended."""


def bind(host: str, port: int) -> socket.socket:
    """Bind the listening socket; port 0 takes a free one.

    Raises:
        OSError: the address is in use or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener


def run(
    application: Application, listener: socket.socket, drain: float, started: Callable[[], None]
) -> None:
    """Serve until a signal.

    Args:
        application: what to serve.
        listener: from ``bind``.
        drain: seconds that running streams may take after the first signal.
        started: called once requests are answered.

    Raises:
        Exception: the application could not start; what its start raised.
    """
    config = uvicorn.Config(
        application,
        http=DeadlineProtocol,
        ws="none",
        loop="uvloop",
        lifespan="on",
        interface="asgi3",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=EXIT_SECONDS,
    )
    server = _Server(config, application, drain, started)
    # The failure is raised below; uvicorn's own words for it would only repeat it.
    logging.getLogger("uvicorn.error").addFilter(lambda _record: application.failure is None)
    try:
        server.run(sockets=[listener])
    except SystemExit:  # how uvicorn reports that the application could not start
        if application.failure is None:
            raise
    if application.failure is not None:
        raise application.failure


class _Server(uvicorn.Server):
    def __init__(
        self,
        config: uvicorn.Config,
        application: Application,
        drain: float,
        started: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._application = application
        self._drain = drain
        self._announce = started
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None
        self._signalled = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        if self.started:
            self._announce()
            calm()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._loop is None or self._signalled.is_set():
            super().handle_exit(sig, frame)
            return
        self._signalled.set()
        self._loop.call_soon_threadsafe(self._start_drain, sig)

    def _start_drain(self, sig: int) -> None:
        self._draining = asyncio.ensure_future(self._drain_then_exit(sig))

    async def _drain_then_exit(self, sig: int) -> None:
        try:
            await self._application.drain(self._drain)
        finally:
            super().handle_exit(sig, None)
