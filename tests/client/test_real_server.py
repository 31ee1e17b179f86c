"""Both clients against the real server, over a network that keeps breaking."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from client.proxy import cutting
from client.readers import Outcome, read_async, read_sync
from support.server import Running
from tellstream.client import AsyncTellstream, GoneError, NotFoundError
from tellstream.core import grammar
from tellstream.core.transcript import fold
from tellstream.providers.simulator import Simulator

kinds = pytest.mark.parametrize("kind", ["async", "sync"])
PAGE = Path(__file__).parents[2] / "docs/howto/use-the-python-client.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


async def read(kind: str, url: str, token: str, **options: object) -> Outcome:
    if kind == "async":
        return await read_async(url, token=token, **options)  # type: ignore[arg-type]
    return await asyncio.to_thread(read_sync, url, token=token, **options)  # type: ignore[arg-type]


@kinds
@pytest.mark.parametrize("model", ["paced", "thinks", "cut"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_breaking_network_changes_nothing(
    server: Running, kind: str, model: str, seed: int
) -> None:
    # The head of an answer has about 600 bytes and must arrive once, so that no second stream
    # starts; every later connection carries some events or none.
    async with cutting(server.url, seed=seed, least=900, most=3000) as proxy:
        got = await read(kind, proxy.url, server.token(), fields={"model": model})
    straight = await read(kind, server.url, server.token(), resume={"stream_id": got.stream_id})
    assert got.error is None
    assert got.events == straight.events
    assert got.positions == list(range(1, len(straight.events) + 1))
    assert got.transcript == fold(straight.events)
    grammar.check(got.events)
    assert proxy.cuts >= 2
    assert (got.transcript.error is not None) == (model == "cut")


@kinds
async def test_connections_that_die_in_their_heads_do_not_stop_it(
    server: Running, kind: str
) -> None:
    first = await read(kind, server.url, server.token(), fields={"model": "thinks"})
    resume = {"stream_id": first.stream_id}
    async with cutting(server.url, seed=3, least=1, most=1500) as proxy:
        again = await read(kind, proxy.url, server.token(), resume=resume)
        raw = await read(kind, proxy.url, server.token(), resume=resume, raw=True)
    assert again.events == first.events
    straight = await read(kind, server.url, server.token(), resume=resume, raw=True)
    assert raw.frames == straight.frames
    assert proxy.cuts > 5


@kinds
async def test_a_start_whose_answer_is_lost_finds_its_stream_again(
    server: Running, simulator: Simulator, kind: str
) -> None:
    async with cutting(server.url, seed=5, least=1, most=1200) as proxy:
        got = await read(kind, proxy.url, server.token(), fields={"model": "thinks"})
    straight = await read(kind, server.url, server.token(), resume={"stream_id": got.stream_id})
    assert got.error is None
    assert got.events == straight.events
    assert len(simulator.journal.records()) == 1


@kinds
async def test_a_snapshot_says_the_same_with_fewer_events(server: Running, kind: str) -> None:
    first = await read(kind, server.url, server.token())
    resume = {"stream_id": first.stream_id, "snapshot": True}
    async with cutting(server.url, seed=6, least=500, most=900) as proxy:
        for url in (server.url, proxy.url):
            got = await read(kind, url, server.token(), resume=resume)
            assert got.error is None
            assert got.transcript == first.transcript
            assert got.positions[-1] == len(first.events)
            assert len(got.events) < len(first.events)


@kinds
async def test_every_position_of_a_finished_stream_can_be_resumed(
    server: Running, kind: str
) -> None:
    first = await read(kind, server.url, server.token())
    for after in range(0, len(first.events) + 1, 5):
        resume = {"stream_id": first.stream_id, "after": after}
        got = await read(kind, server.url, server.token(), resume=resume)
        assert got.events == first.events[after:]
    last = {"stream_id": first.stream_id, "after": len(first.events)}
    assert (await read(kind, server.url, server.token(), resume=last)).events == []


async def test_calls_and_cancel_speak_with_the_real_server(server: Running) -> None:
    async with AsyncTellstream(server.url, server.token(), 1) as client:
        assert next(model for model in await client.models() if model.default).id == "sim-fast"
        answer = await client.chat("Hello")
        state = await client.state(answer.stream_id)
        assert (state.state, state.finish_reason) == ("finished", answer.finish_reason)
        async with client.stream("Hello", model="sim-long") as stream:
            await anext(stream)
            await stream.cancel()
            transcript = await stream.collect()
        assert transcript.finish_reason == "Cancelled"
        assert transcript.usage is not None
        assert (await client.cancel(stream.stream_id)).state == "finished"
        with pytest.raises((NotFoundError, GoneError)):
            await client.state("str_00000000000000000000000000")


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
async def test_the_examples_of_the_page_run(server: Running, number: int) -> None:
    environment = {**os.environ, "URL": server.url, "TOKEN": server.token()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", EXAMPLES[number],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    output, errors = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, errors) == (0, b"")
    assert EXPECTED[number] in output.decode()


EXPECTED = [
    "finished: Stop",
    "whole answer: True Stop\n1 stream_start\n2 ",
    "finished: Cancelled",
    "stream_start ... stream_end",
    "a token is fetched\n",
    "validation_error (('model', ",
]


def test_every_example_has_an_expectation() -> None:
    assert len(EXPECTED) == len(EXAMPLES)
