"""Limits as callers meet them: fields, advice, places that come back, caps in the middle."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest

from server.conftest import PATIENT, tables
from support.chat import ask, parse
from support.replay import ReplayProvider
from support.server import Running, tellstream
from tellstream.core.transcript import Transcript, fold
from tellstream.limits.periods import until_next_month, until_tomorrow
from tellstream.providers.simulator import Simulator

PATIENCE = 20.0
FIELDS = {
    "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit",
    "RateLimit-Policy",
}  # fmt: skip
BATCH = 60
"""Tokens that may arrive in one read of a provider that says a word every few milliseconds."""

Start = Callable[..., Any]


@pytest.fixture
def start(tmp_path: Path, simulator: Simulator, replay: ReplayProvider) -> Start:
    """Run a server with limits."""

    @asynccontextmanager
    async def started(limits: Any, model: str = "plain", **changes: Any) -> AsyncIterator[Running]:
        tenants = {
            "1": {"model": model, "limits": limits},
            "2": {"model": model, "limits": limits},
        }
        changes.setdefault("tenants", tenants)
        async with tellstream(tmp_path, **tables(simulator, replay, **changes)) as server:
            yield server

    return started


class Many:
    """Streams that are held open."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.stack = AsyncExitStack()
        self.open: list[aiohttp.ClientResponse] = []

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0)
        self.session = await self.stack.enter_async_context(
            aiohttp.ClientSession(connector=connector)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cancel()
        for response in self.open:
            response.close()
        await self.stack.aclose()

    async def start(self, count: int, *, tenant: int = 1, **body: str) -> list[tuple[int, str]]:
        """Ask at once; returns status and error of each."""
        subject = body.pop("subject", "local")
        headers = self.server.headers(tenant, subject=subject)

        async def one() -> tuple[int, str]:
            response = await self.session.post(
                self.server.url + "/v1/chat/stream", json={"prompt": "x", **body}, headers=headers
            )
            if response.status == 200:
                self.open.append(response)
                return 200, ""
            return response.status, (await response.json())["error"]

        return await asyncio.gather(*(one() for _ in range(count)))

    async def cancel(self) -> None:
        for response in self.open:
            for tenant in (1, 2):
                headers = self.server.headers(tenant, scope="chat streams:all")
                path = f"/v1/streams/{response.headers['X-Stream-Id']}/cancel"
                async with self.session.post(self.server.url + path, headers=headers) as reply:
                    assert reply.status in (202, 404)

    async def read(self) -> list[Transcript]:
        bodies = [await response.read() for response in self.open]
        self.open.clear()
        return [fold(parse(body.replace(b": keep-alive\n", b""))[0]) for body in bodies]

    async def leave(self) -> None:
        for response in self.open:
            response.close()
        self.open.clear()


# --- fields and advice ----------------------------------------------------------------------------


async def test_every_answer_to_who_is_known_says_the_limits(start: Start) -> None:
    async with start({"requests_per_minute": 600}) as server:
        stream = await ask(server, {"prompt": "x"})
        chat, usage = server.headers(), server.headers(scope="usage")
        nobody: dict[str, str] = {}
        stream_id = stream.headers["X-Stream-Id"]
        found = {"stream": (stream.status, stream.headers)}
        async with aiohttp.ClientSession() as session:
            for name, method, path, headers in (
                ("models", "GET", "/v1/models", chat),
                ("head", "HEAD", "/v1/models", chat),
                ("usage", "GET", "/v1/usage", usage),
                ("state", "GET", f"/v1/streams/{stream_id}", chat),
                ("replay", "GET", f"/v1/streams/{stream_id}/events", chat),
                ("over", "GET", f"/v1/streams/{stream_id}/events?after=11", chat),
                ("cancel", "POST", f"/v1/streams/{stream_id}/cancel", chat),
                ("unknown", "GET", "/v1/streams/str_0", chat),
                ("scope", "GET", "/v1/usage", chat),
                ("scope of a counted one", "POST", "/v1/chat", usage),
                ("no body", "POST", "/v1/chat/stream", chat),
                ("query", "GET", "/v1/usage?by=x", usage),
                ("no token", "GET", "/v1/models", nobody),
            ):
                url = server.url + path
                async with session.request(method, url, headers=headers) as response:
                    await response.read()
                    found[name] = response.status, response.headers
        refused = await ask(server, {"prompt": ""})
        found["invalid"] = refused.status, refused.headers
    statuses = {name: status for name, (status, _) in found.items()}
    assert statuses == {
        "stream": 200, "models": 200, "head": 200, "usage": 200, "state": 200, "replay": 200,
        "over": 204, "cancel": 202, "unknown": 404, "scope": 403, "scope of a counted one": 403,
        "no body": 415, "query": 422, "no token": 401, "invalid": 422,
    }  # fmt: skip
    silent = {name for name, (_, headers) in found.items() if not headers.keys() >= FIELDS}
    assert silent == {"no token"}
    assert {h["X-RateLimit-Limit"] for n, (_, h) in found.items() if n != "no token"} == {"600"}
    # Counted: the stream, the one without a body, the invalid one.
    assert int(found["stream"][1]["X-RateLimit-Remaining"]) == 599
    assert int(found["query"][1]["X-RateLimit-Remaining"]) >= 597


async def test_whoever_waits_as_long_as_advised_passes(start: Start) -> None:
    async with start({"requests_per_minute": 30}) as server, Many(server) as many:
        statuses = await many.start(40, model="plain")
        assert 30 <= statuses.count((200, "")) < 40  # more if it took two seconds and more
        refused = await ask(server, {"prompt": "x"})
        while refused.status == 200:  # a busy machine is slower than the limit
            refused = await ask(server, {"prompt": "x"})
        assert (refused.status, refused.json["error"]) == (429, "rate_limit_exceeded")
        wait = int(refused.headers["Retry-After"])
        assert 1 <= wait <= 2
        assert f";r=0;t={wait}" in refused.headers["RateLimit"]
        await asyncio.sleep(wait)
        assert (await ask(server, {"prompt": "x"})).status == 200


async def test_a_subject_has_limits_of_its_own(start: Start) -> None:
    limits = {"subject_requests_per_minute": 8, "subject_concurrent_streams": 2}
    async with start(limits, model="endless") as server, Many(server) as many:
        for subject in ("ann", "bob"):
            found = await many.start(6, subject=subject)
            assert found.count((200, "")) == 2
            assert found.count((429, "concurrency_limit_exceeded")) == 4
            found = await many.start(6, subject=subject)
            assert found.count((429, "concurrency_limit_exceeded")) == 2
            assert found.count((429, "rate_limit_exceeded")) == 4


async def test_one_tenant_cannot_take_all_places(start: Start) -> None:
    streams = {"max_running": 10, "tenant_share": 0.5, "heartbeat_seconds": 0.2}
    async with start({}, model="endless", streams=streams) as server, Many(server) as many:
        greedy = await many.start(30, tenant=1)
        assert greedy.count((200, "")) == 5
        assert greedy.count((429, "concurrency_limit_exceeded")) == 25
        assert (await many.start(1, tenant=2)) == [(200, "")]
        assert server.services.admission.running == 6


async def ended(many: Many) -> None:
    assert {t.finish_reason for t in await many.read()} == {"Stop"}


async def failed(many: Many) -> None:
    assert {t.finish_reason for t in await many.read()} == {"Error"}


async def cancelled(many: Many) -> None:
    await many.cancel()
    assert {t.finish_reason for t in await many.read()} == {"Cancelled"}


async def left(many: Many) -> None:
    await many.leave()


@pytest.mark.parametrize(
    ("model", "how"),
    [("mark-a", ended), ("stalls", failed), ("endless", cancelled), ("endless", left)],
    ids=["end", "error", "cancel", "disconnect"],
)
async def test_places_come_back(
    start: Start, model: str, how: Callable[[Many], Awaitable[None]]
) -> None:
    streams = {"commit_seconds": 0.2, "heartbeat_seconds": 0.2, "on_disconnect": "cancel"}
    limits = {"concurrent_streams": 3}
    patience = PATIENT | {"idle": 1.0}  # "stalls" fails soon
    async with (
        start(limits, model=model, streams=streams, timeouts=patience) as server,
        Many(server) as many,
    ):
        assert (await many.start(8)).count((200, "")) == 3
        await how(many)
        async with asyncio.timeout(PATIENCE):
            while (await many.start(1, model="endless"))[0][0] != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            while server.services.admission.running > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await many.start(8, model="endless")).count((200, "")) == 2


