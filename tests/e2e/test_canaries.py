"""Planted secrets and a planted prompt are found nowhere: the whole server, from the outside.

What is planted: the operator's key for a provider (in the environment), a tenant's own key (in the
store), a prompt with its history, a password, a client secret, codes, access and refresh tokens,
session cookies. The provider quotes the key and the prompt wherever it can. Then everything that
the server wrote, said or sent elsewhere is searched, as bytes.

The event log may hold what a provider answered, for as long as it is kept; so an answer that quotes
the prompt would be there, and rightly. None does here, so nothing that was planted may be there
either: neither prompts nor credentials are part of a stream's record.
"""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import aiohttp
import psutil
import pytest
import redis

from support.authorization import CALLBACK
from support.canaries import contents, leaks
from support.collector import Collector, collector
from support.ports import free_ports
from support.postgres import PASSWORD as DATABASE_PASSWORD
from support.postgres import postgres_server, program
from support.processes import Server, Servers, servers
from support.redis import redis_server
from support.remote import Remote, admin, remote
from telemetry.test_server import get

PLATFORM_KEY: Final = "sk-canary-platform/0123456789+abcdef"
OWN_KEY: Final = "sk-canary-of-tenant-2/9876543210+fedcba"
PROMPT: Final = 'Kanarina "asks" what nobody ünderstands \\ and thanks'
PASSWORD: Final = "canary password: 4 unrelated words"
WRONG_PASSWORD: Final = "canary password that is not the right one"
EMAIL: Final = "kim.planted@acme.example"
MODELS: Final = ("good", "says-401", "says-400", "says-429", "says-500", "garbage", "cut", "slow")
SECONDS: Final = 60.0


class Indiscreet:
    """A provider that answers as the model's name says, and quotes all that it was told."""

    def __init__(self) -> None:
        self.url = ""
        self.keys: set[str] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
            asked = json.loads(await reader.readexactly(length))
            self.keys.add(head.partition("Bearer ")[2].split("\r\n")[0])
            await self._say(writer, str(asked["model"]), f"{head} {json.dumps(asked)} {asked}")
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # cancelled, or opened in advance
        finally:
            writer.close()

    async def _say(self, writer: asyncio.StreamWriter, model: str, quoted: str) -> None:
        if model.startswith("says-"):
            error = {"message": quoted, "type": quoted, "code": quoted, "param": quoted}
            body = json.dumps({"error": error}).encode()
            extra = f"X-Quoted: {quoted[:300].encode('ascii', 'replace')!r}\r\n"
            start(writer, int(model[5:]), "application/json", len(body), extra)
            writer.write(body)
        elif model == "garbage":
            body = f"<html>{quoted}".encode()
            start(writer, 200, "text/html", len(body))
            writer.write(body)
        else:
            start(writer, 200, "text/event-stream")
            writer.write(frame({"role": "assistant", "content": "A quiet answer."}))
            if model == "cut":
                writer.write(b"data: {" + quoted.encode() + b"\n\n")
                writer.write(b"event: " + quoted.encode()[:200] + b"\ndata: {}\n\n")
                writer.write(b'data: {"error": ' + json.dumps({"message": quoted}).encode())
                writer.write(b"}\n\n")
            elif model == "slow":
                for _ in range(600):
                    writer.write(frame({"content": " More."}))
                    await writer.drain()
                    await asyncio.sleep(0.05)
            else:
                writer.write(frame({"content": ""}, "stop") + b"data: [DONE]\n\n")
        await writer.drain()


def start(
    writer: asyncio.StreamWriter, status: int, kind: str, length: int = -1, extra: str = ""
) -> None:
    size = f"Content-Length: {length}\r\n" if length >= 0 else ""
    head = f"HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\n{size}{extra}Connection: close\r\n\r\n"
    writer.write(head.encode())


