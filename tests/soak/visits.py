"""What visitors do to the server, and what they find wrong. Seeds decide all choices.

A visit of most kinds ends with all that can be known of its stream: what each reader saw, the whole
log, the state, the provider's calls. The histories' checker judges that. What the usage report says
of all of them is compared at the very end.
"""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any, Final, NamedTuple

import aiohttp

from history.asking import calls_for, carry_out, read_whole
from history.checker import check
from history.facts import History, How, RequestFacts, StreamFacts, View
from history.readers import Asked, Client, Live
from history.schedule import LONELY_FAULTS, MODELS, plan
from soak.subject import CAPPED, FREE, HURRIED, Subject
from tellstream.core.ids import stream_id

VISIT_SECONDS: Final = 90.0
"""For one visit, on a busy machine."""
END_SECONDS: Final = 30.0
"""For a stream to end, of which nothing more is wanted."""
LOOK_SECONDS: Final = 0.1
SEGMENT_BYTES: Final = 1400
"""Of TCP, as on the way across a network: with the huge ones of the loopback interface, the
server's kernel takes a whole answer at once, and nobody is ever slow."""
RECEIVE_BYTES: Final = 32 * 1024
"""Of who reads slowly, in the kernel and here: the answer must not wait in these."""
START: Final = "/v1/chat/stream"


class Known(NamedTuple):
    """A stream that has ended: whose it is, and what its state says of its usage."""

    tenant: int
    usage: dict[str, Any]
    estimated: bool


class Answer(NamedTuple):
    """The answer to a request that may have started a stream."""

    status: int
    headers: dict[str, str]
    body: bytes
    how: How

    @property
    def stream_id(self) -> str | None:
        return self.headers.get("x-stream-id")