# --- caps in the middle ---------------------------------------------------------------------------

PRICED = {"targets": ["sim/sim:fault=endless,delay_ms=5"], "price": {"input": 0, "output": 10}}
BUDGET = "0.005"
BUDGET_TOKENS = 500


@pytest.mark.parametrize(
    ("limits", "cap", "until"),
    [
        ({"tokens_per_day": 500}, 500, until_tomorrow),
        ({"budget_per_month": BUDGET}, BUDGET_TOKENS, until_next_month),
    ],
    ids=["tokens", "budget"],
)
async def test_a_stream_ends_at_the_cap_and_not_after_it(
    start: Start, simulator: Simulator, limits: Any, cap: int, until: Callable[[float], float]
) -> None:
    async with start(limits, "priced", models={"priced": PRICED}) as server:
        reply = await ask(server, {"prompt": "x"})
        assert reply.status == 200
        transcript = reply.transcript
        assert transcript.error is not None
        assert transcript.error.error_type == "quota_exceeded"
        assert transcript.finish_reason == "Error"
        usage = transcript.usage
        assert usage is not None
        counted = usage.completion_tokens
        if "tokens_per_day" in limits:
            counted += usage.prompt_tokens
        assert cap <= counted <= cap + BATCH
        async with asyncio.timeout(PATIENCE):
            while simulator.requests()[0].state != "client_closed":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        headers = server.headers(scope="usage")
        url = f"{server.url}/v1/usage?by=stream"
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(url) as response,
        ):
            (row,) = (await response.json())["data"]
        assert row["stream"] == reply.headers["X-Stream-Id"]
        assert row["completion_tokens"] == usage.completion_tokens
        assert row["cost"] == f"0.{usage.completion_tokens * 10_000:09d}"
        refused = await ask(server, {"prompt": "x"})
        assert (refused.status, refused.json["error"]) == (429, "quota_exceeded")
        assert abs(int(refused.headers["Retry-After"]) - until(time.time())) < PATIENCE
        assert len(simulator.requests()) == 1
        # Another tenant has its own.
        assert (await ask(server, {"prompt": "x"}, tenant=2)).status == 200


async def test_streams_that_share_a_cap_do_not_exceed_it_together(
    start: Start, simulator: Simulator
) -> None:
    limits = {"tokens_per_day": 2000}
    async with start(limits, "priced", models={"priced": PRICED}) as server, Many(server) as many:
        found = await many.start(8)
        admitted = found.count((200, ""))
        assert found.count((429, "quota_exceeded")) == 8 - admitted
        transcripts = await many.read()
        assert len(transcripts) == admitted >= 2
        usages = [t.usage for t in transcripts if t.usage is not None]
        total = sum(usage.prompt_tokens + usage.completion_tokens for usage in usages)
        assert 2000 - BATCH * admitted <= total <= 2000 + BATCH * admitted
