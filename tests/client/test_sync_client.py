"""What only the blocking client promises: plain threads, no asyncio; and that it is the same."""

import inspect
import threading

import pytest

from client.readers import FAST
from client.scripted import CLOSED, Asked, Hold, Scripted, answer, frames_of, story
from tellstream.client import AsyncStream, AsyncTellstream, Stream, Tellstream

EVENTS = story(*(f"{n} " for n in range(20)))
FRAMES = frames_of(EVENTS)
STATE = {"id": "s", "state": "running", "model": "m", "provider": "p", "created_at": 1}


@pytest.mark.parametrize(("one", "other"), [(AsyncTellstream, Tellstream), (AsyncStream, Stream)])
def test_both_clients_have_the_same_surface(one: type, other: type) -> None:
    def surface(client: type) -> dict[str, list[str]]:
        return {
            name.replace("aclose", "close"): list(inspect.signature(value).parameters)
            for name, value in inspect.getmembers(client, callable)
            if not name.startswith("_")
        }

    assert surface(one) == surface(other)
    assert list(inspect.signature(one).parameters) == list(inspect.signature(other).parameters)


def test_threads_share_a_client_and_each_gets_its_whole_stream() -> None:
    def script(asked: Asked) -> list[bytes]:
        return [CLOSED, b"".join(FRAMES[asked.after :])[: 700 + 13 * (asked.after % 7)]]

    texts: list[str] = []

    with Scripted(script) as server, Tellstream(server.url, "t", 1, policy=FAST) as client:

        def reader() -> None:
            with client.stream("Hello") as stream:
                texts.append(stream.collect().text)

        threads = [threading.Thread(target=reader) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert texts == ["".join(f"{n} " for n in range(20))] * 8


def test_another_thread_may_cancel_the_stream_that_is_being_read() -> None:
    cancelled = threading.Event()

    def script(asked: Asked) -> list[bytes]:
        if asked.path.endswith("/cancel"):
            cancelled.set()
            return [answer(202, {"data": STATE})]
        assert asked.method == "POST" or cancelled.wait(10)
        return [CLOSED, *(FRAMES[:1] if asked.method == "POST" else FRAMES[asked.after :])]

    with (
        Scripted(script) as server,
        Tellstream(server.url, "t", 1, policy=FAST) as client,
        client.stream("Hello") as stream,
    ):
        assert next(iter(stream)) == EVENTS[0]
        other = threading.Thread(target=stream.cancel)
        other.start()
        assert list(stream) == EVENTS[1:]
        other.join()


def test_leaving_the_block_closes_the_connection_and_ends_the_reading() -> None:
    with (
        Scripted([CLOSED, FRAMES[0], Hold()]) as server,
        Tellstream(server.url, "t", 1, policy=FAST) as client,
    ):
        with client.stream("Hello") as stream:
            assert next(iter(stream)) == EVENTS[0]
        assert server.left.wait(10)
        with pytest.raises(RuntimeError):
            next(iter(stream))
        with pytest.raises(RuntimeError), stream:
            pass
    assert stream.position == 1
