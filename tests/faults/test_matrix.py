"""Every fault in every dialect, over real HTTP: one grammatical end, the right reason, no leak."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from faults.matrix import BASES, ROWS, WORDS, Outcome, Row
from faults.page import PAGE, impossible, render
from support.chat import ask
from support.server import Running, tellstream
from tellstream.eventlog.base import StreamKey
from tellstream.providers.simulator import Simulator
from tellstream.streams.record import StreamRecord

pytestmark = pytest.mark.asyncio(loop_scope="module")

HASTY = {"connect": 1.0, "headers": 1.0, "first_token": 1.5, "idle": 1.0, "total": 3.0}
"""For rows in which time runs out."""
PATIENT = {"connect": 10.0, "headers": 10.0, "first_token": 20.0, "idle": 10.0, "total": 30.0}
"""For all others: three calls with their waits, on a busy machine."""
LONGEST = 25.0
"""Seconds: three calls with their waits, and no timer twice."""


@dataclass(frozen=True)
class World:
    hasty: Running
    patient: Running
    simulator: Simulator

    def server(self, row: Row) -> Running:
        """The server with the row's timers."""
        return self.hasty if row.outcome.code == "provider_timeout" else self.patient


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with Simulator() as simulator:
        providers: dict[str, Any] = {}
        models: dict[str, Any] = {}
        for dialect, base in BASES.items():
            provider = {"dialect": dialect, "api_key": "none"}
            providers[dialect] = {**provider, "base_url": simulator.url + base}
            providers[f"{dialect}-gone"] = {**provider, "base_url": f"http://127.0.0.1:1{base}"}
            for number, row in enumerate(ROWS):
                models[f"{dialect}-{number}"] = {"targets": targets(row, dialect, number)}
        tables: dict[str, Any] = {
            "providers": providers,
            "models": models,
            "tenants": {str(n + 1): {} for n in range(len(BASES))},
            "streams": {"commit_seconds": 15.0, "heartbeat_seconds": 0.3},
        }
        async with (
            tellstream(tmp_path_factory.mktemp("hasty"), timeouts=HASTY, **tables) as hasty,
            tellstream(tmp_path_factory.mktemp("patient"), timeouts=PATIENT, **tables) as patient,
        ):
            yield World(hasty, patient, simulator)


def targets(row: Row, dialect: str, number: int) -> list[str]:
    """The row's targets; the seed makes each script's name, and so its count of calls, its own."""
    own = f",seed={1000 * list(BASES).index(dialect) + number + 2}"
    return [
        f"{dialect}-gone/x" if target == "!" else f"{dialect}/{target.replace(',seed=1', '')}{own}"
        for target in row.targets
    ]


@pytest.mark.parametrize("dialect", BASES)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_fault_ends_once_with_the_right_reason(
    row: Row, dialect: str, world: World
) -> None:
    if impossible(row, dialect):
        assert "n/a" in render()  # said in the table, with its reason
        return
    server = world.server(row)
    forget_breakers(server)
    world.simulator.reset()
    began = time.monotonic()
    for _ in range(row.requests):
        model = f"{dialect}-{ROWS.index(row)}"
        reply = await ask(server, {"prompt": "Say something", "model": model})
        check(row.expected(dialect), reply)
        if row.fault == "usage missing":
            assert await estimated(server, reply.headers["X-Stream-Id"])
        elif reply.status == 200 and row.expected(dialect).code == "":
            assert reply.transcript.usage is not None
            # Whether what came after the finish is counted depends on where usage stands.
            assert reply.transcript.usage.completion_tokens in {WORDS, WORDS + extra(row)}
    assert time.monotonic() - began < LONGEST
    assert len(world.simulator.requests()) == row.calls
    await asyncio.wait_for(world.simulator.idle(), 1.0)  # no connection is left streaming


def check(expected: Outcome, reply: Any) -> None:
    if not expected.finish:
        assert (reply.status, reply.json and reply.json["error"]) == expected[:2]
        return
    assert reply.status == 200, reply.json
    transcript = reply.transcript  # `ask` has checked that the stream is grammatical
    assert transcript.finish_reason == expected.finish
    assert (transcript.error.error_type if transcript.error else "") == expected.code
    if not expected.code:
        assert len(transcript.text.split()) >= WORDS


def extra(row: Row) -> int:
    """Words that come with the fault, and are counted by the provider."""
    return 1 if row.fault == "content after the finish reason" else 0


async def estimated(server: Running, stream_id: str) -> bool:
    entry = await server.services.streams._log.find(StreamKey(1, stream_id))
    assert entry is not None
    return StreamRecord.decode(entry.record).state.estimated


def forget_breakers(server: Running) -> None:
    """Each row is about one fault; what many of them together do is tests/streams' business."""
    server.services.streams._producer.breakers._by_key.clear()
    server.services.streams._producer._budget.__init__()  # type: ignore[misc]


async def test_the_page_shows_this_table() -> None:
    assert PAGE.read_text() == render(), "run `make docs`"


@pytest.mark.parametrize("dialect", BASES)
async def test_a_cut_at_many_bytes_ends_once_and_tells_the_truth(
    dialect: str, tmp_path: Any
) -> None:
    cuts = range(0, 3000, 37)
    async with Simulator() as simulator:
        provider = {
            "dialect": dialect,
            "base_url": simulator.url + BASES[dialect],
            "api_key": "none",
        }
        models = {f"m{c}": {"targets": [f"p/sim:words=9,think=3,fault=eof,byte={c}"]} for c in cuts}
        async with tellstream(
            tmp_path, providers={"p": provider}, models=models, retries={"max": 0}
        ) as server:
            for cut in cuts:
                reply = await ask(server, {"prompt": "x", "model": f"m{cut}"})
                if reply.status != 200:
                    assert (reply.status, reply.json["error"]) in {
                        (502, "upstream_truncated"), (503, "provider_unavailable"),
                    }  # fmt: skip
                    continue
                transcript = reply.transcript
                code = transcript.error.error_type if transcript.error else None
                assert code in {None, "upstream_truncated"}
                assert (transcript.finish_reason == "Error") is (code is not None)
