"""``GET /v1/usage``: what the tenant's streams used, in sums, as JSON or as CSV."""

import base64
import binascii
import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final, NamedTuple, get_args
from urllib.parse import parse_qsl

import msgspec

from tellstream.core.errors import RequestError
from tellstream.server import usage_csv, usage_rows
from tellstream.server.asgi import NO_STORE
from tellstream.server.call import Call
from tellstream.server.services import Services
from tellstream.storage.base import By, Position

MAX_LIMIT: Final = 1000
"""Rows in one answer; some 200 KB."""
DEFAULT_LIMIT: Final = 100
DEFAULT_DAYS: Final = 30
"""Reported when the request names no days: today and those before."""
MAX_DAYS: Final = 366
"""In one report, which bounds the work of answering."""
MAX_FIELDS: Final = 16
"""Query parameters that are looked at; more are malformed."""
MAX_CURSOR_CHARS: Final = 2048
"""Of a cursor, which holds at most one name of 255 characters."""

_PARAMETERS: Final = frozenset({"from", "to", "by", "cursor", "limit", "format"})
_FORMATS: Final = frozenset({"json", "csv"})
_NAMES: Final = "from, to, by, cursor, limit, format"
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LIMIT: Final = re.compile(r"[1-9][0-9]{0,3}")


class UsageQuery(NamedTuple):
    """What is asked for.

    Attributes:
        from_day: the first day, UTC.
        to_day: the last day, UTC, included.
        by: what a row stands for.
        cursor: where to continue, or None.
        limit: rows in the answer, at most.
        format: ``json`` or ``csv``; empty: as the Accept field says.
    """

    from_day: date
    to_day: date
    by: By
    cursor: Position | None
    limit: int
    format: str = ""


class _Cursor(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A cursor's content: the query it belongs to, and the last row that was answered.

    It holds the range, since the default range moves at midnight. Nothing in it is secret, and a
    made-up one only asks another question about the caller's own tenant.
    """

    by: By
    from_day: date
    to_day: date
    key: str
    finished_at: Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]


_CURSOR: Final = msgspec.json.Decoder(_Cursor)


async def usage(services: Services, call: Call) -> None:
    """Report the usage of the caller's tenant."""
    today = datetime.fromtimestamp(services.clock(), UTC).date()
    query = parse(call.scope["query_string"], today)
    found, following = await services.ledger.totals(
        call.ctx, query.from_day, query.to_day, query.by, query.cursor, query.limit
    )
    cursor = None if following is None else _encode(query, following)
    rows = [usage_rows.shown(query.by, row) for row in found]
    headers = {**NO_STORE, "Vary": "Accept"}
    if query.format == "csv" or (not query.format and usage_csv.prefers(call.headers)):
        headers["Content-Disposition"] = 'attachment; filename="usage.csv"'
        if cursor is not None:
            # Relative: the path that was asked for, whatever is in front of this server.
            link = f"?format=csv&limit={query.limit}&cursor={cursor}"
            headers["Link"] = f'<{link}>; rel="next"'
        table = usage_csv.table(usage_rows.columns(query.by), map(usage_rows.flat, rows))
        await call.content(table, usage_csv.MEDIA_TYPE, headers)
        return
    meta = {"cursor": cursor, "has_more": cursor is not None}
    await call.json({"data": rows, "meta": meta}, headers)


def parse(query_string: bytes, today: date) -> UsageQuery:
    """Read the query parameters.

    Args:
        query_string: as it came.
        today: UTC.

    Raises:
        RequestError: ``invalid_request``, the query is malformed or gives a parameter twice;
            ``validation_error`` with details, a value is not valid.
    """
    given = _fields(query_string)
    problems: dict[str, str] = {}
    if given.keys() - _PARAMETERS:
        problems["query"] = f"has a parameter that is not one of {_NAMES}"
    by = given.get("by")
    if by is not None and by not in get_args(By):
        problems["by"] = f"must be one of {', '.join(get_args(By))}"
    form = given.get("format", "")
    if "format" in given and form not in _FORMATS:
        problems["format"] = "must be json or csv"
    limit = given.get("limit", str(DEFAULT_LIMIT))
    if not _LIMIT.fullmatch(limit) or int(limit) > MAX_LIMIT:
        problems["limit"] = f"must be a whole number from 1 to {MAX_LIMIT}"
    days: dict[str, date | None] = {
        name: _day(given[name]) for name in ("from", "to") if name in given
    }
    problems |= {name: "must be a day, YYYY-MM-DD" for name, day in days.items() if day is None}
    cursor = _decode(given["cursor"]) if "cursor" in given else None
    if "cursor" in given and (cursor is None or _other(cursor, by, days)):
        problems["cursor"] = "must be the cursor of an answer to the same query"
    if problems:
        raise RequestError("validation_error", details=tuple(sorted(problems.items())))
    if cursor is not None:
        position = Position(cursor.key, cursor.finished_at)
        return UsageQuery(cursor.from_day, cursor.to_day, cursor.by, position, int(limit), form)
    last = days.get("to") or today
    first = days.get("from") or _days_before(last, DEFAULT_DAYS - 1)
    if not _in_bounds(first, last):
        text = f"must not be after to, nor more than {MAX_DAYS - 1} days before it"
        raise RequestError("validation_error", details=(("from", text),))
    found: By = msgspec.convert(by or "day", By)
    return UsageQuery(first, last, found, None, int(limit), form)


def _fields(query_string: bytes) -> dict[str, str]:
    """Split a query, each name once."""
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(query_string),
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError as error:
        raise RequestError("invalid_request", "The query is malformed.") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise RequestError("invalid_request", "A query parameter is given twice.")
    return fields


def _day(text: str) -> date | None:
    if not _DAY.fullmatch(text):  # fromisoformat also takes weeks and days without dashes
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _days_before(day: date, days: int) -> date:
    return day - timedelta(min(days, day.toordinal() - 1))


def _in_bounds(first: date, last: date) -> bool:
    return 0 <= (last - first).days < MAX_DAYS


def _encode(query: UsageQuery, last: Position) -> str:
    content = _Cursor(query.by, query.from_day, query.to_day, last.key, last.finished_at)
    return base64.urlsafe_b64encode(msgspec.json.encode(content)).rstrip(b"=").decode()


def _decode(text: str) -> _Cursor | None:
    """Read a cursor; None if it is not one of ours."""
    if len(text) > MAX_CURSOR_CHARS:
        return None
    try:
        padded = text + "=" * (-len(text) % 4)
        cursor = _CURSOR.decode(base64.b64decode(padded, b"-_", validate=True))
    except (binascii.Error, ValueError):  # msgspec's errors are ValueErrors
        return None
    valid = (
        _in_bounds(cursor.from_day, cursor.to_day)
        and "\0" not in cursor.key  # which some databases take and some do not
        and (cursor.by != "day" or _day(cursor.key) is not None)
    )
    return cursor if valid else None


def _other(cursor: _Cursor, by: str | None, days: dict[str, date | None]) -> bool:
    """Whether what is given besides the cursor differs from what the cursor was made for."""
    return (
        (by is not None and by != cursor.by)
        or days.get("from", cursor.from_day) != cursor.from_day
        or days.get("to", cursor.to_day) != cursor.to_day
    )