def frame(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


@asynccontextmanager
async def indiscreet() -> AsyncIterator[Indiscreet]:
    made = Indiscreet()
    listener = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    async with listener:
        yield made


@dataclass
class Run:
    """What was planted while a server ran, and what it said.

    Attributes:
        secrets: that may be nowhere at all.
        answers: what callers were told, by what they asked. Tokens are told to whom they belong.
        places: everything else that can be read, by name.
    """

    secrets: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    places: dict[str, str | bytes] = field(default_factory=dict)


def body(model: str) -> dict[str, Any]:
    history = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": PROMPT * 2}]
    return {"prompt": PROMPT, "model": model, "history": history}


async def streams(run: Run, server: Server, tenant: int, token: str) -> None:
    """Good and bad streams; of the slow one, a cancel."""
    headers = {"Authorization": f"Bearer {token}", "X-Tenant": str(tenant)}
    async with aiohttp.ClientSession(headers=headers) as session:
        for model in MODELS:
            for path in ("/v1/chat/stream", "/v1/chat"):
                if model == "slow" and path == "/v1/chat":
                    continue
                async with session.post(server.url + path, json=body(model)) as response:
                    if model == "slow":
                        stream = response.headers["X-Stream-Id"]
                        url = f"{server.url}/v1/streams/{stream}/cancel"
                        async with session.post(url) as cancelled:
                            assert cancelled.status == 202
                    said = await response.text()
                    run.answers[f"{tenant} {path} {model}"] = said + str(response.headers)
        for name, bad, query in (
            ("unknown model", body(PROMPT), ""),
            ("unknown key", {**body("good"), "x": PROMPT}, ""),
            ("wrong type", {**body("good"), "temperature": PROMPT}, ""),
            ("token in the query", body("good"), f"?access_token={token}"),
        ):
            url = f"{server.url}/v1/chat/stream{query}"
            async with session.post(url, json=bad) as response:
                assert 400 <= response.status < 500
                run.answers[name] = await response.text() + str(response.headers)
        bad_token = {"Authorization": f"Bearer {token}x"}
        async with session.get(f"{server.url}/v1/models", headers=bad_token) as response:
            assert response.status == 401
            run.answers["bad token"] = await response.text() + str(response.headers)
        async with session.get(f"{server.url}/v1/usage?by=stream") as response:
            run.answers["usage"] = await response.text()


async def oauth(run: Run, there: Remote, made: dict[str, Any]) -> str:
    """Log in wrongly and rightly, agree, redeem, refresh, replay, revoke; gives a token."""
    application, person = there.application(made), there.browser()
    run.secrets["client secret"] = made["client_secret"]
    try:
        await person.open(application.query())
        await person.log_in(EMAIL, WRONG_PASSWORD)
        run.answers["login"] = person.page.text
        await person.log_in(EMAIL, PASSWORD)
        page = await person.send("approve")
        code = parse_qs(urlsplit(page.headers["location"]).query)["code"][0]
        run.secrets |= {"code": code, "session": person.cookie, "verifier": application.verifier}
    finally:
        await person.http.aclose()
    tokens = (await application.redeem(code)).json()
    again = (await application.refresh(tokens["refresh_token"])).json()
    for response in (
        await application.redeem(code),
        await application.token(grant_type="client_credentials", scope="chat x"),
        await application.token(grant_type="client_credentials", client_secret="x" * 43),
    ):
        assert response.status_code in {400, 401}
        run.answers[f"token endpoint {len(run.answers)}"] = response.text
    other = (await application.token(grant_type="client_credentials", scope="chat")).json()
    run.secrets |= {
        "first access token": tokens["access_token"],
        "refresh token": tokens["refresh_token"],
        "second refresh token": again["refresh_token"],
        "access token": other["access_token"],
    }
    assert (await application.revoke(tokens["access_token"])).status_code == 200
    token: str = other["access_token"]
    return token


def processes(server: Server) -> Iterator[psutil.Process]:
    process = psutil.Process(server.process.pid)
    yield process
    yield from process.children(recursive=True)


class Stores(NamedTuple):
    """Where a server keeps things.

    Attributes:
        tables: of its configuration.
        superuser: how to read all of the database, whatever its row level security says.
    """

    tables: dict[str, Any]
    superuser: str


@contextmanager
def stores(kind: str, folder: Path) -> Iterator[Stores]:
    """Where a server keeps things: files, or PostgreSQL and Redis."""
    if kind == "files":
        yield Stores({}, "")
        return
    (folder / "redis").mkdir()
    with postgres_server() as postgres, redis_server(folder / "redis") as log:
        client = redis.Redis.from_url(log.url)
        client.config_set("rdbcompression", "no")
        client.close()
        name = postgres.database()
        tables = {"store": {"url": postgres.url(name)}, "eventlog": {"url": log.url}}
        yield Stores(tables, postgres.url(name, "postgres"))


def dumps(places: Stores) -> dict[str, str | bytes]:
    """Read everything that is in PostgreSQL and Redis."""
    if not places.tables:
        return {}
    command = [program("pg_dump"), places.superuser]
    dump = subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
    found: dict[str, str | bytes] = {"pg_dump": dump.stdout}
    client = redis.Redis.from_url(places.tables["eventlog"]["url"])
    try:
        for key in client.scan_iter():
            found[f"redis {key!r}"] = key + (client.dump(key) or b"")
    finally:
        client.close()
    return found


async def attacked(folder: Path, kind: str, provider: Indiscreet, sink: Collector) -> Run:
    """Run a server, do everything, read everything."""
    run, port = Run(), free_ports(2)[0]
    listens = {"dialect": "openai-chat", "base_url": provider.url, "api_key": "env:PLANTED_KEY"}
    with stores(kind, folder) as places:
        async with servers(
            folder,
            metrics={"listen": f"127.0.0.1:{port}"},
            providers={"listens": listens},
            models={name: {"targets": [f"listens/{name}"]} for name in MODELS},
            tenants={"1": {"model": "good"}, "2": {"model": "good"}},
            retries={"max": 0},
            **places.tables,
        ) as pool:
            if places.tables:
                await admin(pool, "migrate")
            await plant(pool)
            server = await pool.start(*(("--workers", "2") if places.tables else ()))
            password = re.search(r"one-time password (\S+)", server.banner)
            run.secrets["first password"] = password[1] if password else ""
            scope = ("--scope", "chat usage", "--tenant", "1", "--tenant", "2")
            made = await admin(
                pool, "client", "create", "--name", "App", "--redirect-uri", CALLBACK, *scope
            )
            async with remote(server.url) as there:
                token = await oauth(run, there, made)
                for tenant in (1, 2):
                    await streams(run, server, tenant, token)
            for number in range(2 if places.tables else 1):
                url = f"http://127.0.0.1:{port + number}/metrics"
                run.places[f"metrics {number}"] = await get(url)
            for process in processes(server):
                run.places[f"arguments {process.pid}"] = " ".join(process.cmdline())
            run.places |= dumps(places)
            await server.stop()
            run.places["logs"] = server.errors
            assert server.process.stdout is not None
            run.places["output"] = await server.process.stdout.read()
    run.places |= contents([folder / ".tellstream"])
    run.places["traces"] = b"".join(sink.received)
    return run


async def plant(pool: Servers) -> None:
    """Store a user, and a tenant's own key."""
    await admin(
        pool, "user", "create", "--email", EMAIL, "--password-stdin", "--tenant", "1",
        "--tenant", "2", stdin=PASSWORD,
    )  # fmt: skip
    await admin(
        pool, "credential", "put", "--tenant", "2", "--provider", "listens", "--key-stdin",
        "--label", "planted", stdin=OWN_KEY,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["files", "postgresql and redis"])
async def test_what_was_planted_is_found_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("PLANTED_KEY", PLATFORM_KEY)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    async with indiscreet() as provider, collector() as sink:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url)
        run = await attacked(tmp_path, kind, provider, sink)
    # Everything was there to be found.
    assert provider.keys == {PLATFORM_KEY, OWN_KEY}
    assert len(sink.received) > 0
    assert "stream_end" in run.answers["1 /v1/chat/stream good"]
    assert "A quiet answer." in run.answers["1 /v1/chat good"]
    for name, code in (("says-401", "provider_auth"), ("garbage", "provider_protocol")):
        assert code in run.answers[f"2 /v1/chat/stream {name}"]
    logs = str(run.places["logs"])
    assert "http.refused" in logs
    assert "provider_auth" in logs
    assert leaks({"email": EMAIL}, run.places), "the search finds what there is"

    secrets = {name: value for name, value in run.secrets.items() if value} | {
        "key of the platform": PLATFORM_KEY,
        "key of a tenant": OWN_KEY,
        "password": PASSWORD,
        "wrong password": WRONG_PASSWORD,
    }
    everywhere = {**run.places, **run.answers}
    assert leaks({**secrets, "prompt": PROMPT}, everywhere) == []
    if kind != "files":
        assert leaks({"password of the database": DATABASE_PASSWORD}, everywhere) == []
