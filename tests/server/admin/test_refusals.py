"""Refused access in the audit log: written, bounded, never in the way."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import structlog

from support.administration import OPERATOR, AdminServer
from support.homes import SqliteHome
from tellstream.core.principals import Ctx
from tellstream.server.refusals import (
    KNOWN_ROWS_PER_MINUTE,
    MAX_QUEUE,
    MINUTE,
    PRUNE_ROWS,
    RETENTION_SECONDS,
    UNKNOWN_ROWS_PER_MINUTE,
    Refusals,
    is_noted,
)
from tellstream.storage import audit
from tellstream.storage.store import Store

CTX = Ctx(2, "ann", "shop", frozenset({"chat"}))


class Clock:
    """Stands still unless told otherwise."""

    def __init__(self) -> None:
        self.now = 2_000_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(home: SqliteHome) -> AsyncIterator[Store]:
    store = Store(home.database())
    await store.start()
    yield store
    await store.close()


def bad_token(refusals: Refusals, times: int = 1, ctx: Ctx | None = None) -> None:
    for _ in range(times):
        refusals.note("invalid_token", "GET", "/v1/models", ctx, "req_1", "192.0.2.7")


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def stored(home: SqliteHome) -> list[tuple[Any, ...]]:
    return home.ask("SELECT tenant, subject, object, outcome, details FROM audit_events")


async def test_a_refusal_is_written_with_who_and_what(
    store: Store, home: SqliteHome, clock: Clock
) -> None:
    refusals = Refusals(store, clock)
    refusals.start()
    refusals.note("forbidden", "GET", "/v1/admin/users", CTX, "req_1", "192.0.2.7")
    await until(lambda: len(stored(home)) == 1)
    bad_token(refusals)
    await refusals.close()
    await refusals.close()
    assert stored(home) == [
        (2, "ann", "GET /v1/admin/users", "refused",
         '{"error":"forbidden","address":"192.0.2.7"}'),
        (None, "", "GET /v1/models", "refused",
         '{"error":"invalid_token","address":"192.0.2.7"}'),
    ]  # fmt: skip
    acts = home.ask("SELECT DISTINCT act, at, client, request_id FROM audit_events WHERE tenant=2")
    assert acts == [("access.refused", int(clock.now), "shop", "req_1")]


async def test_a_flood_of_bad_tokens_is_a_bounded_number_of_rows(
    store: Store, home: SqliteHome, clock: Clock
) -> None:
    refusals = Refusals(store, clock)
    refusals.start()
    for _ in range(3):  # minutes
        bad_token(refusals, 5000)
        bad_token(refusals, 1, CTX)  # whom the flood must not hide
        clock.now += MINUTE
    await refusals.close()
    rows = stored(home)
    told = [row for row in rows if row[2] == ""]
    assert len(rows) - len(told) == 3 * (UNKNOWN_ROWS_PER_MINUTE + 1)
    assert len([row for row in rows if row[0] == 2]) == 3
    assert len(told) <= 3
    beyond = 3 * (5000 - UNKNOWN_ROWS_PER_MINUTE)
    assert sum(int(row[4].split(":")[1].split(",")[0]) for row in told) == beyond


async def test_the_number_of_the_others_is_told_while_the_flood_goes_on(
    store: Store, home: SqliteHome, clock: Clock
) -> None:
    refusals = Refusals(store, clock)
    refusals.start()
    bad_token(refusals, UNKNOWN_ROWS_PER_MINUTE + 7)
    clock.now += MINUTE
    bad_token(refusals)
    await until(lambda: any('"over_the_rate":7' in row[4] for row in stored(home)))
    await refusals.close()


async def test_a_full_queue_drops_and_says_how_many(
    home: SqliteHome, store: Store, clock: Clock
) -> None:
    refusals = Refusals(store, clock)  # not started: nothing leaves the queue
    minutes = MAX_QUEUE // KNOWN_ROWS_PER_MINUTE + 1
    for _ in range(minutes):
        bad_token(refusals, KNOWN_ROWS_PER_MINUTE, CTX)
        clock.now += MINUTE
    dropped = minutes * KNOWN_ROWS_PER_MINUTE - MAX_QUEUE
    with structlog.testing.capture_logs() as logs:
        refusals.start()
        await until(lambda: any(f'"over_the_queue":{dropped}' in row[4] for row in stored(home)))
        await refusals.close()
    assert len(stored(home)) == MAX_QUEUE + 1
    (warned,) = [line for line in logs if line["event"] == "audit.refusals_not_told"]
    assert warned["over_the_queue"] == dropped


async def test_a_store_that_is_away_loses_nothing_and_stops_nobody(
    home: SqliteHome, clock: Clock
) -> None:
    store = Store(home.database())  # not open yet
    refusals = Refusals(store, clock)
    refusals.start()
    bad_token(refusals, 3)
    await asyncio.sleep(0.05)
    await store.start()
    await refusals.close()
    await store.close()
    assert len(stored(home)) == 3


async def test_it_can_be_closed_while_the_store_is_away(home: SqliteHome, clock: Clock) -> None:
    refusals = Refusals(Store(home.database()), clock)
    refusals.start()
    bad_token(refusals, 3)
    await asyncio.wait_for(refusals.close(), 10)


async def test_a_row_that_the_database_refuses_does_not_hold_up_the_others(
    store: Store, home: SqliteHome, clock: Clock
) -> None:
    home.ask(
        "CREATE TRIGGER refuse BEFORE INSERT ON audit_events WHEN new.subject = 'ann' "
        "BEGIN SELECT raise(ABORT, 'no'); END"
    )
    refusals = Refusals(store, clock)
    refusals.start()
    bad_token(refusals, 1, CTX)
    await until(lambda: len(stored(home)) == 1)
    bad_token(refusals)
    await refusals.close()
    assert [row[4] for row in stored(home)] == [
        '{"over_the_rate":0,"over_the_queue":1}',
        '{"error":"invalid_token","address":"192.0.2.7"}',
    ]


async def test_what_is_older_than_400_days_is_deleted(
    store: Store, home: SqliteHome, clock: Clock
) -> None:
    old, kept = int(clock.now) - RETENTION_SECONDS - 1, int(clock.now) - RETENTION_SECONDS

    def fill(connection: Any) -> None:
        for at in [old] * (PRUNE_ROWS + 5) + [kept]:
            event = audit.AuditEvent(at, "tenant.created", "1", "done", tenant=1)
            audit.append(connection, None, event)

    await store.run(None, fill)
    refusals = Refusals(store, clock)
    refusals.start()
    await until(lambda: len(stored(home)) == 1)
    await refusals.close()
    assert home.ask("SELECT at FROM audit_events") == [(kept,)]


@pytest.mark.parametrize(
    ("status", "scope", "noted"),
    [
        (401, "chat", True), (403, "chat", True), (404, "chat", False), (422, "admin", False),
        (404, "admin", True), (403, "admin", True), (401, None, False), (403, None, False),
    ],
)  # fmt: skip
def test_what_is_noted(status: int, scope: str | None, noted: bool) -> None:
    assert is_noted(status, scope) is noted


async def test_refused_acts_are_in_the_log(admin: AdminServer) -> None:
    admin.refusals.start()
    await admin.ask(2, "GET", "/tenants/3")
    await admin.ask(2, "POST", "/keys/rotate")
    await admin.http.get("/v1/admin/users", headers={"X-Tenant": "2"})
    await admin.http.get("/v1/admin/users", headers=admin.headers(2, "chat"))
    await admin.refusals.close()
    known, _ = await admin.acts.audit.page(OPERATOR, 2, None, 100)
    assert Counter((e.object, e.outcome, e.details["error"], e.subject) for e in known) == {
        ("GET /v1/admin/tenants/{id}", "refused", "not_found", "boss"): 1,
        ("POST /v1/admin/keys/rotate", "refused", "forbidden", "boss"): 1,
        ("GET /v1/admin/users", "refused", "insufficient_scope", "boss"): 1,
    }
    unknown, _ = await admin.acts.audit.page(OPERATOR, None, None, 100)
    assert [e.details["error"] for e in unknown] == ["unauthenticated"]
