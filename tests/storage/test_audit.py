"""The audit log: what happened, in order, without secrets, each tenant its own."""

import msgspec
import pytest

from support.homes import Home
from support.ledgers import ctx
from tellstream.core.errors import RequestError
from tellstream.storage import audit
from tellstream.storage.audit import AuditEvent
from tellstream.storage.store import Store


def event(at: int = 1, tenant: int | None = 1, **fields: object) -> AuditEvent:
    made = AuditEvent(at, "credential.put", "xai", "done", tenant, "ann", "console", "req_1")
    return msgspec.structs.replace(made, **fields)


async def append(store: Store, *events: AuditEvent) -> None:
    for one in events:
        await store.run(None, lambda c, one=one: audit.append(c, None, one))  # type: ignore[misc]


async def everything(store: Store, tenant: int | None = 1, limit: int = 100) -> list[AuditEvent]:
    found: list[AuditEvent] = []
    before = None
    while True:
        events, before = await store.run(
            None,
            lambda c: audit.page(c, None, tenant, before, limit),  # noqa: B023 - run before the next
        )
        assert len(events) <= limit
        found += events
        if before is None:
            return found


async def test_an_event_is_read_as_it_was_added(store: Store) -> None:
    given = event(details={"label": "Zoë 🙂", "count": 3, "public": True, "before": None})
    await append(store, given)
    assert await everything(store) == [given]


async def test_events_come_newest_first_and_pages_fit_together(store: Store) -> None:
    await append(store, *(event(at) for at in range(10)))
    for limit in (1, 3, 5, 10, 100):
        assert [one.at for one in await everything(store, limit=limit)] == list(range(9, -1, -1))


async def test_events_that_are_added_while_pages_are_read_move_nothing(store: Store) -> None:
    await append(store, *(event(at) for at in range(4)))
    first, before = await store.run(None, lambda c: audit.page(c, None, 1, None, 2))
    await append(store, event(99))
    second, end = await store.run(None, lambda c: audit.page(c, None, 1, before, 2))
    assert [one.at for one in first + second] == [3, 2, 1, 0]
    assert end is None


async def test_a_caller_sees_its_tenants_events_only(store: Store) -> None:
    await append(store, event(1, 1), event(2, 2), event(3, None))
    for transaction in (ctx(1), None):  # with the database's help, and without
        seen = [
            (await store.run(transaction, lambda c: audit.page(c, ctx(1), tenant)))[0]  # noqa: B023
            for tenant in (1, 2, None)
        ]
        assert [[one.at for one in events] for events in seen] == [[1], [], []]
    assert [one.at for one in await everything(store, None)] == [3]


async def test_a_caller_cannot_add_to_anothers_log(store: Store, home: Home) -> None:
    for tenant in (2, None):
        with pytest.raises(RequestError, match="not_found"):
            await store.run(None, lambda c: audit.append(c, ctx(1), event(1, tenant)))  # noqa: B023
    await store.run(ctx(1), lambda c: audit.append(c, ctx(1), event(1, 1)))
    assert home.ask("SELECT tenant FROM audit_events") == [(1,)]


@pytest.mark.parametrize(
    "name",
    ["client_secret", "Authorization", "access_token", "PASSWORD", "api_key", "set-cookie", "code"],
)
async def test_a_secret_that_is_given_by_mistake_is_not_stored(
    store: Store, home: Home, name: str
) -> None:
    await append(store, event(details={name: "canary", "error_code": "kept"}))
    assert "canary" not in str(home.ask("SELECT * FROM audit_events"))
    (found,) = await everything(store)
    assert found.details == {name: "[removed]", "error_code": "kept"}


async def test_what_a_stranger_sent_is_cut_and_made_harmless(store: Store, home: Home) -> None:
    bad = "\r\nevil\0\x1b[2J\u2028\ud800" + "x" * 1000
    many = {f"{n:02}{bad}": bad for n in range(50)}
    await append(store, event(object=bad, subject=bad, client=bad, request_id=bad, details=many))
    (found,) = await everything(store)
    for text in (found.object, found.subject, found.client, found.request_id, *found.details):
        assert len(text) == 256
        assert text.isprintable()
    assert len(found.details) == 16
    assert len(str(home.ask("SELECT * FROM audit_events"))) < 12_000


async def test_old_events_are_deleted_in_portions(store: Store) -> None:
    await append(store, *(event(at, at % 2 + 1) for at in range(10)))
    deleted = [await store.run(None, lambda c: audit.prune(c, 7, 3)) for _ in range(4)]
    assert deleted == [3, 3, 1, 0]
    assert [one.at for one in await everything(store) + await everything(store, 2)] == [8, 9, 7]
