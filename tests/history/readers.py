"""Readers as clients are: they attach, cut, come back elsewhere, and write down what they saw."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import aiohttp

from history.checker import take_apart
from history.facts import Cancelled, How, RequestFacts, StreamFacts, View
from history.schedule import FAVOUR, MODELS, Reader, Stream

CONNECT_SECONDS: Final = 2.0
PATIENCE_SECONDS: Final = 4.0
"""Silence after which a reader gives a server up: ten times the keep-alives' distance."""
IMPATIENCE_SECONDS: Final = 1.0
"""The same, of some readers, which do so while the server is only frozen."""
PAUSE_SECONDS: Final = (0.02, 0.2)
"""Before a reader comes back; twice, then four times as long, while it gets nothing."""
NOWHERE: Final = ["http://127.0.0.1:1"]
"""Asked while there is no server."""
ASK_SECONDS: Final = 15.0
"""For which a request with a key is repeated."""
TOOLS: Final = [
    {
        "type": "function",
        "function": {
            "name": f"look_up_{name}",
            "parameters": {
                "type": "object",
                "properties": {"name": {"type": "string"}},
                "required": ["name"],
            },
        },
    }
    for name in ("here", "there")
]

Where = Callable[[], list[str]]
"""The servers that may answer now."""


@dataclass
class Live:
    """A stream while it is followed.

    Attributes:
        facts: what is observed.
        seen: frames that anybody has seen.
    """

    facts: StreamFacts
    seen: int = 0


