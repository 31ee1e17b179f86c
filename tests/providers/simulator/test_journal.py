"""Every request is counted once, and no key is kept."""

import asyncio

from tellstream.providers.simulator.journal import MAX_RECORDS, Journal, Record


def opened(journal: Journal, body: bytes = b"{}") -> Record:
    return journal.open("/p", [("authorization", "Bearer s"), ("accept", "*/*")], body)


def test_secrets_are_only_noted() -> None:
    journal = Journal()
    record = opened(journal)
    assert record.authorized
    assert record.headers == {"authorization": "…", "accept": "*/*"}
    assert not journal.open("/p", [], b"").authorized
    record = journal.open("/p?alt=sse&key=secret&a=b", [], b"")
    assert (record.path, record.authorized) == ("/p?alt=sse&key=…&a=b", True)


def test_bodies_are_kept_if_they_are_small_json() -> None:
    journal = Journal()
    assert opened(journal, b'{"a":1}').body == {"a": 1}
    assert opened(journal, b"{").body is None
    large = opened(journal, b'"' + b"x" * 70_000 + b'"')
    assert (large.body, large.body_bytes) == (None, 70_002)


def test_counts_go_on_when_records_are_dropped() -> None:
    journal = Journal()
    for _ in range(MAX_RECORDS + 5):
        record = opened(journal)
        record.prompt_tokens, record.completion_tokens = 2, 3
        journal.close(record, "complete")
    newest = journal.records()
    assert len(newest) == MAX_RECORDS
    assert newest[0].n == MAX_RECORDS + 5
    stats = journal.stats()
    assert (stats["requests"], stats["complete"], stats["running"]) == (1_005, 1_005, 0)
    assert (stats["prompt_tokens"], stats["completion_tokens"]) == (2_010, 3_015)


async def test_running_requests_count_with_what_they_have_sent() -> None:
    journal = Journal()
    await journal.idle()
    record = opened(journal)
    record.completion_tokens = 4
    assert journal.stats()["running"] == 1
    assert journal.stats()["completion_tokens"] == 4
    waiting = asyncio.ensure_future(journal.idle())
    await asyncio.sleep(0)
    assert not waiting.done()
    journal.close(record, "client_closed")
    await waiting
    assert record.ended_after_ms is not None
    assert journal.stats()["client_closed"] == 1


def test_a_reset_forgets_requests_that_are_running() -> None:
    journal = Journal()
    record = opened(journal)
    journal.reset()
    journal.close(record, "complete")
    assert set(journal.stats().values()) == {0}
    assert journal.records() == []
