"""The simulator over real sockets: what a client sees of each script, and what the journal says."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
import uvloop

from tellstream.providers.simulator import Record, Simulator, serve_forever
from tellstream.providers.simulator.request import MAX_BODY_BYTES
from tellstream.providers.simulator.script import ALIASES

PATH = "/v1/chat/completions"
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator
    assert simulator.stats()["open_connections"] == 0


@pytest.fixture
async def http(sim: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(sim.url) as session:
        yield session


def payload(model: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "two words"}]
    return {"model": model, "stream": True, "messages": messages} | fields


def raw_request(model: str, *, path: str = PATH, **fields: Any) -> bytes:
    body = json.dumps(payload(model, **fields)).encode()
    return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (
        path.encode(),
        len(body),
        body,
    )


class Raw:
    """A client that sees every byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def ask(cls, sim: Simulator, data: bytes) -> "Raw":
        port = int(sim.url.rpartition(":")[2])
        raw = cls(*await asyncio.open_connection("127.0.0.1", port))
        raw.writer.write(data)
        return raw

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def pieces(self) -> tuple[list[bytes], str]:
        """Read HTTP chunks until the body ends: well ("end"), by FIN ("eof") or RST ("reset")."""
        pieces: list[bytes] = []
        try:
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                pieces.append((await self.reader.readexactly(size + 2))[:-2])
            await self.reader.readexactly(2)
        except asyncio.IncompleteReadError:
            return pieces, "eof"
        except ConnectionResetError:
            return pieces, "reset"
        return pieces, "end"

    async def leave(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def body_of(sim: Simulator, model: str, **fields: Any) -> tuple[list[bytes], str]:
    raw = await Raw.ask(sim, raw_request(model, **fields))
    assert (await raw.head()).startswith(b"HTTP/1.1 200 OK")
    pieces, end = await raw.pieces()
    raw.writer.close()
    await sim.idle()
    return pieces, end


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the server runs in this loop
            await asyncio.sleep(0)


def newest(sim: Simulator) -> Record:
    return sim.requests()[0]


# Answers.


async def test_a_stream_is_answered_and_booked(sim: Simulator, http: aiohttp.ClientSession) -> None:
    async with http.post(PATH, json=payload("sim:words=3,usage=end")) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        text = await response.text()
    events = text.removesuffix("\n\n").split("\n\n")
    assert len(events) == 7
    assert events[-1] == "data: [DONE]"
    usage = json.loads(events[-2][6:])["usage"]
    record = newest(sim)
    assert (record.state, record.frames_sent, record.model) == (
        "complete",
        7,
        "sim:words=3,usage=end",
    )
    assert record.prompt_tokens == usage["prompt_tokens"] == 2
    assert record.completion_tokens == usage["completion_tokens"] == 3
    assert sim.stats() == {
        "requests": 1,
        "running": 0,
        "complete": 1,
        "client_closed": 0,
        "faulted": 0,
        "prompt_tokens": 2,
        "completion_tokens": 3,
        "open_connections": 1,
    }


@pytest.mark.parametrize(
    "path", [PATH, "/chat/completions", "/openai/deployments/x/chat/completions?v=1"]
)
async def test_the_end_of_the_path_decides(sim: Simulator, path: str) -> None:
    raw = await Raw.ask(sim, raw_request("sim:words=1", path=path))
    assert b" 200 " in await raw.head()
    assert (await raw.pieces())[1] == "end"
    assert newest(sim).path == path
    await raw.leave()


async def test_without_stream_the_answer_is_one_object(http: aiohttp.ClientSession) -> None:
    async with http.post(PATH, json=payload("sim:echo=1", stream=False)) as response:
        assert response.content_type == "application/json"
        body = await response.json()
    assert body["choices"][0]["message"]["content"] == "two words"
    assert body["usage"]["total_tokens"] == 4


async def test_models_are_listed(http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/models") as response:
        listed = await response.json()
    assert [model["id"] for model in listed["data"]] == list(ALIASES)


async def test_requests_of_one_connection_are_served_in_turn_with_the_same_bytes(
    sim: Simulator,
) -> None:
    raw = await Raw.ask(sim, raw_request("sim:words=2") * 2)  # the second one before its turn
    first = await raw.head(), await raw.pieces()
    second = await raw.head(), await raw.pieces()
    raw.writer.write(raw_request("sim:words=2"))
    third = await raw.head(), await raw.pieces()
    assert first == second == third
    assert sim.stats()["open_connections"] == 1
    await raw.leave()


async def test_a_client_that_asks_for_it_is_closed_after_the_answer(sim: Simulator) -> None:
    request = raw_request("sim:words=1").replace(b"Host: x", b"Host: x\r\nConnection: close")
    raw = await Raw.ask(sim, request)
    assert (await raw.reader.read()).endswith(b"0\r\n\r\n")
    await raw.leave()


async def test_a_client_may_wait_for_permission_to_send_its_body(sim: Simulator) -> None:
    head, _, body = raw_request("sim:words=1").partition(b"\r\n\r\n")
    raw = await Raw.ask(sim, head + b"\r\nExpect: 100-continue\r\n\r\n")
    assert await raw.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    raw.writer.write(body)
    assert b" 200 OK" in await raw.head()
    await raw.leave()


# Faults, each seen on the wire.


@pytest.mark.parametrize("at", [0, 1, 3])
@pytest.mark.parametrize("fault", ["reset", "eof", "end"])
async def test_a_cut_at_a_frame(sim: Simulator, fault: str, at: int) -> None:
    pieces, end = await body_of(sim, f"sim:words=5,fault={fault},at={at}")
    assert (len(pieces), end) == (at, fault)
    assert (newest(sim).state, newest(sim).frames_sent) == ("faulted", at)
    assert newest(sim).completion_tokens == max(0, at - 1)


@pytest.mark.parametrize("fault", ["reset", "eof", "end"])
async def test_a_cut_at_a_byte(sim: Simulator, fault: str) -> None:
    whole = b"".join((await body_of(sim, "sim:words=2"))[0])
    name = f"sim:words=2,fault={fault},byte=700"
    pieces, end = await body_of(sim, name)
    assert (len(b"".join(pieces)), end) == (700, fault)
    assert len(whole) > 700
    assert newest(sim).state == "faulted"


@pytest.mark.parametrize("fault", ["reset", "eof"])
async def test_a_cut_before_the_head(sim: Simulator, fault: str) -> None:
    raw = await Raw.ask(sim, raw_request(f"sim:fault={fault},at=-1"))
    if fault == "eof":
        assert await raw.reader.read() == b""
    else:
        with pytest.raises(ConnectionResetError):
            await raw.reader.read()
    assert (newest(sim).state, newest(sim).prompt_tokens) == ("faulted", 0)
    raw.writer.close()


@pytest.mark.parametrize(("where", "count"), [("at=2", 2), ("at=0", 0), ("byte=10", 1)])
async def test_a_stall_is_silent_until_the_client_leaves(
    sim: Simulator, where: str, count: int
) -> None:
    raw = await Raw.ask(sim, raw_request(f"sim:words=5,fault=stall,{where}"))
    await raw.head()
    for _ in range(count):
        size = int(await raw.reader.readuntil(b"\r\n"), 16)
        await raw.reader.readexactly(size + 2)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await raw.reader.read(1)
    assert newest(sim).state == "running"
    await raw.leave()
    await sim.idle()
    assert newest(sim).state == "client_closed"


async def test_a_stall_may_be_before_the_head(sim: Simulator) -> None:
    raw = await Raw.ask(sim, raw_request("sim:fault=stall,at=-1"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await raw.reader.read(1)
    await raw.leave()


@pytest.mark.parametrize(
    ("fault", "at", "sign"),
    [
        ("garble", 2, b'"content":"gar\n\n'),
        ("badutf8", 2, b"\xff\xfe\x80"),
        ("hugeevent", 2, b"x" * (2 << 20)),
        ("error", 2, b'data: {"error":{'),
    ],
)
async def test_an_extra_frame(sim: Simulator, fault: str, at: int, sign: bytes) -> None:
    pieces, end = await body_of(sim, f"sim:words=3,fault={fault},at={at}")
    assert sign in pieces[at]
    assert end == "end"
    assert (pieces[-1] == b"data: [DONE]\n\n") is (fault != "error")
    assert newest(sim).state == ("faulted" if fault == "error" else "complete")
    assert newest(sim).completion_tokens == (1 if fault == "error" else 3)


@pytest.mark.parametrize(
    ("fault", "index", "sign", "state"),
    [
        ("errorafter", -1, b'data: {"error":{', "faulted"),
        ("dupfinish", -2, b'"finish_reason":"stop"', "complete"),
        ("afterfinish", -2, b"too late", "complete"),
        ("afterdone", -1, b"too late", "complete"),
    ],
)
async def test_a_fault_of_the_ending(
    sim: Simulator, fault: str, index: int, sign: bytes, state: str
) -> None:
    pieces, end = await body_of(sim, f"sim:words=1,fault={fault}")
    assert sign in pieces[index]
    assert any(b'"finish_reason":"stop"' in piece for piece in pieces[:index])
    assert end == "end"
    assert newest(sim).state == state


@pytest.mark.parametrize(
    ("options", "missing"),
    [("done=0", b"[DONE]"), ("finish=none", b'"stop"'), ("usage=none", b'"prompt_tokens"')],
)
async def test_what_is_left_out(sim: Simulator, options: str, missing: bytes) -> None:
    asked = {"stream_options": {"include_usage": True}}
    assert missing in b"".join((await body_of(sim, "sim:words=1", **asked))[0])
    pieces, end = await body_of(sim, f"sim:words=1,{options}", **asked)
    assert missing not in b"".join(pieces)
    assert end == "end"


async def test_an_endless_stream_is_stopped_by_the_client(sim: Simulator) -> None:
    raw = await Raw.ask(sim, raw_request("sim:fault=endless"))
    await raw.reader.readexactly(1 << 20)
    assert newest(sim).state == "running"
    await raw.leave()
    await sim.idle()
    assert newest(sim).state == "client_closed"
    assert newest(sim).completion_tokens > 1_000


async def test_pieces_ignore_frames(sim: Simulator) -> None:
    model = "sim:words=2,chunk=7"
    pieces, end = await body_of(sim, model)
    assert {len(piece) for piece in pieces[:-1]} == {7}
    assert end == "end"
    assert b"".join(pieces).endswith(b"data: [DONE]\n\n")


async def test_together_is_one_piece(sim: Simulator) -> None:
    pieces, end = await body_of(sim, "sim:words=9,together=1")
    assert (len(pieces), end) == (1, "end")
    assert newest(sim).frames_sent == 12


async def test_pings_fill_the_waiting(sim: Simulator) -> None:
    pieces, _ = await body_of(sim, "sim:words=1,first_ms=20,pings=1,ping_ms=4")
    assert pieces[:4] == [b": keep-alive\n\n"] * 4
    assert b"role" in pieces[4]
    assert newest(sim).frames_sent == 4


async def test_a_drip_is_one_byte_at_a_time(sim: Simulator) -> None:
    pieces, end = await body_of(sim, "sim:words=1,drip=1,delay_ms=0.01")
    assert {len(piece) for piece in pieces} == {1}
    assert end == "end"


async def test_gzip_is_said_and_done(sim: Simulator) -> None:
    raw = await Raw.ask(sim, raw_request("sim:words=2,gzip=1"))
    assert b"\r\ncontent-encoding: gzip\r\n" in await raw.head()
    pieces, _ = await raw.pieces()
    assert gzip.decompress(b"".join(pieces)).endswith(b"data: [DONE]\n\n")
    await raw.leave()


async def test_a_redirect_can_be_seen_to_be_followed(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    async with http.post(PATH, json=payload("sim:redirect=1"), allow_redirects=False) as response:
        assert response.status == 307
    async with http.post(PATH, json=payload("sim:redirect=1,words=1")) as response:
        assert response.status == 200
        await response.read()
    assert [record.path for record in sim.requests()] == [PATH + "?redirected=1", PATH, PATH]


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("sim:status=401", 401, "invalid_api_key"),
        ("sim:status=500", 500, "server_error"),
        ("sim:status=400,code=context_length_exceeded", 400, "context_length_exceeded"),
        ("sim-busy", 429, "rate_limit_exceeded"),
        ("gpt-5", 404, "model_not_found"),
        ("sim:words=many", 400, "invalid_script"),
    ],
)
async def test_http_errors(
    sim: Simulator, http: aiohttp.ClientSession, model: str, status: int, code: str
) -> None:
    async with http.post(PATH, json=payload(model)) as response:
        assert response.status == status
        error = (await response.json())["error"]
        if model == "sim-busy":
            assert response.headers["Retry-After"] == "2"
    assert error["code"] == code
    if code == "invalid_script":
        assert "words" in error["message"]
    assert (newest(sim).state, newest(sim).model) == ("faulted", model)
    assert sim.stats()["prompt_tokens"] == 0


@pytest.mark.parametrize("kind", ["html", "json"])
async def test_the_wrong_kind_of_body(http: aiohttp.ClientSession, kind: str) -> None:
    async with http.post(PATH, json=payload(f"sim:body={kind}")) as response:
        assert response.status == 200
        assert kind in response.content_type
        assert "data:" not in await response.text()


async def test_a_name_fails_so_many_times_in_each_simulator(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    async def statuses(session: aiohttp.ClientSession) -> list[int]:
        seen = []
        for _ in range(4):
            async with session.post(
                PATH, json=payload("sim:status=503,times=2,words=1")
            ) as response:
                seen.append(response.status)
        return seen

    assert await statuses(http) == [503, 503, 200, 200]
    async with Simulator() as other, aiohttp.ClientSession(other.url) as session:
        assert await statuses(session) == [503, 503, 200, 200]
    sim.reset()
    assert await statuses(http) == [503, 503, 200, 200]


async def test_a_cut_heals_too(sim: Simulator) -> None:
    model = "sim:words=2,fault=reset,at=1,times=1"
    assert (await body_of(sim, model))[1] == "reset"
    assert (await body_of(sim, model))[1] == "end"


# Pace, leaving and backpressure.


async def test_a_paced_stream_arrives_bit_by_bit(sim: Simulator) -> None:
    raw = await Raw.ask(sim, raw_request("sim:words=3,delay_ms=5"))
    reads: list[bytes] = []
    while not b"".join(reads).endswith(b"0\r\n\r\n"):
        reads.append(await raw.reader.read(1 << 16))
    assert len(reads) > 2  # exactly: test_playback.py
    await raw.leave()


@pytest.mark.parametrize("options", ["delay_ms=60000", "first_ms=60000", "head_ms=60000"])
async def test_a_leaving_client_is_noticed_while_waiting(sim: Simulator, options: str) -> None:
    raw = await Raw.ask(sim, raw_request(f"sim:words=9,{options}"))
    await until(lambda: sim.stats()["running"] == 1)
    await raw.leave()
    await sim.idle()
    assert newest(sim).state == "client_closed"
    assert newest(sim).ended_after_ms is not None
    await until(lambda: sim.stats()["open_connections"] == 0)


async def test_a_client_that_only_shuts_down_its_side_has_left(sim: Simulator) -> None:
    raw = await Raw.ask(sim, raw_request("sim:fault=stall"))
    await raw.head()
    raw.writer.write_eof()
    await sim.idle()
    assert newest(sim).state == "client_closed"
    raw.writer.close()


async def test_a_client_that_does_not_read_stops_the_writing_and_nobody_else(
    sim: Simulator,
) -> None:
    deaf = await Raw.ask(sim, raw_request("sim:fault=endless"))
    deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a read transport too
    await until(lambda: sim.stats()["requests"] == 1)
    record = newest(sim)
    pieces, end = await body_of_other(sim)
    assert (len(pieces), end) == (203, "end")
    sent = -1
    while sent != record.frames_sent:  # until every buffer on the way is full
        sent = record.frames_sent
        await asyncio.sleep(0.01)
    assert record.state == "running"
    deaf.writer.transport.resume_reading()  # type: ignore[attr-defined]
    await deaf.reader.readexactly(1 << 20)
    await until(lambda: record.frames_sent > sent)
    await deaf.leave()
    await sim.idle()


async def body_of_other(sim: Simulator) -> tuple[list[bytes], str]:
    raw = await Raw.ask(sim, raw_request("sim:words=200"))
    await raw.head()
    seen = await raw.pieces()
    await raw.leave()
    return seen


# The journal, over HTTP.


async def test_the_journal_is_readable_and_resettable(
    sim: Simulator, http: aiohttp.ClientSession
) -> None:
    secret = {"Authorization": "Bearer secret-key", "X-Other": "shown"}
    async with http.post(PATH, json=payload("sim:words=1"), headers=secret) as response:
        await response.read()
    async with http.get("/_simulator/requests") as response:
        assert "secret-key" not in await response.text()
        (record,) = await response.json()
    assert (record["n"], record["model"], record["state"]) == (1, "sim:words=1", "complete")
    assert record["authorized"] is True
    assert record["headers"]["x-other"] == "shown"
    assert record["body"] == payload("sim:words=1")
    async with http.get("/_simulator/stats") as response:
        assert await response.json() == sim.stats()
    async with http.delete("/_simulator/requests") as response:
        assert response.status == 200
    assert sim.requests() == []
    assert sim.stats()["requests"] == 0


# What is not a request for an answer.


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/v1/other", 404), ("GET", "/", 404), ("GET", PATH, 405)],
)
async def test_other_paths_and_methods(
    sim: Simulator, http: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    async with http.request(method, path) as response:
        assert response.status == status
        assert (await response.json())["error"]["message"]
    assert sim.requests() == []


async def test_a_body_that_is_no_chat_request(sim: Simulator, http: aiohttp.ClientSession) -> None:
    async with http.post(PATH, data=b"{") as response:
        assert response.status == 400
    assert newest(sim).body is None


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.0\r\n\r\n", b"505"),
        (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), b"413"),
    ],
)
async def test_bytes_that_are_refused(sim: Simulator, data: bytes, status: bytes) -> None:
    raw = await Raw.ask(sim, data)
    answer = await raw.reader.read()
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close" in answer
    raw.writer.write(b"more")  # is dropped
    await raw.leave()


async def test_garbage_after_a_request_drops_the_connection(sim: Simulator) -> None:
    raw = await Raw.ask(sim, raw_request("sim:fault=stall"))
    await raw.head()
    raw.writer.write(b"nonsense\r\n\r\n")
    assert await raw.reader.read() == b""
    await sim.idle()
    raw.writer.close()


async def test_too_many_requests_ahead_of_their_turn_drop_the_connection(sim: Simulator) -> None:
    raw = await Raw.ask(sim, raw_request("sim:fault=stall") * 12)
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await raw.reader.readexactly(1 << 20)
    await until(lambda: sim.stats()["open_connections"] == 0)
    raw.writer.close()


@pytest.mark.parametrize("data", [b"", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_a_connection_without_a_complete_request_is_closed(data: bytes) -> None:
    async with Simulator(idle_seconds=0.02) as sim:
        raw = await Raw.ask(sim, data)
        assert await raw.reader.read() == b""
        await raw.leave()


async def test_a_connection_that_rests_after_an_answer_is_closed() -> None:
    async with Simulator(idle_seconds=0.02) as sim:
        raw = await Raw.ask(sim, raw_request("sim:words=1,first_ms=30"))
        assert (await raw.reader.read()).endswith(b"0\r\n\r\n")
        await raw.leave()


# Life.


async def test_leaving_the_simulator_drops_its_clients() -> None:
    async with Simulator() as sim:
        raw = await Raw.ask(sim, raw_request("sim:fault=stall"))
        await raw.head()
    assert await raw.reader.read() == b""
    assert newest(sim).state == "client_closed"
    raw.writer.close()


async def test_serve_forever_announces_where_and_stops_when_cancelled() -> None:
    announced: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve_forever("127.0.0.1", 0, announced.set_result))
    async with aiohttp.ClientSession(await announced) as session, session.get("/v1/models") as got:
        assert got.status == 200
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert Simulator("::1", 80).url == "http://[::1]:80"


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_both_event_loops_behave_alike(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def scenario() -> None:
        async with Simulator() as sim:
            assert (await body_of(sim, "sim:words=3,delay_ms=0.7"))[1] == "end"
            pieces, end = await body_of(sim, "sim:words=900,fault=reset,at=800")
            assert (len(pieces), end) == (800, "reset")
            assert (await body_of(sim, "sim:words=9,fault=eof,at=1"))[1] == "eof"
            raw = await Raw.ask(sim, raw_request("sim:fault=stall"))
            await raw.head()
            await raw.leave()
            await sim.idle()
            assert newest(sim).state == "client_closed"

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())