class Visitors:
    """All visitors.

    Args:
        subject: what they visit.
        seed: of their choices.
        sessions: HTTP on behalf of each tenant.
        slow: the same for the first one, with small buffers.

    Attributes:
        problems: what they found wrong.
        done: how often each thing was done, and met.
        known: streams that have ended, by id.
    """

    def __init__(
        self,
        subject: Subject,
        seed: int,
        sessions: dict[int, aiohttp.ClientSession],
        slow: aiohttp.ClientSession,
    ) -> None:
        self._subject = subject
        self._url = subject.server.url
        self._seed = seed
        self._sessions = sessions
        self._slow = slow
        self.problems: list[str] = []
        self.done: Counter[str] = Counter()
        self.known: dict[str, Known] = {}

    async def try_everything(self) -> None:
        """Make each kind of visit once, so that whatever is made on first use was made."""
        await asyncio.gather(
            *(
                self._visit(kind, Random(f"soak {self._seed} {kind.visit.__name__}"))
                for kind in KINDS
            )
        )

    async def come(self, visitors: int, seconds: float, phase: str) -> None:
        """Let so many visit, one thing after the other, for so long."""
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for number in range(visitors):
                random = Random(f"soak {self._seed} {phase} {number}")
                group.create_task(self._visitor(random, until))

    async def _visitor(self, random: Random, until: float) -> None:
        await asyncio.sleep(random.uniform(0.0, 0.5))
        while time.monotonic() < until:
            (kind,) = random.choices(KINDS, [kind.weight for kind in KINDS])
            await self._visit(kind, random)

    async def _visit(self, kind: "Kind", random: Random) -> None:
        name = kind.visit.__name__
        try:
            async with asyncio.timeout(VISIT_SECONDS):
                problems = await kind.visit(self, random)
        except TimeoutError:
            problems = ["it did not end"]
        self.problems += [f"{name}: {problem}" for problem in problems]
        self.done[name] += 1

    # --- visits ----------------------------------------------------------------------------------

    async def followed(self, random: Random) -> list[str]:
        """Readers who cut, resume and come late; cancels, keys, and providers that fail."""
        planned = random.choice(plan(random.getrandbits(40), 1, LONELY_FAULTS).streams)
        client = self._client(FREE)
        asked = Asked(planned, RequestFacts(planned.name, planned.key))
        asked.facts.most_calls = MODELS[planned.model].most_calls
        await carry_out(client, asked)
        asked.facts.calls = await calls_for(self._subject.simulator, planned.prompt)
        return await self._judged(FREE, client, asked.facts)

    async def abandoned(self, random: Random) -> list[str]:
        """A reader who goes and never comes back: the stream is ended for want of readers."""
        answer = await self._ask(FREE, "lasting", cut_at=random.randint(1, 3000))
        client = self._client(FREE)
        live = self._opened(client, answer)
        if live is None:
            return [f"refused with {answer.status}"]
        problems = await self._judged(FREE, client)
        reason = (live.facts.state or {}).get("finish_reason")
        return problems if reason == "Cancelled" else [*problems, f"it ended with {reason}"]

    async def slowly(self, random: Random) -> list[str]:
        """A reader who does not keep up with an answer that no socket takes at once."""
        received = bytearray()
        async with self._slow.post(
            self._url + START, json={"prompt": "x", "model": "long"}, read_bufsize=RECEIVE_BYTES
        ) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            while chunk := await response.content.read(1 << 17):
                if not received:
                    await asyncio.sleep(random.uniform(0.5, 2.0))
                received += chunk
                await asyncio.sleep(0.002)
        client = self._client(FREE)
        answer = Answer(response.status, headers, bytes(received), How.CLEAN)
        if self._opened(client, answer) is None:
            return [f"refused with {answer.status}"]
        return await self._judged(FREE, client)

    async def crowded(self, _random: Random) -> list[str]:
        """More streams at once than the tenant may have."""
        answers = await asyncio.gather(*(self._ask(CAPPED, "text") for _ in range(8)))
        return await self._within_limits(CAPPED, answers, "concurrency_limit_exceeded")

    async def hurried(self, _random: Random) -> list[str]:
        """More requests than the tenant may make."""
        answers = await asyncio.gather(*(self._ask(HURRIED, "quick") for _ in range(12)))
        return await self._within_limits(HURRIED, answers, "rate_limit_exceeded")

    async def strange(self, random: Random) -> list[str]:
        """Somebody who asks for what is not theirs, or does not exist."""
        theirs = next(reversed(self.known), stream_id(0))
        other = stream_id(random.getrandbits(128))
        owner = self.known[theirs].tenant if theirs in self.known else None
        neighbour = CAPPED if owner == FREE else FREE
        nobody = {"Authorization": "Bearer x"}
        wanted: list[tuple[int, str, dict[str, str], int]] = [
            (neighbour, theirs, {}, 404), (FREE, other, {}, 404), (FREE, theirs, nobody, 401),
        ]  # fmt: skip
        problems = []
        for tenant, name, headers, expected in wanted:
            for path in ("", "/events"):
                address = f"{self._url}/v1/streams/{name}{path}"
                async with self._sessions[tenant].get(address, headers=headers) as response:
                    if response.status != expected:
                        problems.append(f"{response.status} instead of {expected} for {path}")
        return problems

    async def completions(self, random: Random) -> list[str]:
        """The protocol of OpenAI, sometimes cut."""
        cut_at = random.choice((None, random.randint(1, 5000)))
        messages = [{"role": "user", "content": "one two three " * 20}]
        body = {"model": "text", "messages": messages, "stream": True}
        answer = await self._post(FREE, "/v1/chat/completions", body, cut_at)
        whole = answer.body.endswith(b"data: [DONE]\n\n")
        if answer.status != 200 or (answer.how is How.CLEAN and not whole):
            return [f"{answer.status}, ends {answer.body[-60:]!r}"]
        return []

    async def at_once(self, random: Random) -> list[str]:
        """An answer in one piece; some do not wait for it."""
        patience = random.choice((30.0, 0.1))
        body = {"prompt": "one two three", "model": "text"}
        try:
            async with asyncio.timeout(patience):
                answer = await self._post(FREE, "/v1/chat", body, None)
        except TimeoutError:
            return ["it took too long"] if patience > 1 else []
        return [] if answer.status == 200 else [f"{answer.status} {answer.body[:80]!r}"]

    # --- what they have in common ----------------------------------------------------------------

    async def quick(self) -> None:
        """Start and read the shortest answer there is."""
        answer = await self._ask(FREE, "quick")
        if answer.status != 200 or not answer.body.count(b"event: stream_end\n"):
            self.problems.append(f"quick: {answer.status}, ends {answer.body[-60:]!r}")

    def _client(self, tenant: int) -> Client:
        return Client(self._sessions[tenant], lambda: [self._url], self._url)

    async def _ask(self, tenant: int, model: str, cut_at: int | None = None) -> Answer:
        return await self._post(tenant, START, {"prompt": "one two", "model": model}, cut_at)

    async def _post(self, tenant: int, path: str, body: Any, cut_at: int | None) -> Answer:
        """Ask, and read the answer; it is cut after so many bytes."""
        received, how = bytearray(), How.CLEAN
        async with self._sessions[tenant].post(self._url + path, json=body) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            async for chunk in response.content.iter_any():
                received += chunk
                if cut_at is not None and len(received) >= cut_at:
                    how = How.CUT
                    response.close()
                    break
        self.done[f"{tenant}: {response.status}"] += 1
        return Answer(response.status, headers, bytes(received), how)

    def _opened(self, client: Client, answer: Answer) -> Live | None:
        """Note what one reader has seen of a stream that it has started."""
        if answer.stream_id is None or answer.status != 200:
            return None
        live = client.streams[answer.stream_id] = Live(StreamFacts(answer.stream_id))
        live.facts.views.append(View("its reader", 0, answer.body, answer.how, start=True))
        return live

    async def _within_limits(self, tenant: int, answers: list[Answer], code: str) -> list[str]:
        """Judge answers of which some may be refusals."""
        client, problems = self._client(tenant), []
        for answer in answers:
            if answer.status == 200:
                self._opened(client, answer)
            elif answer.status != 429 or code.encode() not in answer.body:
                problems.append(f"refused with {answer.status} {answer.body[:80]!r}")
            elif answer.stream_id is not None or not answer.headers.get("retry-after"):
                problems.append("a refusal that names a stream, or no time")
        return problems + await self._judged(tenant, client)

    async def _judged(
        self, tenant: int, client: Client, request: RequestFacts | None = None
    ) -> list[str]:
        """Learn all there is to know of the streams of a client, and judge it."""
        await asyncio.gather(
            *(self._learnt(tenant, client, live) for live in client.streams.values())
        )
        facts = [live.facts for live in client.streams.values()]
        requests = [] if request is None else [request]
        return check(History(facts, requests, calm=True, workers_kept=True))

    async def _learnt(self, tenant: int, client: Client, live: Live) -> None:
        """Learn how a stream ended, and read its log."""
        deadline = time.monotonic() + END_SECONDS
        facts = live.facts
        facts.state, facts.rows = await self._ended(client, facts.stream_id, deadline), None
        await read_whole(client, live, lambda: [self._url], deadline)
        if facts.state is not None and facts.state["usage"] is not None:
            known = Known(tenant, facts.state["usage"], facts.state["estimated"])
            self.known[facts.stream_id] = known

    async def _ended(self, client: Client, name: str, deadline: float) -> Any:
        """Wait for the end of a stream; its state."""
        while True:
            _, answer = await client.get(f"{self._url}/v1/streams/{name}")
            state = answer.get("data")
            ended = state is not None and state["state"] == "finished"
            if ended or time.monotonic() > deadline:
                return state
            await asyncio.sleep(LOOK_SECONDS)


