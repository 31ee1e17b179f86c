"""Thousands of generated requests, good and bad: every answer of a whole server is as documented.

The requests are made from ``/openapi.json`` itself. What an answer may be (status, media type,
body, headers, the data of every event of a stream) is read there too, so neither the server nor the
document can change alone.
"""

import asyncio
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import aiohttp
import pytest
import schemathesis
from schemathesis import engine
from schemathesis.core.parameters import ParameterLocation
from schemathesis.engine import events

from support.processes import servers
from tellstream.server.routes import ROUTES

SEED: Final = int(os.environ.get("TELLSTREAM_SEED", "20261122"))
"""Of what is generated; another one looks elsewhere."""
LEAST: Final = 2000
"""Requests in one run."""
EXAMPLES: Final = 5
"""Drawn for each operation, beyond those that cover each word of its schemas."""
SCOPES: Final = "chat usage admin streams:all"
UNLIMITED: Final = {
    "requests_per_minute": 1_000_000, "concurrent_streams": 1000, "tokens_per_day": 10**15,
}  # fmt: skip

_OTHER_FIELDS: Final = "Invalid component: in header - object with unexpected properties"
"""A request may have header fields that no schema knows: it is no violation of ours."""


@dataclass
class Run:
    """What came of a run.

    Attributes:
        requests: sent, by operation.
        statuses: of the answers.
        failures: what was not as documented, each kind of each operation once.
    """

    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, finished: events.ScenarioFinished) -> None:
        recorder = finished.recorder
        self.requests[recorder.label] += len(recorder.interactions)
        for interaction in recorder.interactions.values():
            if interaction.response is not None:
                self.statuses[interaction.response.status_code] += 1
        for case, checks in recorder.checks.items():
            for check in checks:
                if check.failure_info is None:
                    continue
                if _OTHER_FIELDS in check.failure_info.failure.message:
                    continue
                failure, sent = check.failure_info.failure, recorder.interactions[case].request
                said = f"{failure.title}: {failure.message}\n{sent.method} {sent.uri} {sent.body!r}"
                self.failures.setdefault((recorder.label, failure.title), said)


def configuration(token: str) -> schemathesis.Config:
    return schemathesis.Config.from_dict(
        {
            "seed": SEED,
            "headers": {"Authorization": token},
            "continue-on-failure": True,
            "max-redirects": 0,
            "request-timeout": 30,
            "generation": {"max-examples": EXAMPLES, "no-shrink": True, "database": "none"},
            "phases": {"stateful": {"enabled": False}, "examples": {"enabled": False}},
            # A valid body may be refused for what no schema can say, such as a model's name.
            "checks": {"positive_data_acceptance": {"enabled": False}},
        }
    )


def attack(url: str, token: str, streams: list[str]) -> Run:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=configuration(token))
    schema.config.update(base_url=url)

    def before_call(context: Any, case: Any, kwargs: Any) -> None:
        """Let the tenant be a real one, if it is to be good, and some ids those of streams."""
        header = case.meta.components.get(ParameterLocation.HEADER) if case.meta else None
        if header is None or header.mode.is_positive:  # a random tenant is refused at once
            case.headers["X-Tenant"] = "1"
        given = str(case.path_parameters.get("id", ""))
        if "/streams/" in case.operation.path and crc32(given.encode()) % 2:
            case.path_parameters["id"] = streams[len(given) % len(streams)]

    run = Run()
    schemathesis.hook(before_call)
    try:
        for event in engine.from_schema(schema).execute():
            if isinstance(event, events.ScenarioFinished):
                run.add(event)
            elif isinstance(event, (events.NonFatalError, events.FatalError)):
                pytest.fail(f"schemathesis could not go on: {event}")
    finally:
        schemathesis.hooks.unregister(before_call)
    return run


async def some_streams(url: str, headers: Any) -> list[str]:
    """Start a few streams, so that there is something to find; gives their ids."""
    found = []
    async with aiohttp.ClientSession(headers=headers) as session:
        for model in ("sim-fast", "sim-fast", "sim-cut"):
            body = {"prompt": "Hello", "model": model}
            async with session.post(f"{url}/v1/chat/stream", json=body) as response:
                assert "stream_end" in await response.text()
                found.append(response.headers["X-Stream-Id"])
    return found


@pytest.mark.timeout(300)
async def test_every_answer_to_2000_generated_requests_is_as_documented(tmp_path: Path) -> None:
    tenants = {"1": {"name": "Acme", "limits": UNLIMITED}}
    async with servers(tmp_path, tenants=tenants) as pool:
        server = await pool.start()
        headers = pool.headers(scope=SCOPES)
        streams = await some_streams(server.url, headers)
        token = headers["Authorization"]
        run = await asyncio.to_thread(attack, server.url, token, streams)
        assert server.process.returncode is None
        said = server.errors
    print(f"seed {SEED}: {run.requests.total()} requests, {dict(sorted(run.statuses.items()))}")  # noqa: T201
    assert not run.failures, "\n\n".join(f"{key}: {text}" for key, text in run.failures.items())
    assert run.requests.total() >= LEAST
    assert not [status for status in run.statuses if status >= 500]
    assert "http.bug" not in said
    paths = {(route.method, path) for route in ROUTES for path in (route.path, *route.aliases)}
    # schemathesis does not try the address that it has read the document from.
    tried = {*run.requests, "GET /openapi.json"}
    assert {f"{method} {path}" for method, path in paths} == tried
    assert {200, 202, 204, 400, 401, 404, 405, 415, 422} <= set(run.statuses), "and all its ways"
