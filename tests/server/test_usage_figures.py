"""How streams ended and how long their first token took, as usage tells it."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.conftest import HASTY, tables
from server.test_billing import get
from support.chat import ask
from support.ledgers import NOON, row, settlement
from support.replay import ReplayProvider
from support.server import Running, tellstream
from tellstream.core.usage import FinishReason
from tellstream.providers.simulator import Simulator

PATIENCE = 10.0
FIRST_MS = 400
"""What the model ``slow-first`` takes, at least."""


async def usage(server: Running, by: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = await get(server, f"/v1/usage?by={by}", "usage")
    return rows


@pytest.mark.parametrize(
    ("model", "reason", "began"),
    [
        ("plain", "Stop", True),
        ("short", "Length", True),
        ("refuses", "ContentFilter", True),
        ("tools", "ToolCalls", True),
        ("falls-back", "Stop", True),
        ("cut", "Error", True),
        ("busy", "Error", False),
        ("silent", "Error", False),
    ],
)
async def test_a_stream_counts_under_its_end_and_has_a_time_if_it_had_content(
    tmp_path: Path,
    simulator: Simulator,
    replay: ReplayProvider,
    model: str,
    reason: str,
    began: bool,
) -> None:
    changes = tables(simulator, replay, timeouts=HASTY)
    scripts = {
        "cut": "words=9,fault=eof,at=4", "short": "words=3,finish=length",
        "refuses": "refusal=1,text=no", "tools": "words=1,finish=tool_calls",
    }  # fmt: skip
    changes["models"] |= {
        name: {"targets": [f"sim/sim:{script}"]} for name, script in scripts.items()
    }
    async with tellstream(tmp_path, **changes) as server:
        reply = await ask(server, {"prompt": "x", "model": model})
        state = await get(server, f"/v1/streams/{reply.headers['X-Stream-Id']}", "chat")
        (row,) = await usage(server, "stream")
    assert state["finish_reason"] == reason
    assert row["finish_reasons"] == {reason: 1}
    assert (row["first_token_ms"] is not None) is began


async def test_the_time_to_the_first_token_is_what_its_reader_waited(server: Running) -> None:
    clock = asyncio.get_running_loop().time
    started = clock()
    assert (await ask(server, {"prompt": "x", "model": "slow-first"})).status == 200
    waited = 1000 * (clock() - started)
    (row,) = await usage(server, "stream")
    first = row["first_token_ms"]
    assert FIRST_MS - 5 <= first["max"] <= waited  # the simulator's timer may be a little early
    assert {first["mean"], first["p50"], first["p95"]} == {first["max"]}
    assert sum(first["counts"].values()) == first["streams"] == 1


async def test_a_cancelled_stream_counts_as_cancelled(server: Running) -> None:
    headers = server.headers(scope="chat usage")
    async with aiohttp.ClientSession(headers=headers) as session:
        body = {"prompt": "x", "model": "paced"}
        async with session.post(server.url + "/v1/chat/stream", json=body) as response:
            await response.content.readuntil(b"text_delta")
            stream = f"{server.url}/v1/streams/{response.headers['X-Stream-Id']}"
            assert (await session.post(stream + "/cancel")).status == 202
            await asyncio.wait_for(response.read(), PATIENCE)
    (row,) = await usage(server, "model")
    assert row["finish_reasons"] == {"Cancelled": 1}
    assert row["first_token_ms"]["streams"] == 1


@pytest.mark.parametrize("by", ["day", "model", "client", "subject"])
async def test_all_ends_together_are_all_streams(server: Running, by: str) -> None:
    ledger = server.services.ledger
    now = int(server.services.clock())
    ends = [*FinishReason, FinishReason.STOP, FinishReason.ERROR]
    for number, reason in enumerate(ends):
        stream = row(f"str_{number}", started_at=NOON)
        first = None if reason is FinishReason.ERROR else 150 * number
        ended = settlement(finished_at=now, finish_reason=reason, first_token_ms=first)
        await ledger.settle(1, stream.stream_id, ended, row=stream)
    (found,) = await usage(server, by)
    expected = {reason.value: ends.count(reason) for reason in FinishReason}
    assert found["finish_reasons"] == expected
    times = [150 * number for number, reason in enumerate(ends) if reason is not FinishReason.ERROR]
    first_token = found["first_token_ms"]
    assert first_token["streams"] == sum(first_token["counts"].values()) == len(times)
    assert first_token["mean"] == round(sum(times) / len(times))
    assert first_token["max"] == max(times)
