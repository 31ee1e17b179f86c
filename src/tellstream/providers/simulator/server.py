"""The simulator as a server: routes, counters per instance, start and stop.

Invariant: a response depends on the request, and on nothing else but how often a model name with
``times`` or ``flap`` was asked before. The server never checks keys and never logs bodies.
"""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import msgspec

from tellstream.providers.simulator.connection import Connection
from tellstream.providers.simulator.failure import Failure
from tellstream.providers.simulator.journal import Journal, Record
from tellstream.providers.simulator.reply import JSON, Reply, failed, plain, reply
from tellstream.providers.simulator.request import ProtocolError, Request
from tellstream.providers.simulator.script import (
    ALIASES,
    Script,
    ScriptError,
    UnknownModelError,
    parse_model,
)
from tellstream.providers.simulator.wire import RequestError, Wire
from tellstream.providers.simulator.wires import DEFAULT_WIRE, WIRES, check

_MODELS_PATH: Final = "/models"

IDLE_SECONDS: Final = 75.0  # longer than clients keep idle connections
_BACKLOG: Final = 4_096  # load tests connect thousands at once
_MAX_COUNTED_NAMES: Final = 10_000


class Simulator:
    """A provider on a local port: ``async with Simulator() as sim: ... sim.url``.

    Args:
        host: the address to listen on.
        port: the port, or 0 for a free one.
        idle_seconds: how long a connection may take to send a complete request.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, *, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._asked: dict[str, int] = {}
        self.idle_seconds = idle_seconds
        self.journal = Journal()
        self.connections: set[Connection] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self, loop), self._host, self._port, backlog=_BACKLOG
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for connection in tuple(self.connections):
            connection.abort()
        while self.connections:  # noqa: ASYNC110 - aborted ones leave within a turn or two
            await asyncio.sleep(0)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def stats(self) -> dict[str, int]:
        """Return the counts since the start or the last reset."""
        return self.journal.stats() | {"open_connections": len(self.connections)}

    def requests(self) -> list[Record]:
        """Return the newest requests, newest first; records of running ones still change."""
        return self.journal.records()

    def reset(self) -> None:
        """Forget requests, counts and how often each model name was asked."""
        self._asked.clear()
        self.journal.reset()

    async def idle(self) -> None:
        """Wait until no request is running."""
        await self.journal.idle()

    def refuse(self, error: ProtocolError) -> bytes:
        """Write the response to bytes that are not a request."""
        reason = Failure(error.status, "invalid_request", str(error))
        body = DEFAULT_WIRE.failure(reason)
        return plain(error.status, body, JSON, {"connection": "close"})

    def answer(self, request: Request) -> tuple[Reply, Record] | bytes:
        """Decide a response to play and its record, or a whole one that is not recorded."""
        path = request.path.partition("?")[0]
        own = self._own_routes().get((request.method, path))
        if own is not None:
            return plain(200, own(), JSON)
        if request.method == "GET" and path.endswith(_MODELS_PATH):
            return plain(200, DEFAULT_WIRE.models(ALIASES), JSON)
        wire = next((wire for end, wire in WIRES.items() if path.endswith(end)), None)
        if wire is None:
            reason = Failure(404, "unknown_url", f"Invalid URL ({request.method} {path})")
            return plain(404, DEFAULT_WIRE.failure(reason), JSON)
        if request.method != "POST":
            reason = Failure(405, "method_not_allowed", "Only POST is allowed here.")
            return plain(405, wire.failure(reason), JSON, {"allow": "POST"})
        record = self.journal.open(request.path, request.headers, request.body)
        return self._reply(wire, request, record), record

    def _own_routes(self) -> dict[tuple[str, str], Callable[[], bytes]]:
        return {
            ("GET", "/_simulator/requests"): lambda: msgspec.json.encode(self.requests()),
            ("GET", "/_simulator/stats"): lambda: msgspec.json.encode(self.stats()),
            ("DELETE", "/_simulator/requests"): self._reset_and_say,
        }

    def _reset_and_say(self) -> bytes:
        self.reset()
        return msgspec.json.encode(self.stats())

    def _reply(self, wire: Wire, request: Request, record: Record) -> Reply:
        try:
            turn = wire.read(request.body, request.path)
            record.model = turn.model
            script = self._script(turn.model)
            check(wire, script)
        except RequestError as error:
            return failed(wire, Failure(400, "invalid_request", str(error)))
        except UnknownModelError:
            message = f"The model `{turn.model}` does not exist or you do not have access to it."
            return failed(wire, Failure(404, "model_not_found", message))
        except ScriptError as error:
            return failed(wire, Failure(400, "invalid_script", f"Invalid script: {error}"))
        decided = reply(wire, script, turn, request.path, time.time())
        record.prompt_tokens = turn.prompt_tokens if decided.answers else 0
        return decided

    def _script(self, model: str) -> Script:
        script = parse_model(model)
        if not script.times and not script.flap:
            return script
        asked = self._asked.get(model, 0) + 1
        self._asked[model] = asked
        if len(self._asked) > _MAX_COUNTED_NAMES:
            del self._asked[next(iter(self._asked))]
        return script.nth(asked)


async def serve_forever(
    host: str = "127.0.0.1", port: int = 0, announce: Callable[[str], object] | None = None
) -> None:
    """Serve until cancelled; ``announce`` is called once with the URL."""
    async with Simulator(host, port) as simulator:
        if announce is not None:
            announce(simulator.url)
        await asyncio.Event().wait()