@dataclass
class Asked:
    """A request while it is asked.

    Attributes:
        plan: what is asked.
        facts: what is observed.
        stream: id of the first stream that an answer named; None: it came to nothing.
    """

    plan: Stream
    facts: RequestFacts
    stream: asyncio.Future[str | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Client:
    """HTTP towards the servers, for one run.

    Args:
        session: with the credentials; each request has a connection of its own.
        where: the servers.
        favourite: the one that most streams are started on.

    Attributes:
        streams: those that answers named.
    """

    def __init__(self, session: aiohttp.ClientSession, where: Where, favourite: str) -> None:
        self._session = session
        self._favourite = favourite
        self._where = where
        self.streams: dict[str, Live] = {}

    # --- requests that start a stream ------------------------------------------------------------

    async def ask(self, asked: Asked, reader: Reader) -> None:
        """Ask for a stream, with a key until there is an answer, and read it to its end."""
        random = Random(reader.seed)
        await asyncio.sleep(reader.at)
        give_up_at = time.monotonic() + ASK_SECONDS
        while True:
            live, view = await self._start(asked, reader, random)
            if live is not None and view.status == 200:
                await self._resume(live, reader, random, view)
                return
            # Without a key, asking again would start another stream.
            final = asked.plan.key is None or live is not None
            if final or time.monotonic() > give_up_at:
                return
            await asyncio.sleep(random.uniform(*PAUSE_SECONDS))

    async def _start(
        self, asked: Asked, reader: Reader, random: Random
    ) -> tuple[Live | None, View]:
        plan, opened = asked.plan, Opened()
        body = {"prompt": plan.prompt, "model": plan.model}
        more: dict[str, Any] = {"tools": TOOLS} if MODELS[plan.model].tools else {}
        headers = {"Idempotency-Key": f'"{plan.key}"'} if plan.key is not None else {}

        def answered(stream_id: str) -> None:
            opened.live = self._named(stream_id, plan.prompt)
            asked.facts.streams.append(stream_id)
            if not asked.stream.done():
                asked.stream.set_result(stream_id)

        def done(view: View) -> None:
            views = asked.facts.refusals if opened.live is None else opened.live.facts.views
            views.append(view._replace(start=True))

        urls = self._where()
        if self._favourite in urls and random.random() < FAVOUR:
            urls = [self._favourite]
        view = await self._read(
            Attempt("POST", "/v1/chat/stream", reader, 0, headers, body | more),
            random, opened, answered, done, urls,
        )  # fmt: skip
        return opened.live, view

    def _named(self, stream_id: str, text: str) -> Live:
        if stream_id not in self.streams:
            self.streams[stream_id] = Live(StreamFacts(stream_id, text=text))
        return self.streams[stream_id]

    # --- requests that follow it -----------------------------------------------------------------

    async def follow(self, asked: Asked, reader: Reader) -> None:
        """Follow a stream that others have started, to its end."""
        random = Random(reader.seed)
        await asyncio.sleep(reader.at)
        stream_id = await asyncio.shield(asked.stream)
        if stream_id is None:
            return
        live = self.streams[stream_id]
        after = random.randint(0, live.seen) if reader.joins_late else 0
        await self._resume(live, reader, random, View(reader.name, after, b"", How.CUT))

    async def whole(self, live: Live, urls: list[str]) -> View:
        """Read a stream from its start, as far as it goes, at one of these servers."""
        path = f"/v1/streams/{live.facts.stream_id}/events"
        attempt = Attempt("GET", path, Reader("the last reader", 0, False, "", 0), 0, {}, None)
        seen: list[View] = []
        await self._read(attempt, Random(), Opened(live), lambda _: None, seen.append, urls)
        return seen[0]

    async def _resume(self, live: Live, reader: Reader, random: Random, view: View) -> None:
        """Come back until the end was seen."""
        try:
            number = 1
            idle = 1
            while not over(view):
                await asyncio.sleep(random.uniform(*PAUSE_SECONDS) * idle)
                idle = 1 if view.body else min(2 * idle, 4)
                after = position(view)
                path = f"/v1/streams/{live.facts.stream_id}/events"
                headers = {"Last-Event-ID": str(after)} if after or random.random() < 0.5 else {}
                attempt = Attempt("GET", path, reader, after, headers, None, number)
                number += 1
                view = await self._read(
                    attempt, random, Opened(live), lambda _: None, live.facts.views.append
                )
        except asyncio.CancelledError:
            live.facts.unended.append(reader.name)
            raise

    async def _read(
        self,
        attempt: "Attempt",
        random: Random,
        opened: "Opened",
        answered: Callable[[str], None],
        done: Callable[[View], None],
        urls: list[str] | None = None,
    ) -> View:
        """Make one request and read its response; whatever happens, it is noted by ``done``."""
        reader = attempt.reader
        urls = urls or self._where() or NOWHERE
        cut_at = None
        if attempt.number <= reader.cuts:
            cut_at = int(random.choice((200, 2_000, 8_000)) * random.random())
        patience = random.choice((IMPATIENCE_SECONDS, PATIENCE_SECONDS))
        view = View(reader.name, attempt.after, b"", How.BROKEN)
        received, frames = bytearray(), 0  # the latter at least
        try:
            async with self._session.request(
                attempt.method,
                random.choice(urls) + attempt.path,
                headers=attempt.headers,
                json=attempt.body,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_SECONDS, sock_read=patience
                ),
            ) as response:
                if "X-Stream-Id" in response.headers:
                    answered(response.headers["X-Stream-Id"])
                view = view._replace(status=response.status)
                if response.status != 200:
                    content = await response.read()
                    code = (await response.json())["error"] if content else ""
                    view = view._replace(how=How.STATUS, code=code)
                    return view
                view = view._replace(how=How.CLEAN)
                async for chunk in response.content.iter_any():
                    received += chunk
                    if cut_at is not None and len(received) >= cut_at:
                        del received[cut_at:]
                        view = view._replace(how=How.CUT)
                        response.close()
                        break
                    frames += chunk.count(b"\n\n")
                    if opened.live is not None:
                        opened.live.seen = max(opened.live.seen, attempt.after + frames)
        except TimeoutError:
            patient = patience == PATIENCE_SECONDS
            view = view._replace(how=How.BROKEN if patient else How.CUT)
        except (aiohttp.ClientError, OSError):
            view = view._replace(how=How.BROKEN)
        except asyncio.CancelledError:
            view = view._replace(how=How.HUNG)
            raise
        finally:
            view = view._replace(body=bytes(received))
            done(view)
        return view

    # --- and the rest ----------------------------------------------------------------------------

    async def cancel(self, asked: Asked, at: float, worker: int) -> None:
        """Cancel a stream, wherever somebody answers."""
        await asyncio.sleep(at)
        stream_id = await asyncio.shield(asked.stream)
        if stream_id is None:
            return
        facts = self.streams[stream_id].facts
        give_up_at = time.monotonic() + ASK_SECONDS
        while time.monotonic() < give_up_at:
            urls = self._where()
            if urls:
                url = urls[worker % len(urls)]
                status, answer = await self.get(f"{url}/v1/streams/{stream_id}/cancel", "POST")
                if status == 202:
                    facts.cancels.append(Cancelled(time.time(), answer["data"]))
                    return
                if status not in (0, 503):
                    view = View("cancel", 0, b"", How.STATUS, status, answer.get("error", ""))
                    facts.views.append(view)
                    return
            worker += 1
            await asyncio.sleep(PAUSE_SECONDS[1])

    async def get(self, url: str, method: str = "GET") -> tuple[int, Any]:
        """Ask for JSON; status 0: there was no answer."""
        timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
        try:
            async with self._session.request(method, url, timeout=timeout) as response:
                return response.status, await response.json()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0, {}


@dataclass
class Opened:
    """The stream that a response is of, once it is known."""

    live: Live | None = None


@dataclass
class Attempt:
    """One request of a reader; ``number``: its how manieth, from 1."""

    method: str
    path: str
    reader: Reader
    after: int
    headers: dict[str, str]
    body: Any
    number: int = 1


def position(view: View) -> int:
    """The last frame that the reader has."""
    return view.asked + view.body.count(b"\n\n")


def ended(view: View) -> bool:
    """Whether there is nothing more to come."""
    if view.status == 204:
        return True
    frames = take_apart(view.body).frames
    return bool(frames) and b"\nevent: stream_end\n" in frames[-1]


def over(view: View) -> bool:
    """Whether it makes no sense to come back: it has ended, or was refused for good."""
    return ended(view) or (view.how is How.STATUS and view.status != 503)
