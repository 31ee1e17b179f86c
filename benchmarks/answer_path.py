"""The way of an answer through the server, from the provider's bytes to the reader's.

All parts are the server's own, wired as it wires them: the producer with decoder and composer, the
log in memory, the response that follows the log and writes HTTP/1.1, on uvloop. Only both ends are
replaced. The provider's response is a recording, given read by read as a socket gives it: each in a
turn of the loop of its own, so work that is put off until the next turn is counted too. The
reader's socket takes everything and keeps nothing.

Every run does the same work: time is counted and not measured, ids are not random, the cyclic
garbage collector is off (when it runs depends on everything a process ever did; what it costs in a
real one, `make bench` measures). What is left to chance is the hash of strings: PYTHONHASHSEED=0.

Run as a program it does what `counting.py` asks of one, and prints how many events the answers that
count had, by case.
"""

import asyncio
import gc
import json
import logging
import os
import select
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import uvloop
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from tellstream.core.chat import ChatRequest
from tellstream.core.composer import Composer, Ending
from tellstream.core.ids import EventIds
from tellstream.core.observer import NullObserver, NullTracer
from tellstream.core.principals import Ctx
from tellstream.core.usage import FinishReason
from tellstream.eventlog.base import StreamKey, Taken
from tellstream.eventlog.memory import MemoryEventLog
from tellstream.providers.anthropic_messages import AnthropicMessages
from tellstream.providers.base import Dialect, Endpoint, UpstreamRequest
from tellstream.providers.exchange import Connection
from tellstream.providers.hosts import HOSTS
from tellstream.providers.http import Timeouts, UpstreamBody
from tellstream.providers.openai_chat import OpenAIChat
from tellstream.providers.openai_responses import OpenAIResponses
from tellstream.server.call import Call
from tellstream.server.pipe import PIPE, Pipe
from tellstream.server.sse_response import Pace, follow
from tellstream.streams.attachment import Attachment
from tellstream.streams.drain import DrainNotice
from tellstream.streams.meter import Meter
from tellstream.streams.metering import used
from tellstream.streams.produce import Producer
from tellstream.streams.retry import RetryPolicy
from tellstream.streams.stream import Stream
from tellstream.streams.target import Target

mark = os.getppid
"""What is executed between two of these calls is counted together."""
READY: Final = "ready"

READ_BYTES: Final = 4096
"""Of a read, where a provider sends faster than it is read."""
READ_SECONDS: Final = 0.02
"""Between two reads: 50 a second."""
WARM_UP: Final = 10
"""Answers of each case before those that count: caches fill, and the interpreter specialises its
code."""
ANSWERS: Final = 3
"""Of each case that count."""
FOREVER: Final = 86_400.0
"""Seconds; under a counter of instructions everything takes fifty times as long."""
_PATIENT: Final = Timeouts(FOREVER, FOREVER, FOREVER, FOREVER, FOREVER)
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_END: Final = b"0\r\n\r\n"
BEGIN: Final = 1_767_225_600.0
"""Unix seconds."""
ENTROPY: Final = 0x1F2E_3D4C_5B6A_7988_9706
KEY: Final = StreamKey(1, "str_00000000000000000000000000")
CTX: Final = Ctx(1, "local", "local", frozenset({"chat"}))
CHAT: Final = ChatRequest("Tell me about rivers, stones and the sea.")


class Case(NamedTuple):
    """One answer, and how it arrives.

    Attributes:
        name: of the figure.
        recording: file below the folder of recordings.
        host: whose row is used.
        dialect: that it speaks.
        read_bytes: of a read; 0: each read brings one event of the provider.
        reason: the finish reason, so that the work that is counted is known to be done.
    """

    name: str
    recording: str
    host: str
    dialect: type[Dialect]
    read_bytes: int
    reason: FinishReason

    def reads(self, folder: Path) -> list[bytes]:
        """Cut the recording into reads."""
        body, size = (folder / self.recording).read_bytes(), self.read_bytes
        if size:
            return [body[n : n + size] for n in range(0, len(body), size)]
        return [event + b"\n\n" for event in body.split(b"\n\n") if event]


def _cases() -> dict[str, Case]:
    text = "openai-chat/deepseek-deepseek-chat-basic-text-1.sse"
    thinking = (
        "anthropic-messages/"
        "anthropic-claude-sonnet-4-20250514-anthropic-model-thinking-part-stream.sse"
    )
    tools = "openai-responses/lmstudio-zai-org-glm-4.7-flash-lmstudio-tool-call.sse"
    reads = {"an event per read": 0, "4 KiB per read": READ_BYTES}
    recordings = (
        ("openai-chat text", text, "deepseek", OpenAIChat, FinishReason.STOP),
        ("anthropic thinking", thinking, "anthropic", AnthropicMessages, FinishReason.STOP),
        ("responses tool call", tools, "openai", OpenAIResponses, FinishReason.TOOL_CALLS),
    )
    made = [
        Case(f"{name}, {how}", file, host, dialect, size, reason)
        for name, file, host, dialect, reason in recordings
        for how, size in reads.items()
    ]
    return {case.name: case for case in made}


CASES: Final = _cases()


