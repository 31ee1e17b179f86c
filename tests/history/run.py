"""One run: the plan of a seed, carried out on a cluster, and judged."""

import asyncio
import json
import time
from collections import Counter
from typing import Any, Final, NamedTuple

import aiohttp

from history.asking import calls_for, carry_out, read_whole
from history.checker import check, ending, take_apart
from history.cluster import Cluster
from history.facts import History, How, RequestFacts, StreamFacts, View
from history.readers import Asked, Client, Live
from history.schedule import LONELY_FAULTS, MODELS, SHARED_FAULTS, WORKER_FAULTS, Plan, plan

END_SECONDS: Final = 25.0
"""For every stream to end once nothing is disturbed any more: a lease and two seconds, on a machine
that has other things to do."""
READER_SECONDS: Final = 8.0
"""For its readers to hear of it."""
BUGS: Final = frozenset({
    "stream.bug", "http.bug", "stream.errand_failed", "stream.unsealable", "stream.end_lost",
    "eventlog.round_failed", "eventlog.tailer_failed", "usage.not_settled",
})  # fmt: skip
"""Events that no server may ever log."""


class Outcome(NamedTuple):
    """What came of a run.

    Attributes:
        seed: of the run.
        problems: that the checker found, and servers' own.
        report: all there is to know of a failure.
        views: responses that were judged, by how they ended.
        endings: of streams, by reason or error.
        seconds: that the run took.
        end_seconds: from the end of the last disturbance to the end of the last stream.
    """

    seed: int
    problems: list[str]
    report: str
    views: Counter[str]
    endings: Counter[str]
    seconds: float
    end_seconds: float


async def run(cluster: Cluster, seed: int) -> Outcome:
    """Carry out the run of a seed."""
    workers = len(cluster.workers)
    planned = plan(seed, workers, SHARED_FAULTS if workers > 1 else LONELY_FAULTS)
    await cluster.ready(workers if not planned.steps else min(workers, 2))
    cluster.begin()
    began = time.monotonic()
    async with aiohttp.ClientSession(
        headers=cluster.processes.headers(),
        connector=aiohttp.TCPConnector(limit=0, force_close=True),
    ) as session:
        favourite = cluster.workers[planned.favourite].url
        made = _Run(cluster, planned, Client(session, cluster.urls, favourite))
        history = await made.carry_out()
    lines = cluster.new_lines()
    problems = check(history)
    problems += [f"a server said: {line}" for line in lines if tells_of_a_bug(line)]
    return Outcome(
        seed,
        problems,
        _report(cluster, planned, history, problems) if problems else "",
        Counter(_kind(view) for facts in history.streams for view in facts.views),
        Counter(ending(facts.log) for facts in history.streams),
        time.monotonic() - began,
        made.end_seconds,
    )


