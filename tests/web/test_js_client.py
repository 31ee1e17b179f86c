"""The JavaScript client keeps the rules of the Python client: the same tests, in Node."""

import asyncio
import base64
import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from client.proxy import cutting
from client.scripted import (
    CHUNKED,
    CLOSED,
    NO_CONTENT,
    STREAM_ID,
    Asked,
    Hold,
    Reset,
    Scripted,
    answer,
    chunk,
    frames_of,
    refused,
    story,
)
from support.server import Running, tellstream
from tellstream.client.backoff import Backoff
from tellstream.client.policy import MAX_FRAME_BYTES
from tellstream.core import events as ev
from tellstream.core.sse import SseDecoder
from tellstream.core.usage import FinishReason
from tellstream.providers.simulator import Simulator

NODE = shutil.which("node")
HERE = Path(__file__).parent
WEB = Path(ev.__file__).parents[1] / "server/web"
PAGE = HERE.parents[1] / "docs/howto/use-the-javascript-client.md"
FAST = {"base": 0.005, "cap": 0.02, "giveUp": 20, "start": 20}
FRAMES = frames_of(story("Hello", " wörld", "!"))
BODY = b"".join(FRAMES)
pytestmark = pytest.mark.skipif(NODE is None, reason="there is no Node on this machine")


