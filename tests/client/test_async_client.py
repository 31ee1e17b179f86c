"""What only the asynchronous client promises: cancellation, and reading in pieces."""

import asyncio

import pytest

from client.readers import FAST
from client.scripted import (
    CLOSED,
    STREAM_ID,
    Asked,
    Hold,
    Scripted,
    answer,
    frames_of,
    refused,
    story,
)
from tellstream.client import AsyncTellstream, StreamFailedError
from tellstream.core import events as ev

EVENTS = story("Hel", "lo")
FRAMES = frames_of(EVENTS)


async def until(event: object) -> None:
    """Wait for a threading event without blocking the loop."""
    assert await asyncio.to_thread(event.wait, 10)  # type: ignore[attr-defined]


async def test_cancelling_the_reader_closes_the_connection() -> None:
    with Scripted([CLOSED, FRAMES[0], Hold()]) as server:
        async with AsyncTellstream(server.url, "t", 1, policy=FAST) as client:
            seen = asyncio.Event()

            async def reader() -> None:
                async with client.stream("Hello") as stream:
                    async for _ in stream:
                        seen.set()

            task = asyncio.create_task(reader())
            await seen.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(server.left)
    assert len(server.asked) == 1


async def test_cancelling_while_it_waits_for_the_head_closes_the_connection() -> None:
    with Scripted([Hold()]) as server:
        async with AsyncTellstream(server.url, "t", 1, policy=FAST) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1), client.stream("Hello"):
                    pass
            await until(server.left)
    assert len(server.asked) == 1


async def test_leaving_the_block_closes_the_connection_and_ends_the_reading() -> None:
    with Scripted([CLOSED, FRAMES[0] + FRAMES[1], Hold()]) as server:
        async with AsyncTellstream(server.url, "t", 1, policy=FAST) as client:
            async with client.stream("Hello") as stream:
                assert await anext(stream) == EVENTS[0]
            await until(server.left)
            with pytest.raises(RuntimeError):
                await anext(stream)
            with pytest.raises(RuntimeError):
                async with stream:
                    pass
        assert stream.position == 1


async def test_a_read_that_timed_out_has_lost_nothing() -> None:
    with Scripted([CLOSED, FRAMES[0], Hold()], lambda asked: [CLOSED, *FRAMES[asked.after :]]) as s:
        async with (
            AsyncTellstream(s.url, "t", 1, policy=FAST) as client,
            client.stream("Hello") as stream,
        ):
            got: list[ev.Event] = [await anext(stream)]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await anext(stream)
            got += [event async for event in stream]
            assert [event async for event in stream] == []
    assert got == EVENTS
    assert s.asked[1].after == 1


async def test_reading_may_be_left_and_taken_up_in_any_way() -> None:
    with Scripted([CLOSED, *FRAMES]) as server:
        async with (
            AsyncTellstream(server.url, "t", 1, policy=FAST) as client,
            client.stream("Hello") as stream,
        ):
            async for event in stream:
                assert event == EVENTS[0]
                break
            async for frame in stream.raw():
                assert frame == FRAMES[1]
                break
            async for event in stream.events():
                assert event == EVENTS[2]
                break
            assert stream.position == 3
            assert stream.transcript.text == "Hel"
            transcript = await stream.collect()
    assert (transcript.text, stream.position) == ("Hello", len(EVENTS))
    stream.raise_for_error()


async def test_cancel_asks_the_server_and_the_end_is_read() -> None:
    state = {"id": STREAM_ID, "state": "running", "model": "m", "provider": "p", "created_at": 1}
    cancelled = asyncio.Event()
    loop = asyncio.get_running_loop()

    def script(asked: Asked) -> list[bytes | Hold]:
        if asked.path.endswith("/cancel"):
            loop.call_soon_threadsafe(cancelled.set)
            return [answer(202, {"data": state})]
        return [CLOSED, b"".join(FRAMES[asked.after :])] if cancelled.is_set() else [
            CLOSED, FRAMES[0],
        ]  # fmt: skip

    with Scripted(script) as server:
        async with (
            AsyncTellstream(server.url, "t", 1, policy=FAST) as client,
            client.stream("Hello") as stream,
        ):
            await anext(stream)
            assert (await stream.cancel()).state == "running"
            rest = [event async for event in stream]
    assert rest == EVENTS[1:]


async def test_a_failed_stream_raises_when_asked() -> None:
    with Scripted([CLOSED, *frames_of(story("x", error="worker_lost"))]) as server:
        async with (
            AsyncTellstream(server.url, "t", 1, policy=FAST) as client,
            client.stream("Hello") as stream,
        ):
            await stream.collect()
            with pytest.raises(StreamFailedError) as raised:
                stream.raise_for_error()
    assert (raised.value.code, raised.value.message) == ("worker_lost", "It broke.")
    assert raised.value.stream_id == STREAM_ID


async def test_many_streams_at_once_share_a_fresh_token() -> None:
    given = 0

    async def source() -> str:
        nonlocal given
        given += 1
        await asyncio.sleep(0.01)
        return f"t{given}"

    def script(asked: Asked) -> list[bytes]:
        if asked.headers["authorization"] == "Bearer t1":
            return [refused(401, "invalid_token")]
        return [CLOSED, *FRAMES]

    async def one(client: AsyncTellstream) -> str:
        async with client.stream("Hello") as stream:
            return (await stream.collect()).text

    with Scripted(script) as server:
        async with AsyncTellstream(server.url, source, 1, policy=FAST) as client:
            texts = await asyncio.gather(*(one(client) for _ in range(20)))
    assert texts == ["Hello"] * 20
    assert given == 2


async def test_cancelled_readers_leave_no_connection_behind() -> None:
    with Scripted([CLOSED, FRAMES[0], Hold()]) as server:
        async with AsyncTellstream(server.url, "t", 1, policy=FAST) as client:

            async def reader(delay: float) -> None:
                async with asyncio.timeout(delay), client.stream("Hello") as stream:
                    await stream.collect()

            results = await asyncio.gather(
                *(reader(0.002 * n) for n in range(50)), return_exceptions=True
            )
            assert {type(result) for result in results} == {TimeoutError}
            pool = client._http._transport._pool  # type: ignore[attr-defined]
            assert pool.connections == []
