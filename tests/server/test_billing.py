"""What a stream is billed for that came to nothing, and for one that was cancelled."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.conftest import HASTY, tables
from support.chat import ask
from support.replay import ReplayProvider
from support.server import Running, tellstream
from tellstream.core.chat import ChatRequest
from tellstream.providers.simulator import Simulator
from tellstream.storage.base import LedgerUnavailableError
from tellstream.streams.metering import prompt_tokens

PROMPT = prompt_tokens(ChatRequest("x", system="Be brief."))


async def get(server: Running, path: str, scope: str) -> Any:
    async with (
        aiohttp.ClientSession(headers=server.headers(scope=scope)) as session,
        session.get(server.url + path) as response,
    ):
        assert response.status == 200, await response.text()
        return (await response.json())["data"]


@pytest.mark.parametrize(
    ("model", "prompt", "completion", "estimated"),
    [
        ("busy", 0, 0, False),
        ("bad-key", 0, 0, False),
        ("down", 0, 0, False),
        ("redirect", 0, 0, False),
        ("gone", 0, 0, False),
        ("no-head", PROMPT, 0, True),  # it may have read the prompt
        ("silent", PROMPT, 0, True),
        ("gzip", 0, 0, False),
        ("falls-back", 3, 2, False),  # of the one that answered alone
        ("cut-then-refused", 0, 0, False),
    ],
)
async def test_what_nobody_charges_for_is_not_billed(
    tmp_path: Path,
    simulator: Simulator,
    replay: ReplayProvider,
    model: str,
    prompt: int,
    completion: int,
    estimated: bool,
) -> None:
    changes = tables(simulator, replay, timeouts=HASTY)
    changes["models"]["gone"] = {"targets": ["gone/x"]}
    cut = ["sim/sim:words=9,fault=eof,at=0", "sim/sim:status=503"]
    changes["models"]["cut-then-refused"] = {"targets": cut}
    async with tellstream(tmp_path, **changes) as server:
        reply = await ask(server, {"prompt": "x", "model": model})
        stream_id = reply.headers["X-Stream-Id"]
        state = await get(server, f"/v1/streams/{stream_id}", "chat")
        (row,) = await get(server, "/v1/usage?by=stream", "usage")
    for counted in (row, state["usage"]):
        assert (counted["prompt_tokens"], counted["completion_tokens"]) == (prompt, completion)
    assert (row["stream"], row["estimated_streams"]) == (stream_id, estimated)
    assert state["estimated"] is estimated


async def test_without_a_row_there_is_no_call_and_nothing_to_bill(
    server: Running, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = server.services.ledger

    def away(_row: object) -> None:
        raise LedgerUnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "open", away)
        reply = await ask(server, {"prompt": "x"})
        assert (reply.status, reply.json["error"]) == (503, "service_unavailable")
        assert reply.headers["Retry-After"] == "1"
    assert simulator.requests() == []
    assert await get(server, "/v1/usage?by=stream", "usage") == []
    assert server.services.admission.running == 0
    state = await get(server, f"/v1/streams/{reply.headers['X-Stream-Id']}", "chat")
    assert state["usage"]["prompt_tokens"] == state["usage"]["completion_tokens"] == 0
    assert (await ask(server, {"prompt": "x"})).status == 200