async def do(what: str, **job: Any) -> Any:
    """Run a job in Node."""
    assert NODE is not None
    process = await asyncio.create_subprocess_exec(
        NODE, str(HERE / "read_stream.mjs"), str(WEB / "tellstream.js"),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, _ = await process.communicate(json.dumps({"do": what, **job}).encode())
    assert process.returncode == 0
    return json.loads(out)


async def read(url: str, *tokens: str, policy: Any = FAST, tenant: int = 1, **job: Any) -> Any:
    client = {"url": url, "tenant": tenant, "policy": policy}
    return await do("read", client=client, tokens=tokens or ("token",), prompt="x", **job)


def said(outcome: Any) -> str:
    return "".join(data["delta"] for kind, data in outcome["events"] if kind == "text_delta")


# --- decoding and waiting: the same as in Python -------------------------------------------------

BODIES = [
    BODY,
    BODY.replace(b"\n", b"\r\n"),
    BODY.replace(b"\n", b"\r"),
    b"\xef\xbb\xbf" + BODY,
    b": comment\n\n: keep-alive\n" + BODY,
    b"retry: 250\n\nretry: x\nretry: 12a\n" + BODY,
    b"data\n\ndata:\ndata:\n\ndata:  two\nevent:x\nid:7\n\nid\ndata:a\n\nevent: y\n\ndata: z\n\n",
    "id: é\ndata: \ud83d\ude00 \u2028 \u0085\n\nid: a\0b\ndata: c\n\n".encode(
        "utf-8", "surrogatepass"
    ),
    b"data: \xff\xfe\n\nunknown: x\ndata: 1\n\ndata: unfinished",
]


async def test_every_split_of_every_body_gives_what_python_gives() -> None:
    jobs: list[list[bytes]] = []
    expected: list[Any] = []
    for body in BODIES:
        decoder = SseDecoder(MAX_FRAME_BYTES)
        events = [
            {"event": e.event, "data": e.data.decode("utf-8", "replace"), "id": e.id}
            for e in decoder.feed(body)
        ]
        cuts = range(0, len(body), 1 + len(body) // 60)
        jobs += [[body[:cut], body[cut:]] for cut in cuts]
        jobs.append([body[n : n + 1] for n in range(len(body))])
        expected += [{"events": events, "retry": decoder.retry_ms}] * (len(jobs) - len(expected))
    pieces = [[base64.b64encode(piece).decode() for piece in job] for job in jobs]
    outcome = await do("decode", pieces=pieces)
    for job, got, wanted in zip(jobs, outcome["decoded"], expected, strict=True):
        assert got == wanted, job


async def test_waits_are_those_of_python() -> None:
    failures = [
        (0, 0.5, 0), (1, 1, 0), (2, 0.25, 0), (3, 0.9, 3), (4, 0.1, 0), (None, 0, 0), (50, 0.5, 0),
        (51, 0.5, 100), (52, 0.5, 0), (59, 0.999, 0), (61, 0.5, 0), (None, 0, 0), (62, 0, 10.1),
    ]  # fmt: skip
    policy = {"base": 0.25, "cap": 8}
    outcome = await do("backoff", policy=policy, budget=10, failures=failures)
    backoff = Backoff(base=0.25, cap=8, budget=10)
    for (now, chance, at_least), wait in zip(failures, outcome["waits"], strict=True):
        if now is None:
            backoff.progress()
        else:
            assert wait == backoff.wait(now, chance, at_least)


# --- one stream over many connections, scripted --------------------------------------------------


async def test_it_goes_on_behind_the_last_event_however_a_connection_ends() -> None:
    def rest(asked: Asked) -> Any:
        return (CLOSED, *FRAMES[asked.after :])

    ends: list[Any] = [
        (CLOSED, FRAMES[0], FRAMES[1][:9]),
        (CHUNKED, chunk(FRAMES[0] + FRAMES[1])),
        (CLOSED, *FRAMES[:3], Reset()),
    ]
    for end in ends:
        with Scripted(end, rest) as server:
            outcome = await read(server.url)
        assert outcome["error"] is None
        assert said(outcome) == "Hello wörld!"
        assert outcome["positions"] == list(range(1, len(FRAMES) + 1))
        first, second = server.asked
        assert first.headers["idempotency-key"] == outcome["key"]
        assert (second.method, second.path) == ("GET", f"/v1/streams/{STREAM_ID}/events")
        assert second.after >= 1
        assert second.headers["x-tenant"] == "1"


async def test_silence_counts_as_lost_and_keep_alives_do_not() -> None:
    quiet = [b": keep-alive\n"] * 3
    with Scripted((CLOSED, FRAMES[0], *quiet, Hold()), (CLOSED, *FRAMES)) as server:
        outcome = await read(server.url, policy={**FAST, "silence": 3.0})
    assert said(outcome) == "Hello wörld!"
    assert outcome["lost"] == 1


async def test_204_ends_and_404_and_410_are_final() -> None:
    after = {"after": len(FRAMES)}
    with Scripted((NO_CONTENT,)) as server:
        outcome = await read(server.url, streamId=STREAM_ID, options=after)
    assert (outcome["events"], outcome["error"]) == ([], None)
    # 204 in the middle: the end that was promised never came.
    with Scripted((CLOSED, *FRAMES[:2]), (NO_CONTENT,)) as server:
        outcome = await read(server.url)
    assert outcome["error"]["name"] == "ProtocolError"
    for status, code in ((404, "not_found"), (410, "gone"), (409, "conflict"), (403, "forbidden")):
        with Scripted((refused(status, code),)) as server:
            outcome = await read(server.url, streamId=STREAM_ID)
        assert outcome["error"]["name"] == "AnswerError"
        assert (outcome["error"]["status"], outcome["error"]["code"]) == (status, code)
        assert len(server.asked) == 1


async def test_a_failing_server_is_asked_again_within_the_budget() -> None:
    failing = [(refused(status, "service_unavailable"),) for status in (503, 502, 429)]
    with Scripted(*failing, (CLOSED, *FRAMES)) as server:
        outcome = await read(server.url, streamId=STREAM_ID)
    assert said(outcome) == "Hello wörld!"
    assert len(server.asked) == 4
    with Scripted((CLOSED, *FRAMES[:3]), (refused(503, "service_unavailable"),)) as server:
        outcome = await read(server.url, policy={**FAST, "giveUp": 0.3})
    assert outcome["error"]["name"] == "ConnectionLostError"
    assert outcome["error"]["position"] == 3
    # A server that asks for more than the budget is not waited for.
    with Scripted((refused(503, "service_unavailable", Retry_After="60"),)) as server:
        outcome = await read(server.url, streamId=STREAM_ID)
    assert outcome["error"]["name"] == "ConnectionLostError"
    assert len(server.asked) == 1


async def test_the_start_is_repeated_only_without_an_answer_and_with_the_same_key() -> None:
    with Scripted((Reset(),), (), (CLOSED, *FRAMES)) as server:
        outcome = await read(server.url)
    assert said(outcome) == "Hello wörld!"
    keys = {asked.headers["idempotency-key"] for asked in server.asked}
    assert len(server.asked) == 3
    assert keys == {outcome["key"]}
    assert len({asked.body for asked in server.asked}) == 1
    with Scripted((refused(503, "service_unavailable", Retry_After="60"),)) as server:
        outcome = await read(server.url)
    assert len(server.asked) == 1
    assert (outcome["error"]["status"], outcome["error"]["retryAfter"]) == (503, 60)
    with Scripted((Reset(),)) as server:
        outcome = await read(server.url, policy={**FAST, "start": 0.2})
    assert outcome["error"]["name"] == "ConnectionFailedError"
    assert outcome["error"]["idempotencyKey"] == server.asked[0].headers["idempotency-key"]


async def test_a_refused_token_is_replaced_once() -> None:
    invalid = (refused(401, "invalid_token"),)
    with Scripted(invalid, (CLOSED, *FRAMES)) as server:
        outcome = await read(server.url, "old", "new")
    assert said(outcome) == "Hello wörld!"
    assert outcome["refused"] == [None, "old"]
    sent = [asked.headers["authorization"] for asked in server.asked]
    assert sent == ["Bearer old", "Bearer new"]
    for tokens in (("one",), ("old", "new", "newer")):
        with Scripted(invalid) as server:
            outcome = await read(server.url, *tokens)
        assert outcome["error"]["code"] == "invalid_token"
        assert len(server.asked) == min(2, len(tokens))


async def test_what_breaks_the_protocol_is_not_tried_again() -> None:
    bodies: list[Any] = [
        (answer(200, {"data": 1}, Content_Type="application/json"),),
        (CLOSED, FRAMES[0], FRAMES[2]),
        (CLOSED, b"event: text_delta\ndata: {}\n\n"),
        (CLOSED, b"id: 1\nevent: text_delta\ndata: {\n\n"),
    ]
    for body in bodies:
        with Scripted(body) as server:
            outcome = await read(server.url)
        assert outcome["error"]["name"] == "ProtocolError"
        assert len(server.asked) == 1


async def test_events_of_new_types_are_passed_over_and_repeated_ones_dropped() -> None:
    new = b"id: 2\nevent: hologram\ndata: {}\n\n"
    body = [CLOSED, FRAMES[0], FRAMES[0], new, *FRAMES[2:]]
    with Scripted(body) as server:
        outcome = await read(server.url)
    assert outcome["positions"] == [1, *range(3, len(FRAMES) + 1)]


async def test_leaving_and_aborting_close_the_connection() -> None:
    for how in ({"leaveAt": 2}, {"abortAt": 2}):
        with Scripted((CLOSED, *FRAMES[:2], Hold())) as server:
            outcome = await read(server.url, **how)
            assert await asyncio.to_thread(server.left.wait, 5)
        assert len(outcome["events"]) == 2
        assert len(server.asked) == 1
        assert (outcome["error"] is None) == ("leaveAt" in how)


# --- against the real server ---------------------------------------------------------------------


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[Running]:
    async with Simulator() as simulator:
        provider = {
            "dialect": "openai-chat", "api_key": "none", "base_url": f"{simulator.url}/v1"
        }  # fmt: skip
        scripts = {
            "paced": "sim:words=150,delay_ms=2",
            "thinks": "sim:words=40,think=20,delay_ms=1",
        }
        async with tellstream(
            tmp_path,
            providers={"sim": provider},
            models={name: {"targets": [f"sim/{script}"]} for name, script in scripts.items()},
            tenants={"1": {"name": "Acme", "model": "paced"}},
            streams={"commit_seconds": 0.2, "heartbeat_seconds": 0.2, "detach_seconds": 20.0},
            retries={"max": 0},
        ) as running:
            yield running


async def test_a_breaking_network_changes_nothing(real: Running) -> None:
    for seed, model in ((1, "paced"), (2, "thinks"), (3, "paced")):
        async with cutting(real.url, seed=seed, least=900, most=3000) as proxy:
            fields = {"fields": {"model": model}}
            got = await read(proxy.url, real.token(), options=fields)
        straight = await read(real.url, real.token(), streamId=got["streamId"])
        assert got["error"] is None
        assert got["events"] == straight["events"]
        assert got["positions"] == list(range(1, len(straight["events"]) + 1))
        assert proxy.cuts >= 2
        assert got["lost"] >= proxy.cuts - 1


async def test_calls_cancel_and_snapshots_speak_with_the_real_server(real: Running) -> None:
    token = real.token(scope="chat usage")
    got = await read(real.url, token, cancelAt=20)
    assert got["cancelled"]["id"] == got["streamId"]
    kind, end = got["events"][-1]
    assert (kind, end["finish_reason"]) == ("stream_end", "Cancelled")
    short = await read(
        real.url, token, streamId=got["streamId"], options={"snapshot": True, "after": 0}
    )
    assert said(short) == said(got)
    assert len(short["events"]) < len(got["events"])
    client = {"url": real.url, "tenant": 1, "policy": FAST}

    async def call(method: str, *arguments: Any) -> Any:
        called = await do("call", client=client, tokens=[token], method=method, arguments=arguments)
        return called["answer"] if called["error"] is None else called["error"]

    assert [model["id"] for model in await call("models")] == ["paced", "thinks"]
    assert (await call("state", got["streamId"]))["finish_reason"] == "Cancelled"
    (row,) = await call("usage", {"by": "model"})
    assert (row["model"], row["streams"]) == ("paced", 1)
    assert (await call("state", "str_00000000000000000000000000"))["code"] == "not_found"
    assert (await call("usage", {"by": "x"}))["details"][0]["field"] == "by"


# --- the page of the documentation ---------------------------------------------------------------


async def test_the_example_of_the_documentation_runs(real: Running, tmp_path: Path) -> None:
    assert NODE is not None
    (example,) = re.findall(r"^```js\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    script = tmp_path / "example.mjs"
    script.write_text(example.replace("./tellstream.js", str(WEB / "tellstream.js")))
    environment = {"TELLSTREAM_URL": real.url, "TELLSTREAM_TOKEN": real.token()}
    process = await asyncio.create_subprocess_exec(
        NODE, str(script), env=environment, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode == 0
    *answer_, end = out.decode().splitlines()
    assert len(" ".join(answer_).split()) == 150
    assert end == "Stop, 150 tokens"


# --- types ---------------------------------------------------------------------------------------


def test_script_and_types_know_every_event_and_field() -> None:
    script = (WEB / "tellstream.js").read_text()
    types = (WEB / "tellstream.d.ts").read_text()
    listed = re.search(r"EVENT_TYPES = new Set\(\[(.*?)\]\)", script, re.DOTALL)
    assert listed
    assert set(re.findall(r'"(\w+)"', listed[1])) == set(ev.EVENT_TYPES)
    blocks = dict(re.findall(r"interface (\w+)(?: extends \w+)? ?\{(.*?)\n?\}", types, re.DOTALL))
    fields = {
        name: re.findall(r"(?:^|[\n;{])\s*(\w+)\??:", block) for name, block in blocks.items()
    }
    by_type = {
        match[1]: name
        for name, block in blocks.items()
        if (match := re.search(r'type: "(\w+)"', block))
    }
    assert set(by_type) == set(ev.EVENT_TYPES)
    for kind, struct in ev.EVENT_TYPES.items():
        names = [f.encode_name for f in msgspec.structs.fields(struct)]
        expected = [name for name in names if name not in {"id", "timestamp", "type"}]
        assert [f for f in fields[by_type[kind]] if f != "type"] == expected, kind
    for part in (ev.Citation, ev.CitationPart, ev.ArtifactData):
        assert fields[part.__name__] == [f.encode_name for f in msgspec.structs.fields(part)]
    reasons = re.search(r"type FinishReason =(.*?);", types, re.DOTALL)
    assert reasons
    assert set(re.findall(r'"(\w+)"', reasons[1])) == {str(reason.value) for reason in FinishReason}