class Kind(NamedTuple):
    """A kind of visit, and how often it is made."""

    visit: Callable[[Visitors, Random], Awaitable[list[str]]]
    weight: int


KINDS: Final = (
    Kind(Visitors.followed, 24),
    Kind(Visitors.abandoned, 4),
    Kind(Visitors.slowly, 1),
    Kind(Visitors.crowded, 2),
    Kind(Visitors.hurried, 2),
    Kind(Visitors.strange, 2),
    Kind(Visitors.completions, 4),
    Kind(Visitors.at_once, 3),
)


@asynccontextmanager
async def visitors(subject: Subject, seed: int) -> AsyncIterator[Visitors]:
    """Open what visitors need; a connection for each request, as most readers have."""
    async with AsyncExitStack() as stack:
        sessions = {}
        for tenant in (FREE, CAPPED, HURRIED):
            connector = aiohttp.TCPConnector(limit=0, force_close=True)
            session = aiohttp.ClientSession(
                headers=subject.processes.headers(tenant), connector=connector
            )
            sessions[tenant] = await stack.enter_async_context(session)
        narrow = aiohttp.TCPConnector(limit=0, force_close=True, socket_factory=_narrow)
        slow = aiohttp.ClientSession(headers=subject.processes.headers(FREE), connector=narrow)
        yield Visitors(subject, seed, sessions, await stack.enter_async_context(slow))


def _narrow(address: Any) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
    return made
