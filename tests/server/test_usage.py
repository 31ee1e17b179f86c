"""The query of ``GET /v1/usage``: what is read, what is refused, what comes back as a cursor."""

import base64
from datetime import date
from typing import Any

import msgspec
import pytest

from tellstream.core.errors import RequestError
from tellstream.server.usage import UsageQuery, _encode, parse
from tellstream.storage.base import By, Position

TODAY = date(2026, 4, 22)
QUERY = UsageQuery(date(2026, 4, 1), date(2026, 4, 3), "model", None, 100)
JANUARY = UsageQuery(date(2026, 1, 2), date(2026, 1, 31), "day", None, 100)


def refusal(query: str) -> tuple[str, dict[str, str]]:
    with pytest.raises(RequestError) as caught:
        parse(query.encode(), TODAY)
    return caught.value.code, dict(caught.value.details)


def cursor(content: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(content)).rstrip(b"=").decode()


def test_nothing_given_is_the_last_thirty_days_by_day() -> None:
    assert parse(b"", TODAY) == UsageQuery(date(2026, 3, 24), TODAY, "day", None, 100)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("from=2026-04-01&to=2026-04-03&by=model", QUERY),
        ("to=2026-01-31", JANUARY),
        ("from=2026-04-22", UsageQuery(TODAY, TODAY, "day", None, 100)),
        ("from=2025-04-22", UsageQuery(date(2025, 4, 22), TODAY, "day", None, 100)),
        ("to=0001-01-02", UsageQuery(date(1, 1, 1), date(1, 1, 2), "day", None, 100)),
        ("to=9999-12-31", UsageQuery(date(9999, 12, 2), date.max, "day", None, 100)),
        ("limit=1000&to=2026-01-31", JANUARY._replace(limit=1000)),
        ("by=str%65am&to=2026-01-31", JANUARY._replace(by="stream")),
    ],
)  # fmt: skip
def test_what_is_given_is_read(query: str, expected: UsageQuery) -> None:
    assert parse(query.encode(), TODAY) == expected


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("by=tenant", "by"),
        ("by=", "by"),
        ("by=Day", "by"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=1.0", "limit"),
        ("limit=+1", "limit"),
        ("limit=%31%0a", "limit"),
        ("limit=%D9%A1", "limit"),
        ("limit=", "limit"),
        ("from=20260401", "from"),
        ("from=2026-W14-1", "from"),
        ("from=2026-02-30", "from"),
        ("from=2026-04-01T00:00:00", "from"),
        ("from=1775000000", "from"),
        ("from=", "from"),
        ("to=yesterday", "to"),
        ("to=0000-01-01", "to"),
        ("from=2026-04-23", "from"),
        ("from=2026-04-02&to=2026-04-01", "from"),
        ("from=2025-04-21", "from"),
        ("group=model", "query"),
        ("tenant=2", "query"),
        ("cursor=", "cursor"),
        ("cursor=%21%21", "cursor"),
        ("cursor=AAAA", "cursor"),
        ("cursor=" + "A" * 3000, "cursor"),
    ],
)
def test_what_is_not_valid_is_named(query: str, field: str) -> None:
    code, details = refusal(query)
    assert code == "validation_error"
    assert list(details) == [field]


def test_all_that_is_not_valid_is_named_at_once_and_nothing_repeated() -> None:
    _, details = refusal("by=sesame&limit=sesame&from=sesame&to=sesame&cursor=sesame&sesame=1")
    assert list(details) == ["by", "cursor", "from", "limit", "query", "to"]
    assert "sesame" not in str(details)


@pytest.mark.parametrize(
    "query",
    ["by=day&by=day", "by", "by=day&&", "by=%ff", "by=day;limit=1&x", "&".join(["a=1"] * 17)],
)
def test_a_malformed_query_is_an_invalid_request(query: str) -> None:
    assert refusal(query) == ("invalid_request", {})


def test_bytes_that_are_no_text_are_an_invalid_request() -> None:
    with pytest.raises(RequestError) as caught:
        parse(b"by=\xff", TODAY)
    assert caught.value.code == "invalid_request"


@pytest.mark.parametrize(
    ("by", "position"),
    [
        ("day", Position("2026-04-02")),
        ("model", Position("a/b +&=%")),
        ("client", Position("")),
        ("subject", Position("Zoë 🙂" * 42)),
        ("stream", Position("str_1", 1776859200)),
    ],
)
def test_a_cursor_leads_to_the_position_it_was_made_of(by: By, position: Position) -> None:
    query = QUERY._replace(by=by)
    text = _encode(query, position)
    assert parse(f"cursor={text}".encode(), TODAY) == query._replace(cursor=position)


def test_a_cursor_keeps_the_days_it_was_made_for() -> None:
    """The default range moves at midnight; a report must not change between two pages."""
    text = _encode(parse(b"", TODAY), Position("2026-04-02"))
    later = parse(f"cursor={text}&limit=5".encode(), date(2026, 4, 23))
    assert later == (date(2026, 3, 24), TODAY, "day", Position("2026-04-02"), 5, "")


def test_a_cursor_may_come_with_its_own_query() -> None:
    text = _encode(QUERY, Position("small"))
    query = f"from=2026-04-01&to=2026-04-03&by=model&cursor={text}"
    assert parse(query.encode(), TODAY).cursor == Position("small")


@pytest.mark.parametrize("other", ["by=day", "from=2026-04-02", "to=2026-04-02"])
def test_a_cursor_of_another_query_is_refused(other: str) -> None:
    code, details = refusal(f"{other}&cursor={_encode(QUERY, Position('small'))}")
    assert (code, list(details)) == ("validation_error", ["cursor"])


@pytest.mark.parametrize(
    "content",
    [
        ["model", "2026-04-01", "2026-04-03", "small"],
        ["model", "2026-04-01", "2026-04-03", "small", 0, 0],
        ["model", "2026-04-01", "2026-04-03", 5, 0],
        ["model", "2026-04-01", "2026-04-03", "a\0b", 0],
        ["model", "2026-04-03", "2026-04-01", "small", 0],
        ["model", "2020-04-01", "2026-04-03", "small", 0],
        ["tenant", "2026-04-01", "2026-04-03", "small", 0],
        ["stream", "2026-04-01", "2026-04-03", "small", 2**63],
        ["stream", "2026-04-01", "2026-04-03", "small", -1],
        ["day", "2026-04-01", "2026-04-03", "small", 0],
        {"by": "day"},
        None,
    ],
)
def test_a_made_up_cursor_is_refused(content: Any) -> None:
    code, details = refusal(f"cursor={cursor(content)}")
    assert (code, list(details)) == ("validation_error", ["cursor"])
