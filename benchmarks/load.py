"""The load generator: concurrent answers on raw connections, counted and timed as they arrive.

It must cost little, because it shares its processor with the simulator: no HTTP client, no parser
per delta. A piece of a body is searched for the bytes that mark a delta and for stamps; frames are
never decoded. That is exact because both servers write whole frames into each chunk, and every
answer is checked to hold the number of deltas that its script says.
"""

import asyncio
import re
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, cast

import msgspec
from benchmarks.scenarios import Scenario

HOST: Final = "127.0.0.1"
GRACE_SECONDS: Final = 30.0
"""For the last answers to end; then the run is given up."""
_STAMP: Final = re.compile(rb'" ?([0-9]{16})"')
_FRAME_END: Final = b"\n\n"
_BODY_END: Final = b"\r\n0\r\n\r\n"
_PROMPT: Final = "Tell me about rivers, stones and the sea, in as many words as it takes."


class LoadError(Exception):
    """A server did not answer as it should; the figures would mean nothing."""


@dataclass(frozen=True)
class Target:
    """A server and how to ask it.

    Attributes:
        name: for messages.
        port: where it listens.
        path: of the request.
        headers: further request headers.
        body: makes the request body for a model.
        delta: bytes that occur once in every text delta, and nowhere else.
    """

    name: str
    port: int
    path: str
    headers: dict[str, str]
    body: Callable[[str], dict[str, Any]]
    delta: bytes

    def request(self, model: str) -> bytes:
        """Write a whole request."""
        body = msgspec.json.encode(self.body(model))
        headers = {
            "Host": f"{HOST}:{self.port}",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **self.headers,
        }
        lines = [f"POST {self.path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + body


def simulator(port: int) -> Target:
    """Ask the simulator itself, as Tellstream would."""
    return Target(
        name="simulator",
        port=port,
        path="/v1/chat/completions",
        headers={},
        body=lambda model: {
            "model": model,
            "messages": [{"role": "user", "content": _PROMPT}],
            "stream": True,
            "stream_options": {"include_usage": True},
        },
        delta=b'"delta":{"content":',
    )


def tellstream(port: int, token: str) -> Target:
    """Ask Tellstream on behalf of tenant 1."""
    return Target(
        name="tellstream",
        port=port,
        path="/v1/chat/stream",
        headers={"Authorization": f"Bearer {token}", "X-Tenant": "1"},
        body=lambda model: {"prompt": _PROMPT, "model": model},
        delta=b"event: text_delta\n",
    )


@dataclass
class Load:
    """What arrived while ``counting``; times in microseconds.

    Attributes:
        opened: answers that had begun before counting did.
        deltas: text deltas.
        answers: complete ones.
        seconds: how long was counted.
        latencies: of each stamped delta, from the simulator's write to its arrival here.
        firsts: of each answer, from the request to its first delta; those of the ramp count too,
            because paced streams start there.
    """

    counting: bool = False
    stopping: bool = False
    opened: int = 0
    deltas: int = 0
    answers: int = 0
    seconds: float = 0.0
    latencies: "array[int]" = field(default_factory=lambda: array("q"))
    firsts: "array[int]" = field(default_factory=lambda: array("q"))


class _Connection(asyncio.Protocol):
    """One keep-alive connection, one answer at a time."""

    def __init__(self, load: Load, target: Target, loop: asyncio.AbstractEventLoop) -> None:
        self._load = load
        self._target = target
        self._loop = loop
        self._answer: asyncio.Future[int] = loop.create_future()
        self._rest = b""
        self._deltas = 0
        self._asked_at = 0
        self._head = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, request: bytes) -> asyncio.Future[int]:
        """Send a request; the result is the number of deltas of its answer."""
        self._answer = self._loop.create_future()
        self._rest = b""
        self._deltas = 0
        self._head = True
        self._asked_at = time.monotonic_ns()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        load = self._load
        if self._head:
            self._head = False
            if not data.startswith(b"HTTP/1.1 200 "):
                self._fail(f"answered {data[:400]!r}")
                return
        data = self._rest + data
        end = data.rfind(_FRAME_END) + len(_FRAME_END)
        self._rest = data[end:] if end > 1 else data
        deltas = data.count(self._target.delta, 0, end) if end > 1 else 0
        if deltas:
            if not self._deltas:
                load.firsts.append((now - self._asked_at) // 1_000)
            self._deltas += deltas
            if load.counting:
                load.deltas += deltas
                for stamp in _STAMP.findall(data, 0, end):
                    load.latencies.append(now // 1_000 - int(stamp))
        if self._rest.endswith(_BODY_END) and not self._answer.done():
            load.answers += load.counting
            self._answer.set_result(self._deltas)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"closed the connection ({exc})")

    def close(self) -> None:
        self._transport.close()

    def _fail(self, message: str) -> None:
        if not self._answer.done():
            self._answer.set_exception(LoadError(f"the {self._target.name} {message}"))


async def run(
    target: Target, scenario: Scenario, seconds: float, edge: Callable[[], None] = lambda: None
) -> Load:
    """Put the load on the target, and count for so long after the ramp.

    Args:
        target: which server.
        scenario: what load.
        seconds: how long to count.
        edge: called when counting starts and when it ends.

    Raises:
        LoadError: an answer failed, is not whole, or does not end.
    """
    load = Load()
    # The same spread on every run, and no two streams in step: real ones are not.
    spread = Random(scenario.streams)
    delays = [spread.uniform(0, scenario.ramp * 2 / 3) for _ in range(scenario.streams)]
    try:
        async with (
            asyncio.timeout(scenario.ramp + seconds + GRACE_SECONDS),
            asyncio.TaskGroup() as group,
        ):
            for delay in delays:
                group.create_task(_client(load, target, scenario, seconds, delay))
            await asyncio.sleep(scenario.ramp)
            edge()
            load.opened = len(load.firsts)
            load.counting = True
            started = time.monotonic()
            await asyncio.sleep(seconds)
            load.counting = False
            load.stopping = True
            load.seconds = time.monotonic() - started
            edge()
    except TimeoutError as error:
        raise LoadError(f"{scenario.name}: answers of the {target.name} do not end") from error
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return load


async def _client(
    load: Load, target: Target, scenario: Scenario, seconds: float, delay: float
) -> None:
    await asyncio.sleep(delay)
    loop = asyncio.get_running_loop()
    request = target.request(scenario.model(seconds))
    expected = scenario.deltas(seconds)
    _, connection = await loop.create_connection(
        lambda: _Connection(load, target, loop), HOST, target.port
    )
    try:
        while not load.stopping:
            deltas = await connection.ask(request)
            if deltas != expected:
                raise LoadError(f"the {target.name} sent {deltas} deltas instead of {expected}")
            if scenario.rate:
                break
    finally:
        connection.close()
