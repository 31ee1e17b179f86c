"""What is known of a stream whose log is gone."""

from support.homes import Home
from support.ledgers import NOON, row, settled
from tellstream.core.principals import Ctx
from tellstream.storage import streams_index
from tellstream.storage.ledger import SqlLedger
from tellstream.storage.store import Store
from tellstream.storage.streams_index import StreamEntry


async def test_a_stream_is_known_to_its_subject_and_to_who_may_see_all(
    ledger: SqlLedger, home: Home
) -> None:
    await settled(ledger, "str_1", 1)
    await ledger.open(row("str_2", 2))
    store = Store(home.database())
    await store.start()

    async def find(tenant: int, subject: str, scope: str, stream_id: str) -> list[StreamEntry]:
        caller = Ctx(tenant, subject, "web", frozenset(scope.split()))
        found = [
            await store.run(transaction, lambda c: streams_index.find(c, caller, stream_id))
            for transaction in (caller, None)  # with the database's help, and without
        ]
        assert found[0] == found[1]
        return [one for one in found[:1] if one is not None]

    [known] = await find(1, "ann", "chat", "str_1")
    assert known == StreamEntry(1, "str_1", "ann", "web", "small", NOON - 5, known.settlement)
    assert known.settlement is not None
    assert known.settlement.finished_at == NOON
    assert await find(1, "bob", "chat streams:all", "str_1") == [known]
    assert await find(1, "bob", "chat", "str_1") == []
    assert await find(2, "ann", "chat streams:all", "str_1") == []
    assert await find(1, "ann", "chat streams:all", "str_2") == []
    assert await find(1, "ann", "chat streams:all", "str_none") == []
    [running] = await find(2, "ann", "chat", "str_2")
    assert running.settlement is None
    await store.close()