class _Clock:
    """Unix seconds that pass from read to read."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> float:
        return self.now


class _Provider:
    """Answers every call with the same bytes, on a connection of its own."""

    def __init__(self, pieces: list[bytes], clock: _Clock) -> None:
        self._pieces = pieces
        self._clock = clock

    @asynccontextmanager
    async def call(
        self, _dialect: Dialect, request: UpstreamRequest, total_at: float
    ) -> AsyncIterator[UpstreamBody]:
        loop = asyncio.get_running_loop()
        connection = Connection()
        connection.connection_made(_Socket())
        connection.send(request.body)
        pieces = iter([_HEAD, *(b"%x\r\n%b\r\n" % (len(p), p) for p in self._pieces), _END])

        def arrive() -> None:
            self._clock.now += READ_SECONDS
            piece = next(pieces, None)
            if piece is not None:
                connection.data_received(piece)
                loop.call_soon(arrive)

        loop.call_soon(arrive)
        await connection.head()
        body = UpstreamBody(connection, _PATIENT, loop.time(), total_at)
        try:
            yield body
        finally:
            body.disarm()


class _Unmetered(Meter):
    """Works usage out, and writes it nowhere: the ledger is not what is counted here."""

    def __init__(self) -> None:
        pass

    async def open(self, _stream: Stream) -> None:
        pass

    async def settle(self, stream: Stream, ending: Ending) -> None:
        stream.usage, stream.estimated = used(stream.composer, stream.prompt_tokens, ending)

    def ended(self, _debt: object) -> None:
        pass


class _Unlimited:
    """The grant of a tenant without caps."""

    limited = False

    def spent(self, _output_tokens: int) -> bool:
        return False

    async def extend(self, _output_tokens: int) -> bool:
        return True

    async def settle(self, _tokens: int, _cost: int | None) -> None:
        pass

    def release(self, *, lost: bool = False) -> None:
        pass


class _Socket(asyncio.Transport):
    """A connection whose other end takes everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.last = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.last = bytes(data) or self.last

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


def _call() -> tuple[Call, _Socket]:
    """Make a request whose head and body were read already."""
    socket = _Socket()
    scope: Any = {"type": "http", "method": "POST", "path": "/v1/chat/stream", "headers": []}
    logger = logging.getLogger("uvicorn.error")
    cycle = RequestResponseCycle(
        scope=scope,
        transport=socket,
        flow=FlowControl(socket),
        logger=logger,
        access_logger=logger,
        access_log=False,
        default_headers=[],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=True,
        on_response=lambda: None,
    )
    scope["extensions"] = {PIPE: {"pipe": Pipe(cycle)}}
    receive: Any = cycle.receive
    send: Any = cycle.send
    return Call(scope, receive, send, "req_0"), socket


async def answer(case: Case, pieces: list[bytes]) -> int:
    """Bring one answer from the provider to its reader; returns how many events it has.

    Raises:
        AssertionError: it did not end as it should, or its end did not reach the reader.
    """
    clock = _Clock()
    logs = MemoryEventLog(FOREVER, clock)
    endpoint = Endpoint(case.host, "http://provider.invalid", None, HOSTS[case.host])
    target = Target(endpoint, case.dialect(), case.dialect.__name__, "model")
    composer = Composer(EventIds(ENTROPY), case.host, "model")
    stream = Stream(KEY, CTX, "model", CHAT, (target,), composer, clock())
    opened = await logs.create(KEY, stream.record())
    assert not isinstance(opened, Taken)
    stream.writer = opened
    stream.grant = _Unlimited()
    producer = Producer(
        _Provider(pieces, clock), clock, FOREVER, RetryPolicy(), _Unmetered(),
        NullObserver(), NullTracer(),
    )  # fmt: skip
    attachment = Attachment(KEY, await logs.reader(KEY), stream, lambda _stream: None)
    call, socket = _call()
    pace = Pace(FOREVER, FOREVER, DrainNotice())
    following = asyncio.create_task(
        follow(attachment, call, pace, failure=attachment.early_failure)
    )
    await producer.run(stream)
    await following
    attachment.close()
    assert stream.ending is not None
    assert stream.ending.reason is case.reason, stream.ending
    assert socket.last == _END
    return stream.writer.head


async def warm_up(folder: Path, cases: list[Case]) -> None:
    """Bring answers through that do not count."""
    for _ in range(WARM_UP):
        for case in cases:
            await answer(case, case.reads(folder))


async def run(folder: Path, cases: list[Case]) -> dict[str, int]:
    """Bring answers through, and mark those that count; returns how many events they had."""
    events = {}
    for case in cases:
        pieces = case.reads(folder)
        await answer(case, pieces)
        mark()
        events[case.name] = sum([await answer(case, pieces) for _ in range(ANSWERS)])
        mark()
    return events


def ready() -> None:
    """Say that everything is warm, and wait for a line; awake, see ``counting.py``."""
    print(READY, flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        pass


def main() -> None:
    """Run the named cases, or all, with the recordings of a folder."""
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    cases = [CASES[name] for name in names or CASES]
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(warm_up(folder, cases))
        ready()
        print(json.dumps(runner.run(run(folder, cases))))


if __name__ == "__main__":
    main()