class _Run:
    def __init__(self, cluster: Cluster, planned: Plan, client: Client) -> None:
        self._cluster = cluster
        self._plan = planned
        self._client = client
        self.end_seconds = 0.0
        self._workers_kept = len(cluster.answering()) == len(cluster.workers) and not any(
            step.fault in WORKER_FAULTS for step in planned.steps
        )

    async def carry_out(self) -> History:
        requests = [
            Asked(stream, RequestFacts(stream.name, stream.key)) for stream in self._plan.streams
        ]
        tasks = [
            asyncio.create_task(carry_out(self._client, asked), name=asked.plan.name)
            for asked in requests
        ]
        await self._disturb()
        await self._cluster.healed()
        calm_at = time.monotonic()
        await asyncio.gather(*(asyncio.shield(asked.stream) for asked in requests))
        await self._until_ended()
        self.end_seconds = time.monotonic() - calm_at
        _, late = await asyncio.wait(tasks, timeout=READER_SECONDS)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
        for task in tasks:
            if not task.cancelled():
                task.result()
        await self._until_ended()
        return await self._facts(requests)

    async def _disturb(self) -> None:
        began = time.monotonic()
        for step in self._plan.steps:
            await asyncio.sleep(max(0.0, began + step.at - time.monotonic()))
            self._cluster.do(step)

    async def _until_ended(self) -> None:
        """Read every log from its start to its end, where somebody answers."""
        deadline = time.monotonic() + END_SECONDS
        unread = [live for live in self._client.streams.values() if not live.facts.log]
        await asyncio.gather(*(self._final(live, deadline) for live in unread))

    async def _final(self, live: Live, deadline: float) -> None:
        await read_whole(self._client, live, self._cluster.answering, deadline)

    async def _facts(self, requests: list[Asked]) -> History:
        """Ask the servers and the provider what they know."""
        client, cluster = self._client, self._cluster
        rows = await self._rows()
        for stream_id in rows.keys() - cluster.known - client.streams.keys():
            client.streams[stream_id] = Live(StreamFacts(stream_id))
            await self._final(client.streams[stream_id], time.monotonic() + END_SECONDS)
        cluster.known |= client.streams.keys()
        for stream_id, live in client.streams.items():
            live.facts.rows = rows.get(stream_id, [])
            live.facts.state = await self._state(stream_id)
        for asked in requests:
            asked.facts.most_calls = MODELS[asked.plan.model].most_calls
            asked.facts.calls = await calls_for(self._cluster.simulator, asked.plan.prompt)
        return History(
            [live.facts for live in client.streams.values()],
            [asked.facts for asked in requests],
            calm=not self._plan.steps,
            workers_kept=self._workers_kept,
        )

    async def _rows(self) -> dict[str, list[dict[str, Any]]]:
        """Read the whole usage report."""
        found: dict[str, list[dict[str, Any]]] = {}
        query = "by=stream&limit=1000"
        while True:
            answer = await self._json(f"/v1/usage?{query}")
            for row in answer["data"]:
                found.setdefault(row["stream"], []).append(row)
            if not answer["meta"]["has_more"]:
                return found
            query = f"by=stream&limit=1000&cursor={answer['meta']['cursor']}"

    async def _state(self, stream_id: str) -> Any:
        answer = await self._json(f"/v1/streams/{stream_id}")
        return answer.get("data")

    async def _json(self, path: str) -> Any:
        """Ask until somebody answers; a refusal is an answer too."""
        deadline = time.monotonic() + END_SECONDS
        while True:
            for url in self._cluster.answering():
                status, answer = await self._client.get(url + path)
                if status not in (0, 503):
                    return answer
            assert time.monotonic() < deadline, f"nobody answers {path}"
            await asyncio.sleep(0.1)


def _kind(view: View) -> str:
    return "nothing" if view.how is How.BROKEN and not view.body else str(view.how)


def tells_of_a_bug(line: str) -> bool:
    """Whether a line of a server's log says what none may ever say."""
    if not line.startswith("{"):
        return False
    try:
        said = json.loads(line)
    except ValueError:
        return False  # killed while it wrote
    if said["event"] == "stream.errand_failed" and said["level"] == "warning":
        return False  # who waits for it is told
    return said["event"] in BUGS or "server_error" in (said.get("code"), said.get("error"))


def _report(cluster: Cluster, planned: Plan, history: History, problems: list[str]) -> str:
    lines = [f"seed {planned.seed}", *problems, "", "What was planned:"]
    lines += [f"  {s._replace(prompt=s.prompt[:20] + '…')}" for s in planned.streams]
    lines += [f"  {step}" for step in planned.steps]
    lines += ["", "What was done:", *(f"  {note}" for note in cluster.notes)]
    lines += ["", "What was seen:"]
    for facts in history.streams:
        if not any(problem.startswith(facts.stream_id) for problem in problems):
            continue
        frames = take_apart(facts.log).frames
        lines += [f"  {facts.stream_id}: {len(frames)} frames in the log, state {facts.state}"]
        lines += [f"    {frame!r}" for frame in frames[-4:]]
        lines += [f"    {_shown(view)}" for view in facts.views]
    for request in history.requests:
        lines += [f"  {request.name}: {request.streams} {request.calls} {request.refusals}"]
    return "\n".join([*lines, "", cluster.tails()])


def _shown(view: View) -> str:
    head = view.asked + len(take_apart(view.body).frames)
    how = f"{view.how} {view.status} {view.code}"
    return f"{view.reader}: {view.asked} to {head}, {how}; ends {view.body[-90:]!r}"
