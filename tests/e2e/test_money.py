"""Σ usage rows = Σ ``stream_end.usage`` = what the provider counted, whatever happens meanwhile.

Streams of several tenants are read, cancelled, left, cut, refused, retried and killed, at random.
``MONEY_SEED`` repeats a run, ``MONEY_STREAMS`` makes it longer.
"""

import asyncio
import os
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from support.money import (
    SUBJECTS,
    TENANTS,
    Crowd,
    Told,
    calls,
    configuration,
    end_of,
    generated,
    plans,
    price,
    problem,
    usage_of,
)
from support.postgres import PostgresServer, postgres_server
from support.processes import Server, Servers, servers
from support.redis import RedisServer, redis_server
from tellstream.core.prices import COST_UNITS
from tellstream.core.usage import Usage
from tellstream.providers.simulator import Simulator
from tellstream.storage.postgresql import PostgresqlDatabase

SEED = int(os.environ.get("MONEY_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
STREAMS = int(os.environ.get("MONEY_STREAMS", "620"))
AT_ONCE = 40
LEASE = 1.0
END_SECONDS = 60.0
ESTIMATE = 0.35
"""How far the sum of all estimated answers may be from the provider's count of what it wrote: the
estimator knows five letters to a token, and the simulator counts a word as one."""

Count = Callable[[], int]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_server(folder) as server:
        yield server


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@asynccontextmanager
async def crowd(processes: Servers, *running: Server) -> AsyncIterator[Crowd]:
    known = {
        (tenant, subject): processes.headers(tenant, subject)
        for tenant in TENANTS
        for subject in SUBJECTS
    }
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Crowd(
            lambda tenant, subject: known[tenant, subject],
            [server.url for server in running],
            session,
            random.Random(SEED + 1),
        )


async def half_done(callers: Crowd) -> None:
    while callers.done < STREAMS * 0.45:  # noqa: ASYNC110 - the callers change it
        await asyncio.sleep(0.01)


async def test_the_sums_are_equal_over_sqlite_and_a_killed_server(
    tmp_path: Path, simulator: Simulator
) -> None:
    tables = configuration(simulator) | {
        "streams": {"lease_seconds": LEASE, "detach_seconds": 0.5, "on_disconnect": "continue"}
    }
    async with servers(tmp_path, **tables) as processes:
        first = await processes.start()
        async with crowd(processes, first) as callers:
            asking = asyncio.create_task(callers.go(plans(random.Random(SEED), STREAMS), AT_ONCE))
            await half_done(callers)
            await first.kill()
            again = await processes.start(port=first.port)
            await asking

            def unsettled() -> int:
                found = sqlite3.connect(processes.settings.data_dir / "tellstream.db")
                try:
                    return one(found.execute(UNSETTLED).fetchall())
                finally:
                    found.close()

            await judge(callers, processes, simulator, [again], unsettled)


async def test_the_sums_are_equal_over_postgresql_and_a_killed_worker(
    tmp_path: Path, simulator: Simulator, postgres: PostgresServer, redis: RedisServer
) -> None:
    name = postgres.database()
    PostgresqlDatabase(postgres.url(name)).upgrade()
    tables = configuration(simulator) | {
        "streams": {"lease_seconds": LEASE, "detach_seconds": 0.5, "on_disconnect": "cancel"},
        "store": {"url": postgres.url(name)},
        "eventlog": {"url": redis.url},
    }
    async with servers(tmp_path, **tables) as processes:
        processes.headers()  # makes the keys that the store begins with
        lost, kept = await processes.start(), await processes.start()
        async with crowd(processes, lost, kept) as callers:
            asking = asyncio.create_task(callers.go(plans(random.Random(SEED), STREAMS), AT_ONCE))
            await half_done(callers)
            lost.process.send_signal(signal.SIGKILL)
            callers.urls.remove(lost.url)
            another = await processes.start()
            callers.urls.append(another.url)
            await asking
            await judge(
                callers, processes, simulator, [kept, another],
                lambda: one(postgres.ask(UNSETTLED, name)),
            )  # fmt: skip
            await limits_agree(callers, processes, redis)


UNSETTLED = "SELECT count(*) FROM usage WHERE finished_at IS NULL"


def one(rows: list[tuple[Any, ...]]) -> int:
    return int(rows[0][0])


async def judge(
    callers: Crowd,
    processes: Servers,
    simulator: Simulator,
    running: list[Server],
    open_rows: Count,
) -> None:
    """See that all agree, once everything has ended."""
    print(f"\nMONEY_SEED={SEED} MONEY_STREAMS={STREAMS}")  # noqa: T201 - to repeat it
    url, session = running[0].url, callers.session
    await until_ended(session, running, open_rows)
    async with asyncio.timeout(END_SECONDS):
        await simulator.idle()
    of = calls(simulator)
    by_id = {told.stream_id: told for told in callers.told if told.stream_id}
    assert len(by_id) >= STREAMS * 0.8  # the others met a server that was gone, and got no id
    seen: Counter[str] = Counter()
    problems: list[str] = []
    estimates = [0, 0]
    for tenant in TENANTS:
        headers = processes.headers(tenant, "boss", "chat usage streams:all")
        rows = await report(session, url, headers, "stream")
        by_stream = {row["stream"]: row for row in rows}
        assert len(by_stream) == len(rows)
        told = {i: t for i, t in by_id.items() if t.plan.tenant == tenant}
        problems += [f"{i}: no row" for i in told.keys() - by_stream.keys()]
        ends = await every(session, url, headers, list(by_stream))
        for stream_id, (state, end, text) in ends.items():
            row = by_stream[stream_id]
            usage = usage_of(row)
            name = f"{stream_id} ({state['finish_reason']})"
            if not usage == end == usage_of(state["usage"]):
                problems.append(f"{name}: row {usage}, end {end}, state {state['usage']}")
            if row["streams"] != 1 or row["estimated_streams"] != state["estimated"]:
                problems.append(f"{name}: {row}")
            if stream_id not in told:
                continue  # killed before its head was out
            one_told = told[stream_id]
            if one_told.end is not None and one_told.end.usage != usage:
                problems.append(f"{name}: the caller read {one_told.end.usage}")
            if not text.startswith(one_told.text):
                problems.append(f"{name}: the caller read another text")
            wrong = problem(
                one_told.plan, usage, state["estimated"], text, of.get(one_told.plan.number, [])
            )
            if wrong:
                problems.append(f"{name} {one_told.plan}: {wrong}")
            expected = price(one_told.plan.model)
            cost = None if expected is None else expected.cost(usage)
            if units(row["cost"]) != cost:
                problems.append(f"{name}: cost {row['cost']}, not {cost}")
            if state["estimated"] and (made := of.get(one_told.plan.number)):
                estimates[0] += usage.completion_tokens
                estimates[1] += generated(made[-1]).said
            seen[kind(one_told, state)] += 1
        await sums_agree(session, url, headers, rows)
    print(dict(sorted(seen.items())), "estimated, written:", estimates)  # noqa: T201
    assert not problems, "\n".join([f"MONEY_SEED={SEED}", *problems])
    assert {"Stop", "Cancelled", "Error worker_lost"} <= {k.partition(":")[2] for k in seen} or (
        STREAMS < 300
    )
    assert abs(estimates[0] - estimates[1]) <= ESTIMATE * estimates[1]


def kind(told: Told, state: Any) -> str:
    """Name what became of a stream, to see that all of it happened."""
    error = state["attempts"][-1]["error"] if state["attempts"] else None
    reason = state["finish_reason"]
    if reason == "Error" and error is None:
        reason = "Error worker_lost"
    return f"{'estimated' if state['estimated'] else 'counted'}:{reason}"


async def until_ended(
    session: aiohttp.ClientSession, running: list[Server], open_rows: Count
) -> None:
    """Wait until no stream runs and no row is open."""
    async with asyncio.timeout(END_SECONDS):
        while True:
            busy = 0
            for server in running:
                async with session.get(server.url + "/readyz") as response:
                    busy += (await response.json())["streams"]
            if not busy and not await asyncio.to_thread(open_rows):
                return
            await asyncio.sleep(0.1)


async def every(
    session: aiohttp.ClientSession, url: str, headers: Any, ids: list[str]
) -> dict[str, tuple[Any, Usage, str]]:
    """The state of each stream, its end and its text, read again after the fact."""
    gate = asyncio.Semaphore(20)

    async def read(stream_id: str) -> tuple[str, tuple[Any, Usage, str]]:
        path = f"{url}/v1/streams/{stream_id}"
        async with gate:
            async with session.get(path, headers=headers) as response:
                assert response.status == 200, await response.text()
                state = (await response.json())["data"]
            assert state["state"] == "finished", state
            async with session.get(f"{path}/events", headers=headers) as response:
                assert response.status == 200
                end, text = end_of(await response.read())
        assert end.usage is not None
        return stream_id, (state, end.usage, text)

    return dict(await asyncio.gather(*map(read, ids)))


async def report(session: aiohttp.ClientSession, url: str, headers: Any, by: str) -> list[Any]:
    """Follow a report to its end."""
    rows: list[Any] = []
    query = f"by={by}&limit=100"
    while True:
        async with session.get(f"{url}/v1/usage?{query}", headers=headers) as response:
            assert response.status == 200, await response.text()
            answer = await response.json()
        rows += answer["data"]
        if not answer["meta"]["has_more"]:
            return rows
        query = f"limit=100&cursor={answer['meta']['cursor']}"


COLUMNS = ("streams", *Usage.__struct_fields__, "estimated_streams")


def summed(rows: list[Any]) -> dict[str, int]:
    sums = {name: sum(row[name] or 0 for row in rows) for name in COLUMNS}
    return sums | {"cost": sum(units(row["cost"]) or 0 for row in rows)}


def units(cost: str | None) -> int | None:
    if cost is None:
        return None
    whole, _, rest = cost.partition(".")
    return int(whole) * COST_UNITS + int(rest.ljust(9, "0"))


async def sums_agree(
    session: aiohttp.ClientSession, url: str, headers: Any, rows: list[Any]
) -> None:
    for by in ("day", "model", "client", "subject"):
        assert summed(await report(session, url, headers, by)) == summed(rows), by


async def limits_agree(callers: Crowd, processes: Servers, redis: RedisServer) -> None:
    """What counts towards the quota is what the rows say, and nothing is set aside for them.

    A request that was admitted when its worker was killed, and was no stream yet, keeps what was
    set aside until it lapses.
    """
    for tenant in TENANTS:
        headers = processes.headers(tenant, "boss", "usage")
        rows = await report(callers.session, callers.urls[0], headers, "stream")
        held = redis.ask("HKEYS", f"tellstream:{{t:{tenant}}}:held")
        names = {name.decode() for name in held if not name.startswith(b"#")}
        assert not names & {row["stream"] for row in rows}
        assert len(names) <= AT_ONCE
        spent = redis.ask("HMGET", f"tellstream:{{t:{tenant}}}:spent", "seeded", "tokens", "cost")
        if spent[0] == b"1":  # else it is worked out anew, from the rows
            sums = summed(rows)
            tokens = sums["prompt_tokens"] + sums["completion_tokens"]
            assert (int(spent[1]), int(spent[2])) == (tokens, sums["cost"])
