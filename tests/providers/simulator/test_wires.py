"""One script, five wires, over real sockets: the same answer, the same counts, the same faults."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from providers.simulator import wire_clients as client
from providers.simulator.wire_clients import NAMES, Answer
from tellstream.providers.simulator import Simulator
from tellstream.providers.simulator.answer import Piece, Turn, pieces
from tellstream.providers.simulator.delivery import deliver
from tellstream.providers.simulator.keys import SCRIPT_KEYS, Fault
from tellstream.providers.simulator.script import Script, ScriptError, parse_model
from tellstream.providers.simulator.wire import HUGE_BYTES, Frame
from tellstream.providers.simulator.wires import IMPOSSIBLE, WIRES, check

NEW = NAMES[1:]


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


class Seen:
    """A response, byte by byte."""

    def __init__(self, head: bytes, pieces: list[bytes], end: str) -> None:
        line, _, self.head = head.partition(b"\r\n")
        self.status = int(line.split()[1])
        self.pieces, self.end = pieces, end
        self.body = b"".join(pieces)

    def json(self) -> Any:
        return json.loads(self.body)


async def ask(sim: Simulator, wire: str, model: str, **options: Any) -> Seen:
    body = options.pop("body", None) or client.body_of(wire, model, **options)
    path = client.path_of(wire, model, stream=options.get("stream", True))
    raw = json.dumps(body).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sim.url.rpartition(":")[2]))
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\n".encode())
    writer.write(b"Content-Length: %d\r\n\r\n" % len(raw) + raw)
    try:
        return await _read(reader)
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> Seen:
    head = await reader.readuntil(b"\r\n\r\n")
    if b"content-length: " in head:
        size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return Seen(head, [await reader.readexactly(size)], "end")
    pieces: list[bytes] = []
    try:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            pieces.append((await reader.readexactly(size + 2))[:-2])
        await reader.readexactly(2)
    except asyncio.IncompleteReadError:
        return Seen(head, pieces, "eof")
    except ConnectionResetError:
        return Seen(head, pieces, "reset")
    return Seen(head, pieces, "end")


async def answered(sim: Simulator, wire: str, model: str, **options: Any) -> Answer:
    seen = await ask(sim, wire, model, **options)
    assert (seen.status, seen.end) == (200, "end")
    return client.read_stream(wire, seen.body)


# The same answer everywhere.


@pytest.mark.parametrize("wire", NAMES)
async def test_a_client_reads_what_the_script_says(sim: Simulator, wire: str) -> None:
    answer = await answered(sim, wire, "sim:think=3,words=4,tools=2", tools=True)
    call = ("weather", {"city": "simulated", "days": 1})
    assert answer[:4] == ("A stream is a", "Let me see", [call, call], "tool_calls")
    assert answer.done


@pytest.mark.parametrize("wire", NAMES)
async def test_a_client_counts_the_same_on_every_wire(sim: Simulator, wire: str) -> None:
    answer = await answered(sim, wire, "sim:think=3,words=4,tools=2", tools=True)
    record = sim.requests()[0]
    assert (record.prompt_tokens, record.completion_tokens) == (4, 17)
    assert answer.usage is not None
    # What a wire has no word for is not said; nothing else differs.
    assert all(
        said in (None, meant) for said, meant in zip(answer.usage, (4, 17, 0, 0, 3), strict=True)
    )
    assert None not in answer.usage[:2]
    assert answer.usage[4] == (None if wire == "ollama" else 3)


@pytest.mark.parametrize("wire", NAMES)
async def test_text_echo_and_seed(sim: Simulator, wire: str) -> None:
    assert (await answered(sim, wire, "sim:text=a%2C%20%C3%A9%2F%25%0Ab")).text == "a, é/%\nb"
    assert (await answered(sim, wire, "sim:echo=1")).text == client.QUESTION
    assert (await answered(sim, wire, "sim:words=2,seed=2")).text == "is a"
    assert (await answered(sim, wire, "sim:mark=x,words=2")).text == "x1 x2"


@pytest.mark.parametrize("wire", NAMES)
async def test_times_are_stamped_as_they_are_written(sim: Simulator, wire: str) -> None:
    answer = await answered(sim, wire, "sim:stamp=1,words=3,delay_ms=2")
    stamps = [int(word) for word in answer.text.split()]
    assert stamps == sorted(stamps)
    assert 0 <= time.monotonic_ns() // 1_000 - stamps[0] < 60_000_000


@pytest.mark.parametrize("wire", NAMES)
@pytest.mark.parametrize("finish", ["stop", "length", "content_filter", "none"])
async def test_the_finish_reason_is_the_scripts(sim: Simulator, wire: str, finish: str) -> None:
    model = f"sim:words=1,finish={finish}"
    if (wire, "finish", finish) in IMPOSSIBLE:
        assert (await ask(sim, wire, model)).status == 400
        return
    answer = await answered(sim, wire, model)
    assert answer.finish == (None if finish == "none" else finish)
    assert answer.done


@pytest.mark.parametrize("wire", NAMES)
async def test_nothing_proves_an_end_without_finish_and_marker(sim: Simulator, wire: str) -> None:
    answer = await answered(sim, wire, "sim:words=2,finish=none,done=0")
    assert (answer.text, answer.finish) == ("A stream", None)
    assert answer.done is (wire == "gemini")


@pytest.mark.parametrize("wire", NAMES)
async def test_the_terminal_marker_can_be_left_out(sim: Simulator, wire: str) -> None:
    answer = await answered(sim, wire, "sim:words=2,done=0")
    one_frame = wire in {"openai-responses", "ollama"}
    assert answer.finish == (None if one_frame else "stop")
    assert answer.done is (wire == "gemini")


@pytest.mark.parametrize("wire", NAMES)
@pytest.mark.parametrize("usage", ["asked", "end", "finish", "none"])
async def test_usage_is_there_unless_the_script_leaves_it_out(
    sim: Simulator, wire: str, usage: str
) -> None:
    answer = await answered(sim, wire, f"sim:words=2,usage={usage}")
    assert answer.usage is None if usage == "none" else answer.usage and answer.usage[:2] == (4, 2)


@pytest.mark.parametrize("wire", [name for name in NAMES if name != "ollama"])
async def test_a_refusal_is_said_in_the_wires_way(sim: Simulator, wire: str) -> None:
    answer = await answered(sim, wire, "sim:refusal=1,text=No.")
    assert answer.text == "No."
    assert answer.finish == ("stop" if wire == "openai-chat" else "content_filter")


@pytest.mark.parametrize("wire", NAMES)
async def test_a_tool_result_is_answered_with_text(sim: Simulator, wire: str) -> None:
    model = "sim-tools"
    body = client.after_tool(wire, model, "it is noon")
    answer = await answered(sim, wire, model, body=body)
    assert "> it is noon\n" in answer.text
    assert answer.finish == "stop"
    assert answer.usage is not None
    assert answer.usage[0] == 7


@pytest.mark.parametrize("wire", NAMES)
async def test_the_same_request_gets_the_same_bytes(sim: Simulator, wire: str) -> None:
    model = "sim:think=2,words=3,tools=2,seed=7"
    first = await ask(sim, wire, model, tools=True)
    again = await ask(sim, wire, model, tools=True)
    assert (first.head, first.pieces) == (again.head, again.pieces)
    assert (await ask(sim, wire, model)).body != first.body


@pytest.mark.parametrize("wire", NAMES)
async def test_every_frame_is_one_piece_and_one_count(sim: Simulator, wire: str) -> None:
    seen = await ask(sim, wire, "sim:think=2,words=2,tools=2", tools=True)
    assert len(seen.pieces) == sim.requests()[0].frames_sent
    assert all(piece.endswith(b"\n") for piece in seen.pieces)


@pytest.mark.parametrize("wire", NAMES)
async def test_without_stream_there_is_one_object(sim: Simulator, wire: str) -> None:
    seen = await ask(sim, wire, "sim:think=1,text=a%20b,tools=1", stream=False, tools=True)
    assert b"content-type: application/json" in seen.head
    assert len(seen.pieces) == 1
    assert b"a b" in seen.body
    assert b"weather" in seen.body
    assert seen.json()
    assert sim.requests()[0].completion_tokens == 8


# The same faults everywhere.

FRAME_SIGNS = {
    Fault.GARBLE: b'"gar\n',
    Fault.BADUTF8: b"\xff\xfe\x80",
    Fault.HUGEEVENT: b"x" * HUGE_BYTES,
}


@pytest.mark.parametrize("wire", NAMES)
@pytest.mark.parametrize("fault", FRAME_SIGNS)
async def test_a_broken_frame_between_good_ones(sim: Simulator, wire: str, fault: Fault) -> None:
    seen = await ask(sim, wire, f"sim:words=3,fault={fault},at=2")
    assert seen.end == "end"
    assert FRAME_SIGNS[fault] in seen.pieces[2].replace(b"\r\n", b"\n")
    rest = b"".join(seen.pieces[:2] + seen.pieces[3:])
    assert client.read_stream(wire, rest).text == "A stream is"
    assert sim.requests()[0].state == "complete"


ERRORS = {
    "openai-chat": b'data: {"error":{"message":',
    "openai-responses": b'event: error\ndata: {"type":"error","error":{',
    "anthropic-messages": b'event: error\ndata: {"type":"error","error":{"details":null,"type":',
    "gemini": b'data: {"error":{"code":529,"message":',
    "ollama": b'{"error":"',
}


@pytest.mark.parametrize("wire", NAMES)
async def test_an_error_frame_is_the_last_one(sim: Simulator, wire: str) -> None:
    seen = await ask(sim, wire, "sim:words=3,fault=error,at=2,code=overloaded")
    assert len(seen.pieces) == 3
    assert seen.pieces[2].startswith(ERRORS[wire])
    assert seen.end == "end"
    assert sim.requests()[0].state == "faulted"


@pytest.mark.parametrize("wire", ["openai-chat", "anthropic-messages", "gemini"])
async def test_an_error_may_follow_the_finish(sim: Simulator, wire: str) -> None:
    seen = await ask(sim, wire, "sim:words=1,fault=errorafter,code=overloaded")
    assert seen.pieces[-1].startswith(ERRORS[wire])
    assert client.read_stream(wire, b"".join(seen.pieces[:-1])).finish == "stop"


FINISHES = {
    "openai-chat": b'"finish_reason":"stop"',
    "openai-responses": b"event: response.completed\n",
    "anthropic-messages": b"event: message_delta\n",
    "gemini": b'"finishReason":"STOP"',
    "ollama": b'"done":true,"done_reason":"stop"',
}


@pytest.mark.parametrize("wire", NAMES)
async def test_a_finish_may_be_said_twice(sim: Simulator, wire: str) -> None:
    seen = await ask(sim, wire, "sim:words=1,fault=dupfinish")
    assert seen.body.count(FINISHES[wire]) == 2
    assert client.read_stream(wire, seen.body).text == "A"


@pytest.mark.parametrize("wire", ["openai-chat", "anthropic-messages", "gemini"])
async def test_words_may_follow_the_finish(sim: Simulator, wire: str) -> None:
    seen = await ask(sim, wire, "sim:words=1,fault=afterfinish")
    before, _, after = seen.body.partition(FINISHES[wire])
    assert b"too late" not in before
    assert b"too late" in after
    answer = client.read_stream(wire, seen.body)
    assert (answer.text, answer.finish, answer.done) == ("A (too late)", "stop", True)


@pytest.mark.parametrize("wire", [name for name in NAMES if name != "gemini"])
async def test_words_may_follow_the_marker(sim: Simulator, wire: str) -> None:
    seen = await ask(sim, wire, "sim:words=1,fault=afterdone")
    assert b"too late" in seen.pieces[-1]
    assert client.read_stream(wire, seen.body).text == "A"


@pytest.mark.parametrize("wire", NEW)
@pytest.mark.parametrize("fault", ["reset", "eof", "end"])
async def test_a_cut_at_a_frame_and_at_a_byte(sim: Simulator, wire: str, fault: str) -> None:
    seen = await ask(sim, wire, f"sim:words=5,fault={fault},at=3")
    assert (len(seen.pieces), seen.end) == (3, fault)
    seen = await ask(sim, wire, f"sim:words=5,fault={fault},byte=333")
    assert (len(seen.body), seen.end) == (333, fault)


@pytest.mark.parametrize("wire", NEW)
async def test_a_stall_and_an_endless_answer_go_on_until_the_client_leaves(
    sim: Simulator, wire: str
) -> None:
    for model in ("sim:words=3,fault=stall,at=2", "sim:fault=endless,delay_ms=1"):
        sim.reset()
        asking = asyncio.create_task(ask(sim, wire, model))
        async with asyncio.timeout(10):
            while not sim.requests() or sim.requests()[0].frames_sent < 2:  # noqa: ASYNC110 - the server runs in this loop
                await asyncio.sleep(0.001)
        assert sim.requests()[0].state == "running"
        asking.cancel()
        await asyncio.wait([asking])
        await sim.idle()
        assert sim.requests()[0].state == "client_closed"


@pytest.mark.parametrize("wire", NEW)
async def test_bytes_are_packed_and_divided_as_the_script_says(sim: Simulator, wire: str) -> None:
    packed = await ask(sim, wire, "sim:words=2,gzip=1")
    assert client.read_stream(wire, gzip.decompress(packed.body)).text == "A stream"
    for options in ("chunk=7", "together=1", "drip=1", "drip=1,chunk=3"):
        seen = await ask(sim, wire, f"sim:words=2,{options}")
        assert client.read_stream(wire, seen.body).text == "A stream"
        assert (len(seen.pieces) == 1) is (options == "together=1")


KEEP_ALIVES = {
    "openai-chat": b": keep-alive\n\n",
    "openai-responses": b": keep-alive\n\n",
    "anthropic-messages": b'event: ping\ndata: {"type": "ping"}\n\n',
    "gemini": b": keep-alive\r\n\r\n",
}


@pytest.mark.parametrize("wire", NAMES)
async def test_pings_have_the_wires_form_or_none(sim: Simulator, wire: str) -> None:
    seen = await ask(sim, wire, "sim:words=1,first_ms=20,pings=1,ping_ms=4")
    assert seen.body.count(KEEP_ALIVES.get(wire, b"\n\n")) == (0 if wire == "ollama" else 4)
    assert client.read_stream(wire, seen.body).text == "A"


WIRE_ENDS = {wire.name: end for end, wire in WIRES.items()}


def _said(model: str) -> tuple[Script, Turn, Iterator[Piece]]:
    script, turn = parse_model(model), Turn(model=model, digest="d")
    return script, turn, pieces(script, turn)


OPENING_FRAMES = {"openai-chat": 1, "openai-responses": 4, "anthropic-messages": 2}


@pytest.mark.parametrize("wire", NAMES)
async def test_the_first_word_leaves_with_all_that_opens_it(sim: Simulator, wire: str) -> None:
    at = OPENING_FRAMES.get(wire, 0) + 1
    seen = await ask(sim, wire, f"sim:mark=w,words=2,fault=end,at={at}")
    assert b"w1" in seen.pieces[-1]
    frames = WIRES[WIRE_ENDS[wire]].frames(*_said("sim:words=3"))
    script = parse_model("sim:first_ms=20,delay_ms=60000,words=3")
    said = list(deliver(script, b"", frames, Frame(b""), b""))
    assert [round(step.at, 3) for step in said[1 : at + 2]] == [0.02] * at + [60.02]


@pytest.mark.parametrize("wire", NAMES)
async def test_responses_instead_of_an_answer(sim: Simulator, wire: str) -> None:
    assert b"text/html" in (await ask(sim, wire, "sim:body=html")).head
    assert (await ask(sim, wire, "sim:body=json")).json() == {
        "detail": "This object is not the answer."
    }
    redirected = await ask(sim, wire, "sim:redirect=1")
    assert redirected.status == 307
    assert b"redirected=1" in redirected.head
    late = await ask(sim, wire, "sim:status=429,retry_after=date:3")
    assert b"retry-after: " in late.head
    assert b" GMT" in late.head


@pytest.mark.parametrize("wire", NAMES)
@pytest.mark.parametrize("model", ["gpt-5", "sim:words=many"])
async def test_an_unknown_script_is_refused_in_the_wires_shape(
    sim: Simulator, wire: str, model: str
) -> None:
    seen = await ask(sim, wire, model)
    assert seen.status == (404 if model == "gpt-5" else 400)
    assert seen.json()["error"]
    assert sim.requests()[0].model == model


@pytest.mark.parametrize("wire", NAMES)
async def test_errors_of_every_code_have_a_body(sim: Simulator, wire: str) -> None:
    for status in (400, 401, 402, 403, 404, 408, 413, 429, 498, 500, 502, 503, 504, 529):
        seen = await ask(sim, wire, f"sim:status={status}")
        assert seen.status == status
        error = seen.json()["error"]
        assert error if wire == "ollama" else error["message"]


# What a wire has no way to say.


@pytest.mark.parametrize(("name", "key", "value"), IMPOSSIBLE)
async def test_what_cannot_be_said_is_refused_with_the_reason(
    sim: Simulator, name: str, key: str, value: str
) -> None:
    seen = await ask(sim, name, f"sim:words=1,{key}={value}")
    assert seen.status == 400
    assert IMPOSSIBLE[name, key, value] in seen.body.decode()
    assert key in seen.body.decode()
    assert sim.requests()[0].state == "faulted"


def test_every_other_fault_can_be_said_on_every_wire() -> None:
    for wire in WIRES.values():
        for fault in Fault:
            script = parse_model(f"sim:fault={fault}")
            if (wire.name, "fault", fault.value) in IMPOSSIBLE:
                with pytest.raises(ScriptError):
                    check(wire, script)
            else:
                check(wire, script)


def test_the_tables_name_wires_and_keys_that_exist() -> None:
    assert {wire.name for wire in WIRES.values()} == set(NAMES)
    for name, key, _ in IMPOSSIBLE:
        assert name in NAMES
        assert key in SCRIPT_KEYS


@pytest.mark.parametrize("wire", NAMES)
async def test_a_flapping_target_fails_every_so_many_times(sim: Simulator, wire: str) -> None:
    model = "sim:words=1,flap=3"
    statuses = [(await ask(sim, wire, model)).status for _ in range(7)]
    assert statuses == [200, 200, 503, 200, 200, 503, 200]
